// SPDX-License-Identifier: BSD-3-Clause
#include "host/change/resource.hpp"

#include <algorithm>
#include <array>

#include "base/text/format.hpp"

namespace vmux::host {

const Kind* find_kind(const std::string& name) noexcept {
  static const std::array kAll{&kDriverKind,    &kVfsKind,       &kVfKind, &kLinkKind,
                               &kHugepagesKind, &kHugetlbfsKind, &kIrqKind};
  const auto found = std::find_if(kAll.begin(), kAll.end(), [&](const Kind* kind) { return kind->name == name; });
  return found == kAll.end() ? nullptr : *found;
}

std::string to_text(const State& state) {
  std::string text;
  for (const auto& [key, value] : state)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", key, value.empty() ? "none" : value);
  return text;
}

bool has(const State& now, const State& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const auto& each) {
    const auto found = now.find(each.first);
    return each.second == kAny || (found != now.end() && found->second == each.second);
  });
}

bool contradicts(const State& now, const State& wanted) {
  return std::any_of(wanted.begin(), wanted.end(), [&](const auto& each) {
    const auto found = now.find(each.first);
    return each.second != kAny && found != now.end() && found->second != each.second;
  });
}

std::string get(const State& state, const std::string& key) {
  const auto found = state.find(key);
  return found == state.end() ? "" : found->second;
}

Resource driver_of(PciAddress function) { return {"driver", function.text()}; }
Resource vfs_of(PciAddress physical) { return {"vfs", physical.text()}; }
Resource vf_of(PciAddress physical, unsigned index) { return {"vf", fmt::format("{}/{}", physical.text(), index)}; }
Resource link_of(PciAddress function, const std::string& interface) {
  return {"link", fmt::format("{}/{}", function.text(), interface)};
}
Resource hugepages_of(std::optional<unsigned> node, std::uint64_t size_kib) {
  return {"hugepages", node ? fmt::format("node{}/{}", *node, size_kib) : fmt::format("all/{}", size_kib)};
}
Resource hugetlbfs_of(std::uint64_t size_kib) { return {"hugetlbfs", std::to_string(size_kib)}; }
Resource irq_of(PciAddress function, unsigned irq) { return {"irq", fmt::format("{}/{}", function.text(), irq)}; }

std::optional<PciAddress> function_of(const Resource& resource) {
  return parse_pci_address(resource.name.substr(0, resource.name.find('/')));
}

}  // namespace vmux::host

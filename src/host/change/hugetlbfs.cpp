// SPDX-License-Identifier: BSD-3-Clause
// Where a size of huge pages is mounted as a file system: that is how libvirt and QEMU's mem-path= get them, and of 1G
// pages nobody mounts one by default (Documentation/admin-guide/mm/hugetlbpage.rst).

#include <algorithm>
#include <array>

#include "base/text/format.hpp"
#include "host/change/resource.hpp"

namespace vmux::host {
namespace {

/// mountinfo writes white space and backslashes as three octal digits (proc(5)).
std::string unescaped(const std::string& text) {
  constexpr std::array<std::pair<std::string_view, char>, 4> kEscapes{
      {{"\\040", ' '}, {"\\011", '\t'}, {"\\012", '\n'}, {"\\134", '\\'}}};
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto found = std::find_if(kEscapes.begin(), kEscapes.end(),
                                    [&](const auto& each) { return text.compare(i, 4, each.first) == 0; });
    out += found == kEscapes.end() ? text[i] : found->second;
    if (found != kEscapes.end()) i += 3;
  }
  return out;
}

/// "rw,relatime,pagesize=1024M" -> 1048576; nullopt where nothing is said.
std::optional<std::uint64_t> page_size(const std::string& options) {
  constexpr std::string_view kKey = "pagesize=";
  for (const std::string_view option : split(options, ',')) {
    if (option.substr(0, kKey.size()) == kKey) return parse_size_kib(option.substr(kKey.size()));
  }
  return std::nullopt;
}

std::uint64_t size_of(const std::string& name) { return parse_decimal(name).value_or(0); }

Outcome<std::optional<State>> read_mount(Machine& machine, const std::string& name) {
  const auto mounts = hugepage_mounts(machine);
  const auto found = std::find_if(mounts.begin(), mounts.end(),
                                  [&](const HugepageMount& mount) { return mount.size_kib == size_of(name); });
  return State{{"at", found == mounts.end() ? "" : found->path}};
}

Outcome<> write_mount(Actuator& hands, const std::string& name, const State& from, const State& to) {
  if (!get(from, "at").empty()) {
    if (auto done = hands.unmount(get(from, "at")); !done) return done;
  }
  return get(to, "at").empty() ? Outcome<>{} : hands.mount_hugepages(get(to, "at"), size_of(name));
}

}  // namespace

std::vector<HugepageMount> hugepage_mounts(const Machine& machine) {
  std::vector<HugepageMount> found;
  for (const std::string& line : lines(machine.text("/proc/self/mountinfo"))) {
    const std::vector<std::string> parts = words(line);
    const auto dash = std::find(parts.begin(), parts.end(), "-");
    if (parts.size() < 5 || parts.end() - dash < 4 || *(dash + 1) != "hugetlbfs") continue;
    if (const auto size = page_size(*(dash + 3))) found.push_back({unescaped(parts[4]), *size});
  }
  return found;
}

const Kind kHugetlbfsKind{"hugetlbfs", read_mount, write_mount};

}  // namespace vmux::host

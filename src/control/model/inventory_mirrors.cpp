// SPDX-License-Identifier: BSD-3-Clause
// The rules between whoever is mirrored and whoever gets the copies: ports and uplinks of one switch.
#include <algorithm>

#include "base/text/format.hpp"
#include "control/model/inventory.hpp"
#include "switch/switch.hpp"

namespace vmux::control {
namespace {

tl::unexpected<Problem> refuse_mirror(std::string why, ProblemKind kind = ProblemKind::invalid) {
  return refuse(kind, "mirror", std::move(why));
}

}  // namespace

std::vector<Inventory::Joined> Inventory::joined() const {
  std::vector<Joined> list;
  for (const PortSpec& port : all<PortSpec>())
    list.push_back({&port.name, &port.switch_name, &port.mirror});
  for (const UplinkSpec& uplink : all<UplinkSpec>())
    list.push_back({&uplink.name, &uplink.switch_name, &uplink.mirror});
  return list;
}

std::vector<std::string> Inventory::mirrored_to(std::string_view name) const {
  std::vector<std::string> names;
  for (const Joined& one : joined()) {
    if (*one.mirror && (*one.mirror)->name == name) names.push_back(*one.name);
  }
  return names;
}

Outcome<> Inventory::check_destination(const Joined& from, const std::vector<Joined>& others) const {
  const MirrorTo& mirror = **from.mirror;
  if (mirror.name == *from.name) return refuse_mirror("a port cannot be mirrored to itself");
  const auto to =
      std::find_if(others.begin(), others.end(), [&](const Joined& one) { return *one.name == mirror.name; });
  if (to == others.end()) {
    return refuse_mirror(fmt::format("there is no port or uplink named {}", mirror.name), ProblemKind::not_found);
  }
  if (to->switch_name->empty()) return refuse_mirror(fmt::format("{} has no side on a switch", mirror.name));
  if (*to->switch_name != *from.switch_name) {
    return refuse_mirror(fmt::format("{} is on switch {}, not {}", mirror.name, *to->switch_name, *from.switch_name));
  }
  if (*to->mirror) {
    return refuse_mirror(
        fmt::format("{} is mirrored itself (to {}), and copies are not copied", mirror.name, (*to->mirror)->name));
  }
  std::vector<std::string_view> destinations{mirror.name};
  for (const Joined& one : others) {
    if (*one.mirror && *one.switch_name == *from.switch_name) destinations.push_back((*one.mirror)->name);
  }
  std::sort(destinations.begin(), destinations.end());
  const auto count = std::unique(destinations.begin(), destinations.end()) - destinations.begin();
  if (static_cast<std::size_t>(count) <= switching::kMaxMirrors) return {};
  return refuse_mirror(fmt::format("switch {} has {} destinations of mirrors already, and may not have more",
                                   *from.switch_name, switching::kMaxMirrors));
}

/// `one`, which may be in the list or not yet, beside all others.
Outcome<> Inventory::check_mirror(const Joined& one) const {
  if (defers_mirrors_) return {};
  std::vector<Joined> others = joined();
  std::erase_if(others, [&one](const Joined& other) { return *other.name == *one.name; });
  for (const Joined& other : others) {
    if (!*other.mirror || (*other.mirror)->name != *one.name) continue;
    if (*one.mirror)
      return refuse_mirror(fmt::format("{} is mirrored to {}, and copies are not copied", *other.name, *one.name));
    if (*other.switch_name == *one.switch_name) continue;
    return refuse(ProblemKind::busy, "switch",
                  fmt::format("{} on switch {} is mirrored to {}", *other.name, *other.switch_name, *one.name));
  }
  for (const RuleSpec& rule : all<RuleSpec>()) {
    if (*one.mirror && rule.mirror == *one.name && rule.switch_name == *one.switch_name)
      return refuse_mirror(fmt::format("rule {} copies to {}, and copies are not copied", rule.name, *one.name));
  }
  return *one.mirror ? check_destination(one, others) : Outcome<>{};
}

Outcome<> Inventory::check_rule_mirror(const RuleSpec& rule) const {
  for (const Joined& one : joined()) {
    const bool is_mirrored = rule.mirror == *one.name && *one.mirror && *one.switch_name == rule.switch_name;
    if (!is_mirrored || defers_mirrors_) continue;
    return refuse_mirror(
        fmt::format("{} is mirrored itself (to {}), and copies are not copied", *one.name, (*one.mirror)->name));
  }
  return {};
}

std::optional<Inventory::MirrorProblem> Inventory::mirror_problem() const {
  for (const Joined& one : joined()) {
    if (auto good = check_mirror(one); !good) return MirrorProblem{*one.name, good.error()};
  }
  return std::nullopt;
}

Outcome<> Inventory::check_no_mirror_to(std::string_view name) const {
  const auto sources = defers_mirrors_ ? std::vector<std::string>{} : mirrored_to(name);
  if (sources.empty()) return {};
  return refuse(ProblemKind::busy, "name",
                fmt::format("{} {} mirrored to {}: take that away first (port set NAME mirror=)",
                            fmt::join(sources, ", "), sources.size() == 1 ? "is" : "are", name));
}

}  // namespace vmux::control

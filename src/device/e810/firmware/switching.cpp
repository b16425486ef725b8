// SPDX-License-Identifier: BSD-3-Clause
#include "device/e810/firmware/switching.hpp"

#include <algorithm>

#include "vmux/base/bits.hpp"

namespace vmux::device::e810 {
namespace {

using wire::ice::Status;
using wire::ice::VsiContext;
namespace kind = wire::ice::rule;
namespace section = wire::ice::vsi_section;

namespace action {        // of a lookup rule
using type = Bits<0, 2>;  // 0 forward, 1 to a queue, 2 prune
using vsi = Bits<4, 10>;  // or a list of them
using is_list = Bits<14>;
using drop = Bits<18>;
constexpr std::uint32_t kForward = 0, kPrune = 2;
}  // namespace action

// A rule of the promiscuous recipes names no station but a kind of them.
constexpr std::uint8_t kAnyUnicast = 0x02, kAnyMulticast = 0x03;
constexpr std::size_t kTpidAt = 12, kTciAt = 14;

std::uint16_t big_endian(const std::vector<std::uint8_t>& header, std::size_t at) noexcept {
  return at + 1 < header.size() ? static_cast<std::uint16_t>(header[at] << 8 | header[at + 1]) : std::uint16_t{0};
}

MacAddress destination(const Rule& rule) noexcept {
  MacAddress mac{};
  if (rule.header.size() >= mac.size()) std::copy_n(rule.header.begin(), mac.size(), mac.begin());
  return mac;
}

bool names_station(const Rule& rule) noexcept {
  return rule.recipe == kind::recipe_mac || rule.recipe == kind::recipe_mac_vlan;
}

}  // namespace

void Switching::reset() {
  vsis_.clear();
  order_.clear();
  rules_.clear();
  matches_.clear();
  lists_.clear();
  macs_ = 0;
  VsiContext context{};
  context.inner_vlan_flags = wire::ice::vsi_context::strip_nothing;
  context.queue_mapping[1] = 1;
  vsis_[kDefaultVsi] = context;
  choose_main();
}

void Switching::choose_main() noexcept { main_ = order_.empty() ? kDefaultVsi : order_.front(); }

std::optional<std::uint16_t> Switching::add_vsi(const VsiContext& context) {
  if (vsis_.size() >= kMostVsis) return std::nullopt;
  std::uint16_t number = kDefaultVsi + 1;
  while (vsis_.contains(number))
    ++number;
  restore_vsi(number, context);
  return number;
}

void Switching::restore_vsi(std::uint16_t number, const VsiContext& context) {
  vsis_[number] = context;
  if (number != kDefaultVsi) order_.push_back(number);
  choose_main();
}

VsiContext* Switching::vsi(std::uint16_t number) {
  const auto at = vsis_.find(number);
  return at == vsis_.end() ? nullptr : &at->second;
}

bool Switching::update_vsi(std::uint16_t number, const VsiContext& context) {
  VsiContext* const kept = vsi(number);
  if (kept == nullptr) return false;
  const std::uint16_t valid = context.valid_sections;
  if ((valid & section::switching) != 0) {
    kept->switch_flags = context.switch_flags;
    kept->switch_flags2 = context.switch_flags2;
  }
  if ((valid & section::security) != 0) kept->security_flags = context.security_flags;
  if ((valid & section::vlan) != 0) {
    kept->port_vlan = context.port_vlan;
    kept->inner_vlan_flags = context.inner_vlan_flags;
  }
  if ((valid & section::outer_tag) != 0) {
    kept->outer_tag = context.outer_tag;
    kept->outer_tag_flags = context.outer_tag_flags;
  }
  if ((valid & section::queues) != 0) {
    kept->mapping_flags = context.mapping_flags;
    kept->queue_mapping = context.queue_mapping;
    kept->tc_mapping = context.tc_mapping;
  }
  if ((valid & section::queue_options) != 0) {
    kept->rss = context.rss;
    kept->tc = context.tc;
    kept->queue_flags = context.queue_flags;
  }
  if ((valid & section::flow_director) != 0) kept->rest = context.rest;
  kept->valid_sections = static_cast<std::uint16_t>(kept->valid_sections | valid);
  return true;
}

bool Switching::free_vsi(std::uint16_t number) {
  if (number == kDefaultVsi || vsis_.erase(number) == 0) return false;
  std::erase(order_, number);
  choose_main();
  return true;
}

Status Switching::add(Rule& rule) {
  if (matches_.contains(match_of(rule))) return Status::exists;
  // Linux turns promiscuous when it hears that there is no room for one more station.
  const bool is_station = names_station(rule) && !is_multicast(destination(rule));
  if (rules_.size() >= kMostRules || (is_station && macs_ >= intel::Filters::kMaxMacs)) return Status::no_space;
  // Behind the last one, so that nobody has to look for a gap among thousands.
  const std::uint16_t last = rules_.empty() ? std::uint16_t{0} : rules_.rbegin()->first;
  rule.index = static_cast<std::uint16_t>(last + 1);
  while (rule.index == 0 || rules_.contains(rule.index))
    ++rule.index;
  restore(rule);
  return Status::ok;
}

void Switching::restore(Rule rule) {
  if (names_station(rule) && !is_multicast(destination(rule))) ++macs_;
  const std::uint16_t index = rule.index;
  matches_.insert(match_of(rule));
  rules_[index] = std::move(rule);
}

Status Switching::update(const Rule& rule) {
  const auto at = rules_.find(rule.index);
  if (at == rules_.end()) return Status::no_entry;
  at->second.action = rule.action;
  return Status::ok;
}

Status Switching::remove(std::uint16_t index) {
  const auto at = rules_.find(index);
  if (at == rules_.end()) return Status::no_entry;
  if (names_station(at->second) && (destination(at->second)[0] & 1) == 0) --macs_;
  matches_.erase(match_of(at->second));
  rules_.erase(at);
  return Status::ok;
}

void Switching::set_list(std::uint16_t index, const std::vector<std::uint16_t>& vsis, bool is_member) {
  std::set<std::uint16_t>& list = lists_[index];
  for (const std::uint16_t vsi : vsis)
    is_member ? static_cast<void>(list.insert(vsi)) : static_cast<void>(list.erase(vsi));
}

bool Switching::leads_to_main(const Rule& rule) const {
  const auto target = static_cast<std::uint16_t>(action::vsi::get(rule.action));
  if (!action::is_list::is_set(rule.action)) return target == main_;
  const auto list = lists_.find(target);
  return list != lists_.end() && list->second.contains(main_);
}

void Switching::note(const Rule& rule, intel::Filters& filters) const {
  const MacAddress to = destination(rule);
  const auto tci = static_cast<std::uint16_t>(big_endian(rule.header, kTciAt) & 0xfff);
  switch (rule.recipe) {
    case kind::recipe_mac:
    case kind::recipe_mac_vlan:
      static_cast<void>(filters.add(to));
      return;
    case kind::recipe_promiscuous:
    case kind::recipe_promiscuous_vlan:
      if (to[0] == kAnyUnicast) filters.unicast_promisc = true;
      if (to[0] == kAnyMulticast) filters.multicast_promisc = true;
      return;
    case kind::recipe_default:
      filters.unicast_promisc = filters.multicast_promisc = true;
      return;
    case kind::recipe_vlan:
      (big_endian(rule.header, kTpidAt) == intel::kServiceTpid ? filters.service_vlans : filters.vlans).set(tci);
      return;
    default:
      return;  // by Ethernet type: only what is sent
  }
}

intel::Filters Switching::filters() const {
  intel::Filters filters;
  for (const auto& [index, rule] : rules_) {
    const std::uint32_t type = action::type::get(rule.action);
    const bool is_taken = type == action::kForward || (type == action::kPrune && rule.recipe == kind::recipe_vlan);
    if (is_taken && !action::drop::is_set(rule.action) && leads_to_main(rule)) note(rule, filters);
  }
  filters.vlan_filtering = (main_context().switch_flags2 & wire::ice::vsi_context::vlan_prune) != 0;
  return filters;
}

}  // namespace vmux::device::e810

// SPDX-License-Identifier: BSD-3-Clause
// What a switch knows of its ports, pollers, mirrors and captures: switch.cpp and switch_settings.cpp alone.
#pragma once

#include <algorithm>
#include <array>
#include <bitset>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "switch/policy/meter.hpp"
#include "switch/policy/share.hpp"
#include "switch/policy/sources.hpp"
#include "switch/rules/rule_table.hpp"
#include "switch/shard.hpp"
#include "switch/switch.hpp"

namespace vmux::switching {

struct Attachment {
  PortId id;
  PortConfig config;
  std::vector<port::Port*> ports;  // by lane
  std::vector<Shard*> shards;      // the same
  std::optional<Mirror> mirror;
  std::unique_ptr<Meter> in = {}, out = {}, flood = {};  // of PortConfig::limits, where there are any
  std::unique_ptr<const Sources> sources = {};           // the same of PortConfig::sources
  std::unique_ptr<SharedLimit> shared = {};              // in place of `out`, where others share it
  std::shared_ptr<const PortSet> deaf_to = {};           // and the ports of its group, where it is in one

  [[nodiscard]] bool is_on(const Shard& shard) const {
    return std::find(shards.begin(), shards.end(), &shard) != shards.end();
  }
};

struct Capture {
  std::vector<PortId> ports;
  std::vector<PollerTap> taps;

  [[nodiscard]] bool is_of(PortId id) const { return std::find(ports.begin(), ports.end(), id) != ports.end(); }
  [[nodiscard]] Tap* tap_of(const runtime::Poller& poller) const {
    const auto at = std::find_if(taps.begin(), taps.end(), [&](const PollerTap& one) { return one.poller == &poller; });
    return at == taps.end() ? nullptr : at->tap;
  }
};

/// Rules in their order, and what pollers have of them.
struct RuleSet {
  struct Slot {
    std::uint16_t slot = 0;  // where it is counted,
    RuleHits before;         // by others before it
  };
  RuleSet();
  ~RuleSet();
  [[nodiscard]] bool is_about(const std::string& port, RuleWay way) const;
  [[nodiscard]] bool names(const std::string& port) const;

  std::vector<Rule> rules;
  std::map<std::string, Slot> slots;  // by name
  std::vector<PortId> mirrors;        // destinations that rules name, and that are there
  std::unique_ptr<const RuleTable> in, out;
};

struct Switch::Impl {
  std::string name;
  SwitchOptions options;
  std::vector<std::optional<Attachment>> slots;
  std::vector<std::uint32_t> uses;  // of each slot
  std::vector<std::unique_ptr<Link>> links;
  std::map<std::pair<const Shard*, const Shard*>, std::unique_ptr<CopyLink>> copy_links;  // from, to
  std::array<PortId, kMaxMirrors> mirrors{};                                              // destinations by number
  std::array<Capture, kMaxCaptures> captures;                                             // by number
  std::vector<std::unique_ptr<Shard>> shards;
  RuleSet rule_set;
  PortId leaving;  // is being detached: no rule leads to it any more
  bool is_held = false;

  Attachment* find(PortId id) {
    const std::uint32_t slot = slot_of(id);
    return slot < slots.size() && slots[slot] && slots[slot]->id == id ? &*slots[slot] : nullptr;
  }
  Result<Shard*> shard_on(runtime::Poller& poller);
  Result<std::uint32_t> free_slot();
  void admit(const Attachment& attachment, Shard& shard);
  // Mirrors:
  [[nodiscard]] bool is_destination(PortId id) const;
  [[nodiscard]] MirrorSet set_of(PortId destination) const;
  [[nodiscard]] Policy policy_of(const Attachment& attachment) const;
  [[nodiscard]] VlanRules rules_of(const Attachment& attachment) const;
  [[nodiscard]] std::shared_ptr<const std::bitset<kVlanIds>> vlans_of(const Attachment& attachment) const;
  Result<void> check(const Attachment& from, const Mirror& mirror);
  /// Of those that there are now.
  [[nodiscard]] std::set<std::string> destination_names() const;
  void begin_destination(const Attachment& destination);
  void end_destination(PortId id);
  void join(const Attachment& from, const Attachment& destination);
  void tell(const Attachment& attachment);
  void tell_all();
  void tell_of_vlans(const Attachment& attachment);
  /// The port whose limit the others share, if there is one.
  [[nodiscard]] const Attachment* shared_by_all() const;
  void forget_everywhere(PortId id);
  /// A port is about to join the group, or has left it.
  std::shared_ptr<const PortSet> regroup(const std::string& group, std::optional<std::uint32_t> joining = std::nullopt);
  // switch_rules.cpp; `joining`: is about to be attached
  /// Whose frames rules are about, to its last one; and who frames may still be sent to.
  [[nodiscard]] const Attachment* bound(const std::string& wanted, const Attachment* joining) const;
  [[nodiscard]] const Attachment* named(const std::string& wanted, const Attachment* joining) const;
  [[nodiscard]] std::string find_name(PortId id) const;
  [[nodiscard]] RuleAction action_of(const Rule& rule, const Attachment* joining) const;
  [[nodiscard]] Result<std::unique_ptr<const RuleTable>> table_of(const std::vector<Rule>& rules, RuleWay way,
                                                                  const Attachment* joining,
                                                                  RuleTable::Versions versions) const;
  [[nodiscard]] Result<void> check_rules(const std::vector<Rule>& rules) const;
  [[nodiscard]] RuleHits counted(std::size_t slot) const;
  /// Those that had none.
  std::vector<std::string> give_slots(const std::vector<Rule>& rules);
  void begin_rule_mirrors(const std::vector<Rule>& rules, const Attachment* joining);
  void publish_rules(const Attachment* joining);
  void bind_rules(const Attachment& joining);
  [[nodiscard]] bool has_room_beside_old(const std::vector<Rule>& rules) const;
  Result<void> check(std::span<const Lane> lanes, const PortConfig& config) const;
  template <class F>
  static void on(Shard& shard, F&& work) {
    shard.poller().call(std::forward<F>(work));
  }
};

[[nodiscard]] std::uint64_t random_seed();
// Of a port's configuration:
[[nodiscard]] std::unique_ptr<Meter> meter_of(const Limit& limit);
[[nodiscard]] std::unique_ptr<Meter> own_out(const Limits& limits);
[[nodiscard]] std::unique_ptr<SharedLimit> shared_out(const Limits& limits);
[[nodiscard]] Result<VlanRules> rules_of(const VlanConfig& config);
[[nodiscard]] std::vector<StationKey> keys_of(const std::vector<Station>& stations);
/// Whether SwitchOptions may be such.
[[nodiscard]] Result<void> check(std::uint32_t ageing_seconds, std::uint16_t forwarded_groups);

}  // namespace vmux::switching

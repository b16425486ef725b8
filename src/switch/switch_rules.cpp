// SPDX-License-Identifier: BSD-3-Clause
// Rules as a switch keeps them: names become ports, and tables are made and given to pollers.
#include <set>

#include "switch/rules/rule_stage.hpp"
#include "switch/switch_impl.hpp"

namespace vmux::switching {
namespace {

constexpr std::uint16_t kNowhere = 0xffff;  // a port that no frame is from: none is there of that name

Result<void> check_rule(const Rule& rule) {
  const bool only_in = !rule.redirect.empty() || !rule.mirror.empty() || rule.mark != 0 || rule.vlan || rule.dscp;
  if (rule.way == RuleWay::out && only_in) {
    return fail(Errc::invalid_argument, "a rule of the way out allows or drops");
  }
  if (rule.way == RuleWay::in && rule.match.mark != 0) {
    return fail(Errc::invalid_argument, "marks are for rules of the way out");
  }
  if (rule.vlan.value_or(1) == 0 || rule.vlan.value_or(1) >= kVlanIds - 1u) {
    return fail(Errc::invalid_argument, "a VLAN id must be 1 to 4094");
  }
  if (rule.dscp.value_or(0) > 63) return fail(Errc::invalid_argument, "a DSCP must be 0 to 63");
  return {};
}

}  // namespace

RuleSet::RuleSet() = default;
RuleSet::~RuleSet() = default;

const Attachment* Switch::Impl::bound(const std::string& wanted, const Attachment* joining) const {
  if (joining != nullptr && joining->config.name == wanted) return joining;
  for (const auto& slot : slots) {
    if (slot && slot->config.name == wanted) return &*slot;
  }
  return nullptr;
}

const Attachment* Switch::Impl::named(const std::string& wanted, const Attachment* joining) const {
  const Attachment* const found = bound(wanted, joining);
  return found == nullptr || found->id == leaving ? nullptr : found;
}

RuleAction Switch::Impl::action_of(const Rule& rule, const Attachment* joining) const {
  RuleAction action{.verdict = rule.verdict,
                    .mark = rule.mark,
                    .vlan = rule.vlan.value_or(kNoVlan),
                    .dscp = rule.dscp.value_or(RuleAction::kSameDscp)};
  if (const auto slot = rule_set.slots.find(rule.name); slot != rule_set.slots.end()) action.slot = slot->second.slot;
  if (!rule.redirect.empty()) {
    const Attachment* const to = named(rule.redirect, joining);
    action.is_redirect = to != nullptr;
    if (to != nullptr) action.redirect = to->id;
    if (to == nullptr) action.verdict = RuleVerdict::drop;  // not where it may not go instead
  }
  const Attachment* const listener = rule.mirror.empty() ? nullptr : named(rule.mirror, joining);
  if (listener != nullptr) action.mirrors = set_of(listener->id);
  return action;
}

Result<std::unique_ptr<const RuleTable>> Switch::Impl::table_of(const std::vector<Rule>& rules, RuleWay way,
                                                                const Attachment* joining,
                                                                RuleTable::Versions versions) const {
  std::vector<RuleTable::Input> inputs;
  for (const Rule& rule : rules) {
    if (rule.way != way) continue;
    RuleTable::Input& input = inputs.emplace_back(RuleTable::Input{&rule, action_of(rule, joining)});
    if (rule.port.empty()) continue;
    const Attachment* const port = bound(rule.port, joining);
    input.port = port == nullptr ? kNowhere : static_cast<std::uint16_t>(slot_of(port->id) + 1);
  }
  if (inputs.empty()) return std::unique_ptr<const RuleTable>{};
  return RuleTable::create(inputs, random_seed(), way == RuleWay::in ? versions.in : versions.out);
}

bool RuleSet::is_about(const std::string& port, RuleWay way) const {
  return std::any_of(rules.begin(), rules.end(),
                     [&](const Rule& rule) { return rule.way == way && (rule.port.empty() || rule.port == port); });
}

bool RuleSet::names(const std::string& port) const {
  return std::any_of(rules.begin(), rules.end(), [&](const Rule& rule) {
    return rule.port == port || rule.redirect == port || rule.mirror == port;
  });
}

RuleHits Switch::Impl::counted(std::size_t slot) const {
  RuleHits sum;
  for (const auto& shard : shards) {
    const RuleStage* const stage = shard->rule_stage();
    if (stage == nullptr) continue;
    sum.frames += stage->count(slot).frames.get();
    sum.bytes += stage->count(slot).bytes.get();
  }
  return sum;
}

// A rule keeps its counters while it is there, whatever of it changes. A place that another had begins where it is.
std::vector<std::string> Switch::Impl::give_slots(const std::vector<Rule>& rules) {
  std::vector<std::string> fresh;
  std::set<std::string> wanted;
  for (const Rule& rule : rules)
    wanted.insert(rule.name);
  std::erase_if(rule_set.slots, [&](const auto& one) { return wanted.count(one.first) == 0; });
  std::vector<bool> is_used(kMaxRules);
  for (const auto& one : rule_set.slots)
    is_used[one.second.slot] = true;
  std::uint16_t next = 0;
  for (const Rule& rule : rules) {
    if (rule_set.slots.count(rule.name) != 0) continue;
    while (is_used[next])
      ++next;
    is_used[next] = true;
    rule_set.slots[rule.name] = {next, counted(next)};
    fresh.push_back(rule.name);
  }
  return fresh;
}

// Those that pollers need before a rule that copies reaches them.
void Switch::Impl::begin_rule_mirrors(const std::vector<Rule>& rules, const Attachment* joining) {
  rule_set.mirrors.clear();
  for (const Rule& rule : rules) {
    const Attachment* const to = rule.mirror.empty() ? nullptr : named(rule.mirror, joining);
    if (to == nullptr) continue;
    rule_set.mirrors.push_back(to->id);
    begin_destination(*to);
    const auto join_if_about = [&](const Attachment& from) {
      if ((rule.port.empty() || rule.port == from.config.name) && &from != to) join(from, *to);
    };
    for (const auto& slot : slots) {
      if (slot && slot->id != leaving) join_if_about(*slot);
    }
    if (joining != nullptr) join_if_about(*joining);
  }
}

// New tables are there before any poller has them, and old ones until none does.
void Switch::Impl::publish_rules(const Attachment* joining) {
  const auto mirrors_before = rule_set.mirrors;
  begin_rule_mirrors(rule_set.rules, joining);
  const auto versions = RuleTable::next_versions();
  const auto in_before = std::exchange(rule_set.in, *table_of(rule_set.rules, RuleWay::in, joining, versions));
  const auto out_before = std::exchange(rule_set.out, *table_of(rule_set.rules, RuleWay::out, joining, versions));
  if (rule_set.in || rule_set.out) {
    for (const auto& shard : shards) {
      if (shard->rule_stage() != nullptr) continue;
      auto stage = std::make_unique<RuleStage>();
      on(*shard, [&] { shard->take_rule_stage(stage); });
    }
  }
  tell_all();
  for (const PortId before : mirrors_before)
    end_destination(before);
}

// Tables are made anew for those alone that rules name: with thousands of rules and hundreds of ports that takes longer
// than a guest waits. What is about all ports is in them already.
void Switch::Impl::bind_rules(const Attachment& joining) {
  if (rule_set.rules.empty()) return;
  const bool has_stages = std::all_of(joining.shards.begin(), joining.shards.end(),
                                      [](const Shard* shard) { return shard->rule_stage() != nullptr; });
  if (has_stages && !rule_set.names(joining.config.name)) return begin_rule_mirrors(rule_set.rules, &joining);
  publish_rules(&joining);
}

Result<void> Switch::Impl::check_rules(const std::vector<Rule>& rules) const {
  if (rules.size() > kMaxRules) return fail(Errc::no_space, "a switch has at most 4096 rules");
  std::set<std::string> rule_names, listeners;
  for (const auto& slot : slots) {
    if (slot && slot->mirror) listeners.insert(find_name(slot->mirror->to));
  }
  for (const Rule& rule : rules) {
    if (auto good = check_rule(rule); !good) return good;
    if (!rule_names.insert(rule.name).second) return fail(Errc::already_exists, "each rule has a name of its own");
    if (rule.mirror.empty()) continue;
    listeners.insert(rule.mirror);
    const Attachment* const to = named(rule.mirror, nullptr);
    if (to != nullptr && to->mirror) return fail(Errc::invalid_argument, "who gets copies cannot be mirrored itself");
  }
  if (listeners.size() > kMaxMirrors) return fail(Errc::no_space, "a switch has at most 16 destinations of mirrors");
  for (const RuleWay way : {RuleWay::in, RuleWay::out}) {
    if (auto table = table_of(rules, way, nullptr, {}); !table) return tl::unexpected(table.error());
  }
  return {};
}

std::string Switch::Impl::find_name(PortId id) const {
  const std::uint32_t slot = slot_of(id);
  return slot < slots.size() && slots[slot] && slots[slot]->id == id ? slots[slot]->config.name : std::string{};
}

// A destination has its number until no poller copies to it, so for a moment there are those of before beside new ones.
bool Switch::Impl::has_room_beside_old(const std::vector<Rule>& rules) const {
  std::set<std::string> names = destination_names();
  for (const Rule& rule : rules) {
    if (!rule.mirror.empty()) names.insert(rule.mirror);
  }
  return names.size() <= kMaxMirrors;
}

Result<void> Switch::set_rules(std::vector<Rule> rules) {
  if (rules == impl_->rule_set.rules) return {};
  if (auto good = impl_->check_rules(rules); !good) return good;
  const std::vector<std::string> fresh = impl_->give_slots(rules);
  if (!impl_->has_room_beside_old(rules)) {  // first without copies at all
    impl_->rule_set.rules = rules;
    for (Rule& rule : impl_->rule_set.rules)
      rule.mirror.clear();
    impl_->publish_rules(nullptr);
  }
  impl_->rule_set.rules = std::move(rules);
  impl_->publish_rules(nullptr);
  for (const std::string& name : fresh) {  // until then pollers had the old table, and counted there
    RuleSet::Slot& slot = impl_->rule_set.slots.at(name);
    slot.before = impl_->counted(slot.slot);
  }
  return {};
}

Result<void> Switch::may_have_rules(const std::vector<Rule>& rules) const { return impl_->check_rules(rules); }

RuleHits Switch::rule_hits(const std::string& name) const {
  const auto found = impl_->rule_set.slots.find(name);
  if (found == impl_->rule_set.slots.end()) return {};
  const RuleHits now = impl_->counted(found->second.slot), &before = found->second.before;
  return {now.frames - before.frames, now.bytes - before.bytes};
}

}  // namespace vmux::switching

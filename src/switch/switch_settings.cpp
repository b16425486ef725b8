// SPDX-License-Identifier: BSD-3-Clause
// What is changed of a switch and its ports while frames pass: each shard is told, on its own poller.
#include <set>

#include "switch/switch_impl.hpp"

namespace vmux::switching {
namespace {

constexpr std::uint16_t kMaxVlan = 4094;

std::shared_ptr<VlanMap> no_map() {
  auto map = std::make_shared<VlanMap>();
  map->in.fill(kNoVlan);
  map->out.fill(kNoVlan);
  return map;
}

// What a VLAN that has another number there had here is no VLAN of the port any more, unless one is mapped to it.
Result<VlanRules> translate(const std::vector<VlanTranslation>& translations, VlanRules rules) {
  if (translations.empty()) return rules;
  const auto map = no_map();
  std::bitset<kVlanIds> is_mapped, is_target;
  for (const VlanTranslation& one : translations) {
    const unsigned last_to = one.to + unsigned{one.last} - one.first;
    if (one.first == 0 || one.to == 0 || one.first > one.last || one.last > kMaxVlan || last_to > kMaxVlan) {
      return fail(Errc::invalid_argument, "a VLAN id must be 1 to 4094");
    }
    for (unsigned vlan = one.first, to = one.to; vlan <= one.last; ++vlan, ++to) {
      if (is_mapped[vlan] || is_target[to]) {
        return fail(Errc::invalid_argument, "a VLAN of a port is one of the switch, and the other way round");
      }
      is_mapped.set(vlan);
      is_target.set(to);
      map->in[vlan] = static_cast<std::uint16_t>(to);
      map->out[to] = static_cast<std::uint16_t>(vlan);
    }
  }
  for (std::uint16_t vlan = 1; vlan <= kMaxVlan; ++vlan) {
    if (!rules.tagged[vlan] || is_mapped[vlan] || is_target[vlan]) continue;
    map->in[vlan] = map->out[vlan] = vlan;
  }
  for (std::uint16_t vlan = 1; vlan <= kMaxVlan; ++vlan)
    rules.tagged[vlan] = map->out[vlan] != kNoVlan;
  rules.map = map;
  return rules;
}

// No tag of the switch passes there, so that no VLAN of it is "tagged" to whoever asks; carries() has them all the
// same.
Result<VlanRules> customer_rules(const VlanConfig& config) {
  const bool is_plain = config.mode == VlanMode::trunk && config.tag == 0 && config.allowed.empty() &&
                        !config.only_tagged && config.translations.empty() && !config.has_service_tags;
  if (!is_plain) return fail(Errc::invalid_argument, "a customer's port has service VLANs and nothing else");
  VlanRules rules = no_vlans();
  const auto map = no_map();
  for (const ServiceVlan& one : config.services) {
    if (one.vlan == 0 || one.vlan > kMaxVlan || one.first > one.last || one.last > kMaxVlan) {
      return fail(Errc::invalid_argument, "a VLAN id must be 1 to 4094");
    }
    for (unsigned vlan = one.first; vlan <= one.last; ++vlan) {
      if (map->in[vlan] == kNoVlan) map->in[vlan] = one.vlan;
    }
    rules.tagged.set(one.vlan);
  }
  rules.map = map;
  rules.keeps_tags = rules.is_retagged = true;
  return rules;
}

}  // namespace

std::unique_ptr<Meter> meter_of(const Limit& limit) {
  return limit.is_set() ? std::make_unique<Meter>(limit) : nullptr;
}

std::unique_ptr<Meter> own_out(const Limits& limits) { return limits.shares_out ? nullptr : meter_of(limits.out); }
std::unique_ptr<SharedLimit> shared_out(const Limits& limits) {
  return limits.shares_out && limits.out.is_set() ? std::make_unique<SharedLimit>(limits.out) : nullptr;
}

Result<VlanRules> rules_of(const VlanConfig& config) {
  if (!config.services.empty()) return customer_rules(config);
  VlanRules rules;
  rules.mode = config.mode;
  rules.untagged = config.tag;
  if (config.tag > kMaxVlan) return fail(Errc::invalid_argument, "a VLAN id must be 1 to 4094");
  if (config.mode == VlanMode::access) {
    if (config.tag == 0) return fail(Errc::invalid_argument, "an access port needs a VLAN id from 1 to 4094");
    if (!config.allowed.empty()) return fail(Errc::invalid_argument, "an access port has no list of allowed VLANs");
    if (config.only_tagged || config.has_service_tags || !config.translations.empty()) {
      return fail(Errc::invalid_argument, "an access port has untagged frames only");
    }
    return rules;
  }
  if (config.only_tagged && config.tag != 0) {
    return fail(Errc::invalid_argument, "the native VLAN of a trunk is that of untagged frames");
  }
  if (config.only_tagged) rules.untagged = kNoVlan;
  for (const std::uint16_t vlan : config.allowed) {
    if (vlan == 0 || vlan > kMaxVlan) return fail(Errc::invalid_argument, "a VLAN id must be 1 to 4094");
    rules.tagged.set(vlan);
  }
  if (config.allowed.empty()) {
    rules.tagged.set();
    rules.tagged.reset(0).reset(kMaxVlan + 1);
  }
  rules.has_service_tags = config.has_service_tags;
  rules.is_retagged = config.has_service_tags || !config.translations.empty();
  return translate(config.translations, std::move(rules));
}

std::vector<StationKey> keys_of(const std::vector<Station>& stations) {
  std::vector<StationKey> keys;
  for (const Station& station : stations) {
    std::uint64_t mac = 0;
    for (const std::uint8_t byte : station.mac)
      mac = mac << 8 | byte;
    keys.push_back(station_key(mac, station.vlan));
  }
  return keys;
}

Result<void> check(std::uint32_t ageing_seconds, std::uint16_t forwarded_groups) {
  if (ageing_seconds == 0) return fail(Errc::invalid_argument, "the ageing time must be above 0 seconds");
  if ((forwarded_groups & 1u << 1) == 0) return {};
  return fail(Errc::invalid_argument, "pause frames (01-80-C2-00-00-01) are for one link alone");
}

bool Switch::Impl::is_destination(PortId id) const { return set_of(id) != 0; }

MirrorSet Switch::Impl::set_of(PortId destination) const {
  const auto at = std::find(mirrors.begin(), mirrors.end(), destination);
  return at == mirrors.end() ? MirrorSet{0} : static_cast<MirrorSet>(1u << (at - mirrors.begin()));
}

Policy Switch::Impl::policy_of(const Attachment& attachment) const {
  Policy policy{.max_frame = attachment.config.max_frame,
                .is_destination = is_destination(attachment.id),
                .filtered_groups = attachment.config.filtered_groups,
                .in = attachment.in.get(),
                .out = attachment.out.get(),
                .flood = attachment.flood.get(),
                .sources = attachment.sources.get(),
                .deaf_to = attachment.deaf_to.get(),
                .rules_in = rule_set.is_about(attachment.config.name, RuleWay::in) ? rule_set.in.get() : nullptr,
                .rules_out = rule_set.is_about(attachment.config.name, RuleWay::out) ? rule_set.out.get() : nullptr};
  if (const Attachment* const uplink = shared_by_all(); uplink != nullptr && uplink->id != attachment.id) {
    policy.share = uplink->shared.get();
    policy.share_of = uplink->id;
    policy.share_vlans = vlans_of(*uplink);
    policy.weight = attachment.config.weight;
  }
  for (std::size_t number = 0; number < captures.size(); ++number) {
    if (captures[number].is_of(attachment.id))
      policy.captures = static_cast<CaptureSet>(policy.captures | 1u << number);
  }
  if (!attachment.mirror) return policy;
  if (attachment.mirror->in) policy.mirror_in = set_of(attachment.mirror->to);
  if (attachment.mirror->out) policy.mirror_out = set_of(attachment.mirror->to);
  return policy;
}

// All that it gets, without a tag or with.
std::shared_ptr<const std::bitset<kVlanIds>> Switch::Impl::vlans_of(const Attachment& attachment) const {
  const VlanRules rules = rules_of(attachment);
  auto vlans = std::make_shared<std::bitset<kVlanIds>>(rules.tagged);
  if (rules.untagged < kVlanIds) vlans->set(rules.untagged);
  return vlans;
}

// Those of a configuration that has been checked.
VlanRules Switch::Impl::rules_of(const Attachment& attachment) const {
  return is_destination(attachment.id) ? no_vlans() : *switching::rules_of(attachment.config.vlan);
}

Result<void> Switch::Impl::check(const Attachment& from, const Mirror& mirror) {
  const Attachment* const to = find(mirror.to);
  if (to == nullptr) return fail(Errc::not_found, "the switch has no port that could be this mirror's destination");
  if (to == &from) return fail(Errc::invalid_argument, "a port cannot be mirrored to itself");
  if (!mirror.in && !mirror.out) return fail(Errc::invalid_argument, "a mirror is of frames in, out or both");
  if (to->mirror) return fail(Errc::invalid_argument, "the destination of a mirror cannot be mirrored itself");
  if (is_destination(from.id)) return fail(Errc::invalid_argument, "others are mirrored to this port already");
  std::set<std::string> names = destination_names();
  for (const Rule& rule : rule_set.rules) {  // also those that are not there yet: they will be
    if (!rule.mirror.empty()) names.insert(rule.mirror);
  }
  names.insert(to->config.name);
  if (names.size() > kMaxMirrors) return fail(Errc::no_space, "a switch has at most 16 destinations of mirrors");
  return {};
}

// What the lanes of a port do, as all that is asked for has it.
void Switch::Impl::tell(const Attachment& attachment) {
  const Policy policy = policy_of(attachment);
  const VlanRules rules = rules_of(attachment);
  for (Shard* const owner : attachment.shards) {
    on(*owner, [&] {
      owner->set_vlan(attachment.id, rules);
      owner->set_policy(attachment.id, policy);
    });
  }
}

void Switch::Impl::tell_all() {
  for (const auto& slot : slots) {
    if (slot) tell(*slot);
  }
}

// Which VLANs a shared uplink carries is what others look at.
void Switch::Impl::tell_of_vlans(const Attachment& attachment) {
  tell(attachment);
  if (attachment.shared) tell_all();
}

const Attachment* Switch::Impl::shared_by_all() const {
  const auto at = std::find_if(slots.begin(), slots.end(),
                               [this](const auto& slot) { return slot && slot->shared && slot->id != leaving; });
  return at == slots.end() ? nullptr : &**at;
}

// Those that are in it are told first, so that nothing passes as the port joins; their old sets are there until then.
std::shared_ptr<const PortSet> Switch::Impl::regroup(const std::string& group, std::optional<std::uint32_t> joining) {
  if (group.empty()) return nullptr;
  PortSet ports;
  if (joining) ports.set(*joining);
  for (const auto& slot : slots) {
    if (slot && slot->config.isolation == group) ports.set(slot_of(slot->id));
  }
  const auto now = std::make_shared<const PortSet>(ports);
  for (auto& slot : slots) {
    if (!slot || slot->config.isolation != group) continue;
    const auto before = std::exchange(slot->deaf_to, now);
    tell(*slot);
  }
  return now;
}

void Switch::Impl::forget_everywhere(PortId id) {
  for (const auto& shard : shards)
    on(*shard, [&] { shard->forget(id); });
}

std::set<std::string> Switch::Impl::destination_names() const {
  std::set<std::string> names;
  for (const PortId id : mirrors) {
    if (id != PortId{}) names.insert(find_name(id));
  }
  return names;
}

// It leaves the network before the first copy comes. Whoever asks for more than there is room for has been refused.
void Switch::Impl::begin_destination(const Attachment& destination) {
  const auto free = std::find(mirrors.begin(), mirrors.end(), PortId{});
  if (is_destination(destination.id) || free == mirrors.end()) return;
  const auto number = static_cast<std::size_t>(free - mirrors.begin());
  *free = destination.id;
  tell_of_vlans(destination);
  forget_everywhere(destination.id);
  for (const auto& shard : shards)
    on(*shard, [&] { shard->set_mirror(number, destination.id); });
}

// Back in the network, unless somebody is still mirrored to it.
void Switch::Impl::end_destination(PortId id) {
  const bool has_sources = std::any_of(
      slots.begin(), slots.end(), [id](const auto& slot) { return slot && slot->mirror && slot->mirror->to == id; });
  const auto at = std::find(mirrors.begin(), mirrors.end(), id);
  const bool has_rules = std::find(rule_set.mirrors.begin(), rule_set.mirrors.end(), id) != rule_set.mirrors.end();
  if (has_sources || has_rules || at == mirrors.end()) return;
  *at = {};
  const auto number = static_cast<std::size_t>(at - mirrors.begin());
  for (const auto& shard : shards)
    on(*shard, [&] { shard->set_mirror(number, {}); });
  if (const Attachment* const destination = find(id)) tell_of_vlans(*destination);
}

// The ways of copies between pollers, which stay: there is one mirror today and another tomorrow.
void Switch::Impl::join(const Attachment& from, const Attachment& destination) {
  for (Shard* const source : from.shards) {
    for (Shard* const sink : destination.shards) {
      if (source == sink || copy_links.count({source, sink}) != 0) continue;
      std::unique_ptr<CopyLink>& link = copy_links[{source, sink}];
      link = std::make_unique<CopyLink>(Shard::kCopies);
      auto pool = std::make_unique<packet::Pool>(Shard::kCopies, Shard::kCopySegments);
      on(*sink, [&] { sink->take_copies_from(*source, *link); });
      on(*source, [&] { source->send_copies_by(*sink, *link, pool); });
    }
  }
}

Result<void> Switch::set_vlan(PortId id, VlanConfig vlan) {
  const auto rules = rules_of(vlan);
  if (!rules) return tl::unexpected(rules.error());
  Attachment* const attachment = impl_->find(id);
  if (attachment == nullptr) return fail(Errc::not_found, "the switch has no such port");
  attachment->config.vlan = std::move(vlan);
  impl_->tell_of_vlans(*attachment);
  impl_->forget_everywhere(id);
  return {};
}

Result<void> Switch::set_max_frame(PortId id, std::uint32_t bytes) {
  Attachment* const attachment = impl_->find(id);
  if (attachment == nullptr) return fail(Errc::not_found, "the switch has no such port");
  attachment->config.max_frame = bytes;
  impl_->tell(*attachment);
  return {};
}

// The old meters are there until no poller has them.
Result<void> Switch::set_limits(PortId id, const Limits& limits) {
  Attachment* const attachment = impl_->find(id);
  if (attachment == nullptr) return fail(Errc::not_found, "the switch has no such port");
  const Limits before = std::exchange(attachment->config.limits, limits);
  if (limits == before) return {};
  auto in = limits.in == before.in ? nullptr : std::exchange(attachment->in, meter_of(limits.in));
  const bool has_other_out = limits.out != before.out || limits.shares_out != before.shares_out;
  auto out = has_other_out ? std::exchange(attachment->out, own_out(limits)) : nullptr;
  auto shared = has_other_out ? std::exchange(attachment->shared, shared_out(limits)) : nullptr;
  auto flood = limits.flood == before.flood ? nullptr : std::exchange(attachment->flood, meter_of(limits.flood));
  if (has_other_out && (shared || attachment->shared)) impl_->tell_all();
  impl_->tell(*attachment);
  return {};
}

Result<void> Switch::set_filtered_groups(PortId id, std::uint16_t groups) {
  Attachment* const attachment = impl_->find(id);
  if (attachment == nullptr) return fail(Errc::not_found, "the switch has no such port");
  if (std::exchange(attachment->config.filtered_groups, groups) != groups) impl_->tell(*attachment);
  return {};
}

Result<void> Switch::set_weight(PortId id, std::uint32_t weight) {
  Attachment* const attachment = impl_->find(id);
  if (attachment == nullptr) return fail(Errc::not_found, "the switch has no such port");
  if (weight == 0 || weight > kMaxWeight) return fail(Errc::invalid_argument, "a weight must be 1 to 1000");
  if (std::exchange(attachment->config.weight, weight) != weight) impl_->tell(*attachment);
  return {};
}

Result<void> Switch::set_sources(PortId id, std::optional<SourceRules> sources) {
  Attachment* const attachment = impl_->find(id);
  if (attachment == nullptr) return fail(Errc::not_found, "the switch has no such port");
  if (sources == attachment->config.sources) return {};
  const auto before = std::exchange(attachment->sources, sources ? std::make_unique<const Sources>(*sources) : nullptr);
  attachment->config.sources = std::move(sources);
  impl_->tell(*attachment);
  return {};
}

Result<void> Switch::set_isolation(PortId id, std::string group) {
  Attachment* const attachment = impl_->find(id);
  if (attachment == nullptr) return fail(Errc::not_found, "the switch has no such port");
  if (group == attachment->config.isolation) return {};
  const auto before = std::exchange(attachment->deaf_to, impl_->regroup(group, slot_of(id)));
  const std::string left = std::exchange(attachment->config.isolation, std::move(group));
  impl_->tell(*attachment);
  static_cast<void>(impl_->regroup(left));
  return {};
}

Result<void> Switch::set_mirror(PortId id, std::optional<Mirror> mirror) {
  Attachment* const attachment = impl_->find(id);
  if (attachment == nullptr) return fail(Errc::not_found, "the switch has no such port");
  if (mirror == attachment->mirror) return {};
  if (mirror) {
    if (auto may = impl_->check(*attachment, *mirror); !may) return may;
    const Attachment& destination = *impl_->find(mirror->to);
    impl_->begin_destination(destination);
    impl_->join(*attachment, destination);
  }
  const std::optional<Mirror> before = std::exchange(attachment->mirror, mirror);
  impl_->tell(*attachment);
  if (before) impl_->end_destination(before->to);
  return {};
}

// A tap is there before a policy names it, and until none does.
void Switch::set_capture(std::size_t number, const std::vector<PortId>& ports, const std::vector<PollerTap>& taps) {
  Capture& capture = impl_->captures.at(number);
  const auto show_taps = [&] {
    for (const auto& shard : impl_->shards)
      Impl::on(*shard, [&] { shard->set_tap(number, capture.tap_of(shard->poller())); });
  };
  if (!ports.empty() && std::exchange(capture.taps, taps).empty()) show_taps();
  const auto before = std::exchange(capture.ports, ports);
  for (const auto& slot : impl_->slots) {
    if (slot && std::count(before.begin(), before.end(), slot->id) != std::count(ports.begin(), ports.end(), slot->id))
      impl_->tell(*slot);
  }
  if (!ports.empty()) return;
  capture.taps.clear();
  show_taps();
}

Result<void> Switch::set_stations(PortId id, std::vector<Station> stations) {
  Attachment* const attachment = impl_->find(id);
  if (attachment == nullptr) return fail(Errc::not_found, "the switch has no such port");
  const auto keys = keys_of(stations);
  for (const auto& shard : impl_->shards)
    Impl::on(*shard, [&] { shard->pin(id, keys); });
  attachment->config.stations = std::move(stations);
  return {};
}

void Switch::hold(bool is_held) {
  impl_->is_held = is_held;
  for (const auto& shard : impl_->shards)
    Impl::on(*shard, [&] { shard->hold(is_held); });
}

Result<void> Switch::set_options(std::uint32_t ageing_seconds, std::uint16_t forwarded_groups) {
  if (auto good = check(ageing_seconds, forwarded_groups); !good) return good;
  impl_->options.ageing_seconds = ageing_seconds;
  impl_->options.forwarded_groups = forwarded_groups;
  for (const auto& shard : impl_->shards)
    Impl::on(*shard, [&] { shard->set_options(impl_->options); });
  return {};
}

}  // namespace vmux::switching

// SPDX-License-Identifier: BSD-3-Clause
// The control face: keeps the list of ports and tells the shards, each on its own poller.
#include "switch/switch.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <random>
#include <unordered_map>
#include <utility>

#include "switch/meter.hpp"
#include "switch/shard.hpp"
#include "switch/sources.hpp"

namespace vmux::switching {
namespace {

constexpr std::size_t kMaxShards = 64;
constexpr std::uint16_t kMaxVlan = 4094;

struct Attachment {
  PortId id;
  PortConfig config;
  std::vector<port::Port*> ports;  // by lane
  std::vector<Shard*> shards;      // the same
  std::optional<Mirror> mirror;
  std::unique_ptr<Meter> in, out;          // of PortConfig::limits, where there are any
  std::unique_ptr<const Sources> sources;  // the same of PortConfig::sources

  [[nodiscard]] bool is_on(const Shard& shard) const {
    return std::find(shards.begin(), shards.end(), &shard) != shards.end();
  }
};

std::unique_ptr<Meter> meter_of(const Limit& limit) {
  return limit.is_set() ? std::make_unique<Meter>(limit) : nullptr;
}

Result<VlanRules> rules_of(const VlanConfig& config) {
  VlanRules rules;
  rules.mode = config.mode;
  rules.untagged = config.tag;
  if (config.tag > kMaxVlan) return fail(Errc::invalid_argument, "a VLAN id must be 1 to 4094");
  if (config.mode == VlanMode::access) {
    if (config.tag == 0) return fail(Errc::invalid_argument, "an access port needs a VLAN id from 1 to 4094");
    if (!config.allowed.empty()) return fail(Errc::invalid_argument, "an access port has no list of allowed VLANs");
    if (config.only_tagged) return fail(Errc::invalid_argument, "an access port has untagged frames only");
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
  return rules;
}

struct Capture {
  std::vector<PortId> ports;
  std::vector<PollerTap> taps;

  [[nodiscard]] bool is_of(PortId id) const { return std::find(ports.begin(), ports.end(), id) != ports.end(); }
  [[nodiscard]] Tap* tap_of(const runtime::Poller& poller) const {
    const auto at = std::find_if(taps.begin(), taps.end(), [&](const PollerTap& one) { return one.poller == &poller; });
    return at == taps.end() ? nullptr : at->tap;
  }
};

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

MacAddress bytes_of(StationKey key) noexcept {
  MacAddress mac{};
  for (std::size_t i = 0; i < mac.size(); ++i)
    mac[i] = static_cast<std::uint8_t>(key >> (40 - 8 * i));
  return mac;
}

std::uint64_t random_seed() {
  std::random_device random;
  return (static_cast<std::uint64_t>(random()) << 32) | random();
}

}  // namespace

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
  Result<void> check(const Attachment& from, const Mirror& mirror);
  void begin_destination(const Attachment& destination);
  void end_destination(PortId id);
  void join(const Attachment& from, const Attachment& destination);
  void tell(const Attachment& attachment);
  void forget_everywhere(PortId id);
  Result<void> check(std::span<const Lane> lanes, const PortConfig& config) const;
  template <class F>
  static void on(Shard& shard, F&& work) {
    shard.poller().call(std::forward<F>(work));
  }
};

// Every pair of shards is joined both ways before the new one runs.
Result<Shard*> Switch::Impl::shard_on(runtime::Poller& poller) {
  for (const auto& shard : shards) {
    if (&shard->poller() == &poller) return shard.get();
  }
  if (shards.size() == kMaxShards) return fail(Errc::no_space, "a switch spans at most 64 pollers");
  auto fresh = std::make_unique<Shard>(poller, options, random_seed());
  Shard* const added = fresh.get();
  for (const auto& shard : shards) {
    Link& to = *links.emplace_back(std::make_unique<Link>(Shard::kPackets));
    Link& from = *links.emplace_back(std::make_unique<Link>(Shard::kPackets));
    added->add_peer(*shard, to, from);
    on(*shard, [&] { shard->add_peer(*added, from, to); });
  }
  for (const auto& attachment : slots) {
    if (attachment) admit(*attachment, *added);
  }
  for (std::size_t number = 0; number < mirrors.size(); ++number)
    added->set_mirror(number, mirrors[number]);
  for (std::size_t number = 0; number < captures.size(); ++number)
    added->set_tap(number, captures[number].tap_of(poller));
  on(*added, [&] { poller.add_task(*added); });
  shards.push_back(std::move(fresh));
  return added;
}

// The home of a port that is spread may publish a steering in between, which the new shard cannot keep yet: so it is
// told once more.
void Switch::Impl::admit(const Attachment& attachment, Shard& shard) {
  const PortId id = attachment.id;
  Shard& home = *attachment.shards.front();
  std::shared_ptr<const port::Steering> steering;
  if (attachment.shards.size() > 1) on(home, [&] { steering = attachment.ports.front()->steering(); });
  const auto stations = keys_of(attachment.config.stations);
  on(shard, [&] {
    shard.admit(id, attachment.shards, steering, attachment.config.mac_limit);
    shard.pin(id, stations);
  });
  if (attachment.shards.size() > 1) on(home, [&] { home.republish_steering(id); });
}

Result<void> Switch::Impl::check(std::span<const Lane> lanes, const PortConfig& config) const {
  if (lanes.empty() || lanes.size() > port::kMaxLanes) {
    return fail(Errc::invalid_argument, "a port has 1 to 64 lanes");
  }
  for (const auto& slot : slots) {
    if (!slot) continue;
    if (slot->config.name == config.name) return fail(Errc::already_exists, "the switch has a port of that name");
    for (const Lane& lane : lanes) {
      const bool is_known = std::find(slot->ports.begin(), slot->ports.end(), &lane.port) != slot->ports.end();
      if (is_known) return fail(Errc::already_exists, "the port is attached already");
    }
  }
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    const bool is_shared = std::any_of(lanes.begin(), lanes.begin() + static_cast<std::ptrdiff_t>(i),
                                       [&](const Lane& other) { return &other.poller == &lanes[i].poller; });
    if (is_shared) return fail(Errc::invalid_argument, "a port has one lane on a poller");
  }
  return {};
}

Result<std::uint32_t> Switch::Impl::free_slot() {
  const auto at = std::find_if(slots.begin(), slots.end(), [](const auto& slot) { return !slot; });
  if (at != slots.end()) return static_cast<std::uint32_t>(at - slots.begin());
  if (slots.size() == kMaxPorts) return fail(Errc::no_space, "a switch has at most 1024 ports");
  slots.emplace_back();
  uses.push_back(0);
  return static_cast<std::uint32_t>(slots.size() - 1);
}

bool Switch::Impl::is_destination(PortId id) const { return set_of(id) != 0; }

MirrorSet Switch::Impl::set_of(PortId destination) const {
  const auto at = std::find(mirrors.begin(), mirrors.end(), destination);
  return at == mirrors.end() ? MirrorSet{0} : static_cast<MirrorSet>(1u << (at - mirrors.begin()));
}

Policy Switch::Impl::policy_of(const Attachment& attachment) const {
  Policy policy{.max_frame = attachment.config.max_frame,
                .is_destination = is_destination(attachment.id),
                .in = attachment.in.get(),
                .out = attachment.out.get(),
                .sources = attachment.sources.get()};
  for (std::size_t number = 0; number < captures.size(); ++number) {
    if (captures[number].is_of(attachment.id))
      policy.captures = static_cast<CaptureSet>(policy.captures | 1u << number);
  }
  if (!attachment.mirror) return policy;
  if (attachment.mirror->in) policy.mirror_in = set_of(attachment.mirror->to);
  if (attachment.mirror->out) policy.mirror_out = set_of(attachment.mirror->to);
  return policy;
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
  const bool has_room = is_destination(mirror.to) || set_of(PortId{}) != 0;
  if (!has_room) return fail(Errc::no_space, "a switch has at most 16 destinations of mirrors");
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

void Switch::Impl::forget_everywhere(PortId id) {
  for (const auto& shard : shards)
    on(*shard, [&] { shard->forget(id); });
}

// It leaves the network before the first copy comes.
void Switch::Impl::begin_destination(const Attachment& destination) {
  if (is_destination(destination.id)) return;
  const auto number = static_cast<std::size_t>(std::find(mirrors.begin(), mirrors.end(), PortId{}) - mirrors.begin());
  mirrors[number] = destination.id;
  tell(destination);
  forget_everywhere(destination.id);
  for (const auto& shard : shards)
    on(*shard, [&] { shard->set_mirror(number, destination.id); });
}

// Back in the network, unless somebody is still mirrored to it.
void Switch::Impl::end_destination(PortId id) {
  const bool has_sources = std::any_of(
      slots.begin(), slots.end(), [id](const auto& slot) { return slot && slot->mirror && slot->mirror->to == id; });
  const auto at = std::find(mirrors.begin(), mirrors.end(), id);
  if (has_sources || at == mirrors.end()) return;
  *at = {};
  const auto number = static_cast<std::size_t>(at - mirrors.begin());
  for (const auto& shard : shards)
    on(*shard, [&] { shard->set_mirror(number, {}); });
  if (const Attachment* const destination = find(id)) tell(*destination);
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

Switch::Switch(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

namespace {

Result<void> check(std::uint32_t ageing_seconds, std::uint16_t forwarded_groups) {
  if (ageing_seconds == 0) return fail(Errc::invalid_argument, "the ageing time must be above 0 seconds");
  if ((forwarded_groups & 1u << 1) == 0) return {};
  return fail(Errc::invalid_argument, "pause frames (01-80-C2-00-00-01) are for one link alone");
}

}  // namespace

Result<std::unique_ptr<Switch>> Switch::create(std::string name, SwitchOptions options) {
  if (name.empty()) return fail(Errc::invalid_argument, "a switch needs a name");
  if (auto good = check(options.ageing_seconds, options.forwarded_groups); !good) {
    return tl::unexpected(good.error());
  }
  if (options.mac_capacity == 0 || options.mac_capacity > (1u << 20)) {
    return fail(Errc::invalid_argument, "a MAC table has room for 1 to 1048576 addresses");
  }
  auto impl = std::make_unique<Impl>();
  impl->name = std::move(name);
  impl->options = options;
  return std::unique_ptr<Switch>(new Switch(std::move(impl)));
}

Switch::~Switch() {
  for (const PortInfo& port : ports())
    static_cast<void>(detach(port.id));
  for (const auto& shard : impl_->shards)
    Impl::on(*shard, [&] { shard->poller().remove_task(*shard); });
}

Result<PortId> Switch::attach(port::Port& port, runtime::Poller& poller, PortConfig config) {
  const Lane lane{port, poller};
  return attach({&lane, 1}, std::move(config));
}

Result<PortId> Switch::attach(std::span<const Lane> lanes, PortConfig config) {
  const auto rules = rules_of(config.vlan);
  if (!rules) return tl::unexpected(rules.error());
  if (auto ok = impl_->check(lanes, config); !ok) return tl::unexpected(ok.error());
  Attachment attachment{.id = {}, .config = std::move(config), .ports = {}, .shards = {}};
  attachment.in = meter_of(attachment.config.limits.in);
  attachment.out = meter_of(attachment.config.limits.out);
  if (attachment.config.sources) attachment.sources = std::make_unique<Sources>(*attachment.config.sources);
  for (const Lane& lane : lanes) {
    const auto shard = impl_->shard_on(lane.poller);
    if (!shard) return tl::unexpected(shard.error());
    attachment.ports.push_back(&lane.port);
    attachment.shards.push_back(*shard);
  }
  const auto slot = impl_->free_slot();
  if (!slot) return tl::unexpected(slot.error());
  const PortId id = attachment.id = PortId{*slot | (++impl_->uses[*slot] << kSlotBits)};
  for (const auto& each : impl_->shards)
    impl_->admit(attachment, *each);
  const Policy policy = impl_->policy_of(attachment);
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    Shard& shard = *attachment.shards[i];
    Impl::on(shard, [&] { shard.add_member(id, lanes[i].port, *rules, policy); });
  }
  impl_->slots[*slot] = std::move(attachment);
  return id;
}

Result<void> Switch::detach(PortId id) {
  const Attachment* const attachment = impl_->find(id);
  if (attachment == nullptr) return fail(Errc::not_found, "the switch has no such port");
  static_cast<void>(set_mirror(id, std::nullopt));
  for (const auto& slot : impl_->slots) {
    if (slot && slot->mirror && slot->mirror->to == id) static_cast<void>(set_mirror(slot->id, std::nullopt));
  }
  // First at its owners, so that no shard hears of it again; then everywhere else.
  for (Shard* const owner : attachment->shards)
    Impl::on(*owner, [&] { owner->remove_member(id); });
  for (const auto& shard : impl_->shards)
    Impl::on(*shard, [&] { shard->dismiss(id); });
  impl_->slots[slot_of(id)].reset();
  return {};
}

Result<void> Switch::set_vlan(PortId id, VlanConfig vlan) {
  const auto rules = rules_of(vlan);
  if (!rules) return tl::unexpected(rules.error());
  Attachment* const attachment = impl_->find(id);
  if (attachment == nullptr) return fail(Errc::not_found, "the switch has no such port");
  attachment->config.vlan = std::move(vlan);
  impl_->tell(*attachment);
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
  auto out = limits.out == before.out ? nullptr : std::exchange(attachment->out, meter_of(limits.out));
  impl_->tell(*attachment);
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

Result<void> Switch::set_options(std::uint32_t ageing_seconds, std::uint16_t forwarded_groups) {
  if (auto good = check(ageing_seconds, forwarded_groups); !good) return good;
  impl_->options.ageing_seconds = ageing_seconds;
  impl_->options.forwarded_groups = forwarded_groups;
  for (const auto& shard : impl_->shards)
    Impl::on(*shard, [&] { shard->set_options(impl_->options); });
  return {};
}

std::size_t Switch::flush(std::optional<PortId> id) {
  std::size_t count = 0;
  for (const MacEntry& entry : mac_table())
    count += !entry.is_static && (!id || entry.port == *id) ? 1 : 0;
  for (const auto& slot : impl_->slots) {
    if (!slot || (id && slot->id != *id)) continue;
    impl_->forget_everywhere(slot->id);
  }
  return count;
}

const std::string& Switch::name() const noexcept { return impl_->name; }

std::vector<PortInfo> Switch::ports() const {
  std::vector<PortInfo> out;
  for (const auto& slot : impl_->slots) {
    if (!slot) continue;
    PortInfo& info = out.emplace_back(PortInfo{slot->id, slot->config, {}, slot->mirror});
    for (std::size_t i = 0; i < slot->ports.size(); ++i)
      info.lanes.push_back({slot->shards[i]->poller().name(), &slot->ports[i]->counters()});
  }
  return out;
}

std::vector<MacEntry> Switch::mac_table() const {
  std::vector<MacEntry> out;
  std::unordered_map<StationKey, std::size_t> places;  // in `out`: several lanes may have heard a station
  std::vector<MacTable::Entry> entries(impl_->options.mac_capacity);  // here, not on a poller
  for (const auto& shard : impl_->shards) {
    std::size_t count = 0;
    std::uint64_t now = 0;
    Impl::on(*shard, [&] {
      count = shard->copy_macs(entries);
      now = shard->poller().now_ns();
    });
    for (const MacTable::Entry& entry : std::span{entries}.first(count)) {
      const Attachment* const from = impl_->find(entry.port);
      if (from == nullptr || !from->is_on(*shard)) continue;  // another shard's own table has it, and fresher
      MacEntry listed{
          bytes_of(entry.key), static_cast<std::uint16_t>(entry.key >> 48),       entry.port,
          from->config.name,   (now - std::min(now, entry.heard_ns)) / 1'000'000, entry.heard_ns == MacTable::kAlways};
      const auto [known, is_new] = places.try_emplace(entry.key, out.size());
      if (is_new) {
        out.push_back(std::move(listed));
      } else if (listed.age_ms < out[known->second].age_ms) {
        out[known->second] = std::move(listed);
      }
    }
  }
  return out;
}

}  // namespace vmux::switching

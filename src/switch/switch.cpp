// SPDX-License-Identifier: BSD-3-Clause
// The control face: keeps the list of ports and tells the shards, each on its own poller.
#include "switch/switch.hpp"

#include <algorithm>
#include <random>
#include <unordered_map>
#include <utility>

#include "switch/switch_impl.hpp"

namespace vmux::switching {
namespace {

constexpr std::size_t kMaxShards = 64;

MacAddress bytes_of(StationKey key) noexcept {
  MacAddress mac{};
  for (std::size_t i = 0; i < mac.size(); ++i)
    mac[i] = static_cast<std::uint8_t>(key >> (40 - 8 * i));
  return mac;
}

}  // namespace

std::uint64_t random_seed() {
  std::random_device random;
  return (static_cast<std::uint64_t>(random()) << 32) | random();
}

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
  added->hold(is_held);
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

Switch::Switch(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

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
  attachment.out = own_out(attachment.config.limits);
  attachment.shared = shared_out(attachment.config.limits);
  attachment.flood = meter_of(attachment.config.limits.flood);
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
  attachment.deaf_to = impl_->regroup(attachment.config.isolation, *slot);
  for (const auto& each : impl_->shards)
    impl_->admit(attachment, *each);
  impl_->bind_rules(attachment);
  const Policy policy = impl_->policy_of(attachment);
  const VlanRules vlans = impl_->rules_of(attachment);  // none, if rules copy to it
  const std::uint32_t mark = attachment.config.mark;
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    Shard& shard = *attachment.shards[i];
    Impl::on(shard, [&] { shard.add_member(id, lanes[i].port, vlans, policy, mark); });
  }
  const bool is_shared = attachment.shared != nullptr;
  impl_->slots[*slot] = std::move(attachment);
  if (is_shared) impl_->tell_all();
  return id;
}

Result<void> Switch::detach(PortId id) {
  const Attachment* const attachment = impl_->find(id);
  if (attachment == nullptr) return fail(Errc::not_found, "the switch has no such port");
  static_cast<void>(set_mirror(id, std::nullopt));
  impl_->leaving = id;
  if (impl_->rule_set.names(attachment->config.name)) impl_->publish_rules(nullptr);
  if (attachment->shared) impl_->tell_all();
  impl_->leaving = {};
  for (const auto& slot : impl_->slots) {
    if (slot && slot->mirror && slot->mirror->to == id) static_cast<void>(set_mirror(slot->id, std::nullopt));
  }
  // First at its owners, so that no shard hears of it again; then everywhere else.
  for (Shard* const owner : attachment->shards)
    Impl::on(*owner, [&] { owner->remove_member(id); });
  for (const auto& shard : impl_->shards)
    Impl::on(*shard, [&] { shard->dismiss(id); });
  const std::string group = attachment->config.isolation;
  const bool had_rules = impl_->rule_set.names(attachment->config.name);
  impl_->slots[slot_of(id)].reset();
  if (had_rules) impl_->publish_rules(nullptr);  // they are about nobody now, and not about who has its place next
  static_cast<void>(impl_->regroup(group));
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

TurnReport Switch::turns() const noexcept {
  TurnReport report;
  for (const auto& shard : impl_->shards)
    shard->turn_times().add_to(report);
  return report;
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

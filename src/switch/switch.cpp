// SPDX-License-Identifier: BSD-3-Clause
// The control face: keeps the list of ports and tells the shards, each on its own poller.
#include "switch/switch.hpp"

#include <algorithm>
#include <optional>
#include <random>

#include "switch/shard.hpp"

namespace vmux::switching {
namespace {

constexpr std::size_t kMaxShards = 64;
constexpr std::uint16_t kMaxVlan = 4094;

struct Attachment {
  PortId id;
  PortConfig config;
  port::Port* port = nullptr;
  Shard* shard = nullptr;
};

Result<VlanRules> rules_of(const VlanConfig& config) {
  VlanRules rules;
  rules.mode = config.mode;
  rules.untagged = config.tag;
  if (config.tag > kMaxVlan) return fail(Errc::invalid_argument, "a VLAN id must be 1 to 4094");
  if (config.mode == VlanMode::access) {
    if (config.tag == 0) return fail(Errc::invalid_argument, "an access port needs a VLAN id from 1 to 4094");
    if (!config.allowed.empty()) return fail(Errc::invalid_argument, "an access port has no list of allowed VLANs");
    return rules;
  }
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

std::array<std::uint8_t, 6> bytes_of(StationKey key) noexcept {
  std::array<std::uint8_t, 6> mac{};
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
  std::vector<std::unique_ptr<Shard>> shards;

  Attachment* find(PortId id) {
    const std::uint32_t slot = slot_of(id);
    return slot < slots.size() && slots[slot] && slots[slot]->id == id ? &*slots[slot] : nullptr;
  }
  Result<Shard*> shard_on(runtime::Poller& poller);
  Result<std::uint32_t> free_slot();
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
    if (attachment) added->admit(attachment->id, *attachment->shard, attachment->config.mac_limit);
  }
  on(*added, [&] { poller.add_task(*added); });
  shards.push_back(std::move(fresh));
  return added;
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
  if (options.ageing_seconds == 0) return fail(Errc::invalid_argument, "the ageing time must be above 0 seconds");
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
  const auto rules = rules_of(config.vlan);
  if (!rules) return tl::unexpected(rules.error());
  for (const auto& slot : impl_->slots) {
    if (slot && slot->config.name == config.name)
      return fail(Errc::already_exists, "the switch has a port of that name");
    if (slot && slot->port == &port) return fail(Errc::already_exists, "the port is attached already");
  }
  const auto shard = impl_->shard_on(poller);
  if (!shard) return tl::unexpected(shard.error());
  const auto slot = impl_->free_slot();
  if (!slot) return tl::unexpected(slot.error());
  const PortId id{*slot | (++impl_->uses[*slot] << kSlotBits)};
  impl_->slots[*slot] = Attachment{.id = id, .config = std::move(config), .port = &port, .shard = *shard};
  const std::uint32_t limit = impl_->slots[*slot]->config.mac_limit;
  for (const auto& each : impl_->shards)
    Impl::on(*each, [&] { each->admit(id, **shard, limit); });
  Impl::on(**shard, [&] { (*shard)->add_member(id, port, *rules); });
  return id;
}

Result<void> Switch::detach(PortId id) {
  const Attachment* const attachment = impl_->find(id);
  if (attachment == nullptr) return fail(Errc::not_found, "the switch has no such port");
  // First at its owner, so that no shard hears of it again; then everywhere else.
  Shard& owner = *attachment->shard;
  Impl::on(owner, [&] { owner.remove_member(id); });
  for (const auto& shard : impl_->shards)
    Impl::on(*shard, [&] { shard->forget(id); });
  impl_->slots[slot_of(id)].reset();
  return {};
}

Result<void> Switch::set_vlan(PortId id, VlanConfig vlan) {
  const auto rules = rules_of(vlan);
  if (!rules) return tl::unexpected(rules.error());
  Attachment* const attachment = impl_->find(id);
  if (attachment == nullptr) return fail(Errc::not_found, "the switch has no such port");
  Shard& owner = *attachment->shard;
  Impl::on(owner, [&] { owner.set_vlan(id, *rules); });
  for (const auto& shard : impl_->shards)
    Impl::on(*shard, [&] { shard->forget(id); });
  attachment->config.vlan = std::move(vlan);
  return {};
}

const std::string& Switch::name() const noexcept { return impl_->name; }

std::vector<PortInfo> Switch::ports() const {
  std::vector<PortInfo> out;
  for (const auto& slot : impl_->slots) {
    if (slot) out.push_back({slot->id, slot->config, slot->shard->poller().name(), &slot->port->counters()});
  }
  return out;
}

std::vector<MacEntry> Switch::mac_table() const {
  std::vector<MacEntry> out;
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
      if (from == nullptr || from->shard != shard.get()) continue;  // another shard's own table has it, and fresher
      out.push_back({bytes_of(entry.key), static_cast<std::uint16_t>(entry.key >> 48), entry.port, from->config.name,
                     (now - std::min(now, entry.heard_ns)) / 1'000'000});
    }
  }
  return out;
}

}  // namespace vmux::switching

// SPDX-License-Identifier: BSD-3-Clause
#include "device/virtio_net/commands.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "vmux/base/le.hpp"
#include "wire/virtio.hpp"

namespace vmux::device::virtio_net {
namespace {

namespace net = wire::virtio::net;
namespace feature = net::feature;
namespace control = net::control;

constexpr std::uint16_t kVlans = 4096;

/// The fields of a command, one after the other. Beyond the end they are zero, and is_whole() is false.
class Body {
 public:
  explicit Body(std::span<const std::byte> bytes) noexcept : rest_(bytes) {}
  template <class T>
  [[nodiscard]] T take() noexcept {
    Le<T> value;
    const auto from = bytes(sizeof value);
    if (!is_short_) std::memcpy(&value, from.data(), sizeof value);
    return value;
  }
  [[nodiscard]] MacAddress mac() noexcept {
    MacAddress made{};
    const auto from = bytes(made.size());
    if (!is_short_) std::memcpy(made.data(), from.data(), made.size());
    return made;
  }
  [[nodiscard]] std::span<const std::byte> bytes(std::size_t size) noexcept {
    if (size > rest_.size()) {
      is_short_ = true;
      return rest_;
    }
    const auto taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }
  [[nodiscard]] std::size_t left() const noexcept { return rest_.size(); }
  /// All of it was there, and nothing more.
  [[nodiscard]] bool is_whole() const noexcept { return !is_short_ && rest_.empty(); }
  [[nodiscard]] bool is_short() const noexcept { return is_short_; }

 private:
  std::span<const std::byte> rest_;
  bool is_short_ = false;
};

std::optional<bool> on_or_off(Body& body) noexcept {
  const auto value = body.take<std::uint8_t>();
  if (!body.is_whole() || value > 1) return std::nullopt;
  return value == 1;
}

bool set_promisc(Settings& settings, const Agreed&, Body& body) {
  const auto value = on_or_off(body);
  if (value) settings.promisc = *value;
  return value.has_value();
}

bool set_allmulti(Settings& settings, const Agreed&, Body& body) {
  const auto value = on_or_off(body);
  if (value) settings.allmulti = *value;
  return value.has_value();
}

// Entries that there is no room for mean that all of the kind are received: the driver filters what it did not want.
bool take_macs(Body& body, std::vector<MacAddress>& into, bool& is_too_long) {
  const auto count = body.take<std::uint32_t>();
  if (body.is_short() || count > body.left() / sizeof(MacAddress)) return false;
  is_too_long = count > Settings::kMaxMacs;
  for (std::uint32_t i = 0; i < count; ++i) {
    const MacAddress mac = body.mac();
    if (!is_too_long) into.push_back(mac);
  }
  return true;
}

bool set_macs(Settings& settings, const Agreed&, Body& body) {
  std::vector<MacAddress> unicast, multicast;
  bool all_unicast = false, all_multicast = false;
  if (!take_macs(body, unicast, all_unicast) || !take_macs(body, multicast, all_multicast) || !body.is_whole()) {
    return false;
  }
  settings.unicast = std::move(unicast);
  settings.multicast = std::move(multicast);
  settings.alluni = all_unicast;
  settings.allgroups = all_multicast;
  return true;
}

bool set_station(Settings& settings, const Agreed&, Body& body) {
  const MacAddress mac = body.mac();
  if (!body.is_whole() || is_multicast(mac)) return false;
  settings.station = mac;
  return true;
}

bool set_vlan(Settings& settings, Body& body, bool is_member) {
  const auto id = body.take<std::uint16_t>();
  if (!body.is_whole() || id >= kVlans) return false;
  const std::uint64_t bit = std::uint64_t{1} << id % 64;
  std::uint64_t& word = settings.vlans[id / 64];
  word = is_member ? word | bit : word & ~bit;
  return true;
}
bool add_vlan(Settings& settings, const Agreed&, Body& body) { return set_vlan(settings, body, true); }
bool delete_vlan(Settings& settings, const Agreed&, Body& body) { return set_vlan(settings, body, false); }

bool announced(Settings& settings, const Agreed&, Body& body) {
  if (!body.is_whole()) return false;
  settings.announce_due = false;
  return true;
}

bool are_pairs(unsigned pairs, const Agreed& agreed) noexcept { return pairs >= 1 && pairs <= agreed.max_pairs; }

// 5.1.6.5.5: it ends steering by a table.
bool set_pairs(Settings& settings, const Agreed& agreed, Body& body) {
  const auto pairs = body.take<std::uint16_t>();
  if (!body.is_whole() || !are_pairs(pairs, agreed)) return false;
  settings.pairs = pairs;
  settings.hashing.has_rss = false;
  return true;
}

// Since Linux 6.12 a byte of padding comes behind the key.
bool take_key(Body& body, Hashing& hashing) {
  const auto size = body.take<std::uint8_t>();
  const auto key = body.bytes(size);
  if (body.is_short() || size > kHashKey) return false;
  hashing.key = {};
  std::memcpy(hashing.key.data(), key.data(), key.size());
  return true;
}

bool is_hashing(const Hashing& hashing, const Agreed& agreed) noexcept {
  const std::uint32_t size = hashing.table_mask + 1u;
  if ((hashing.types & ~kHashTypes) != 0 || !std::has_single_bit(size) || size > kMaxTable) return false;
  const auto is_queue = [&](std::uint16_t queue) { return queue < agreed.max_pairs; };
  return is_queue(hashing.unclassified) && std::all_of(hashing.table.begin(), hashing.table.begin() + size, is_queue);
}

bool set_rss(Settings& settings, const Agreed& agreed, Body& body) {
  Hashing made{.has_rss = true};
  made.types = body.take<std::uint32_t>();
  made.table_mask = body.take<std::uint16_t>();
  made.unclassified = body.take<std::uint16_t>();
  if (made.table_mask >= kMaxTable) return false;
  for (std::uint32_t i = 0; i <= made.table_mask; ++i)
    made.table[i] = body.take<std::uint16_t>();
  const auto pairs = body.take<std::uint16_t>();
  if (!take_key(body, made) || !are_pairs(pairs, agreed) || !is_hashing(made, agreed)) return false;
  settings.hashing = made;
  settings.pairs = pairs;
  return true;
}

bool set_hash(Settings& settings, const Agreed& agreed, Body& body) {
  Hashing made;
  made.types = body.take<std::uint32_t>();
  static_cast<void>(body.bytes(8));  // reserved
  if (!take_key(body, made) || !is_hashing(made, agreed)) return false;
  settings.hashing = made;
  return true;
}

bool set_guest_offloads(Settings& settings, const Agreed& agreed, Body& body) {
  const auto offloads = body.take<std::uint64_t>();
  if (!body.is_whole() || (offloads & ~guest_offloads_of(agreed.features)) != 0) return false;
  settings.guest_offloads = offloads;
  return true;
}

bool set_coalescing(Coalescing& into, Body& body) {
  const auto packets = body.take<std::uint32_t>();
  const auto usecs = body.take<std::uint32_t>();
  if (!body.is_whole()) return false;
  into = {packets, usecs};
  return true;
}
bool set_tx_coalescing(Settings& settings, const Agreed&, Body& body) {
  return set_coalescing(settings.tx_coalescing, body);
}
bool set_rx_coalescing(Settings& settings, const Agreed&, Body& body) {
  return set_coalescing(settings.rx_coalescing, body);
}

struct Row {
  std::uint8_t group, command;
  std::uint64_t needs;  // of these features one
  bool (*obey)(Settings&, const Agreed&, Body&);
};
constexpr Row kRows[] = {
    {control::rx, control::rx_promisc, feature::ctrl_rx, set_promisc},
    {control::rx, control::rx_allmulti, feature::ctrl_rx, set_allmulti},
    {control::mac, control::mac_table_set, feature::ctrl_rx, set_macs},
    {control::mac, control::mac_addr_set, feature::ctrl_mac_addr, set_station},
    {control::vlan, control::vlan_add, feature::ctrl_vlan, add_vlan},
    {control::vlan, control::vlan_del, feature::ctrl_vlan, delete_vlan},
    {control::announce, control::announce_ack, feature::guest_announce, announced},
    {control::mq, control::mq_pairs_set, feature::mq | feature::rss, set_pairs},
    {control::mq, control::mq_rss_config, feature::rss, set_rss},
    {control::mq, control::mq_hash_config, feature::hash_report, set_hash},
    {control::guest_offloads, control::guest_offloads_set, feature::ctrl_guest_offloads, set_guest_offloads},
    {control::notf_coal, control::notf_coal_tx_set, feature::notf_coal, set_tx_coalescing},
    {control::notf_coal, control::notf_coal_rx_set, feature::notf_coal, set_rx_coalescing},
};

}  // namespace

std::uint64_t guest_offloads_of(std::uint64_t features) noexcept {
  return features & (feature::guest_csum | feature::guest_tso4 | feature::guest_tso6 | feature::guest_ecn |
                     feature::guest_uso4 | feature::guest_uso6);
}

bool obey(Settings& settings, const Agreed& agreed, std::uint8_t group, std::uint8_t command,
          std::span<const std::byte> data) {
  for (const Row& row : kRows) {
    if (row.group != group || row.command != command) continue;
    if ((agreed.features & row.needs) == 0) return false;
    Body body{data};
    return row.obey(settings, agreed, body);
  }
  return false;
}

bool can_be(const Settings& settings, const Agreed& agreed) noexcept {
  return (settings.station[0] & 1) == 0 && are_pairs(settings.pairs, agreed) && is_hashing(settings.hashing, agreed) &&
         (settings.guest_offloads & ~guest_offloads_of(agreed.features)) == 0;
}

}  // namespace vmux::device::virtio_net

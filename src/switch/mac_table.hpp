// SPDX-License-Identifier: BSD-3-Clause
// Who was heard where: the filtering database of IEEE 802.1Q 8.8, bounded in all and per port.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "switch/member.hpp"

namespace vmux::switching {

/// A station: address and VLAN in one number, the address in the low 48 bits.
using StationKey = std::uint64_t;

[[nodiscard]] constexpr StationKey station_key(std::uint64_t mac, std::uint16_t vlan) noexcept {
  return mac | (static_cast<std::uint64_t>(vlan) << 48);
}

enum class Learnt : std::uint8_t {
  known,
  added,
  moved,
  refused,  ///< the port knows as many as it may, or the table is full
  outdated  ///< it has been heard from another port since
};

/// One thread. Nothing is allocated after construction. An entry that has aged is as good as absent.
class MacTable {
 public:
  struct Entry {
    StationKey key = 0;
    std::uint64_t heard_ns = 0;  ///< kAlways: it is static
    std::uint64_t told_ns = 0;   ///< when other shards were last told of it; kept by the shard
    PortId port;
    std::uint32_t next = 0;  ///< in its chain, or in the list of free entries
  };

  /// Later than any time, and far from wrapping when an age is added.
  static constexpr std::uint64_t kAlways = 1ull << 63;

  /// `seed` makes chains unpredictable for whoever chooses addresses.
  MacTable(std::uint32_t capacity, std::uint64_t ageing_ns, std::uint64_t seed);

  void set_ageing(std::uint64_t ageing_ns) noexcept { ageing_ns_ = ageing_ns; }
  /// How many addresses of the port in this slot may be known at once.
  void set_limit(std::uint32_t slot, std::uint32_t limit) noexcept { limits_[slot] = limit; }
  [[nodiscard]] const Entry* find(StationKey key, std::uint64_t now_ns) const noexcept;
  /// Notes that `key` was heard from `port`: the newest source is where it is (IEEE 802.1Q 8.7). `heard_ns` may be a
  /// little older than other times that the table was given: what another poller heard is told later. `entry`, if
  /// given, points to its entry then (null when refused or outdated).
  Learnt learn(StationKey key, PortId port, std::uint64_t heard_ns, Entry** entry = nullptr) noexcept;
  /// These stations are behind the port, whoever is heard with their addresses: in place of those that it was told
  /// before. What finds no room is left out.
  void pin(PortId port, std::span<const StationKey> stations) noexcept;
  /// Forgets everything learnt from a port; costs what there is of it.
  void forget(PortId port) noexcept;
  /// Drops aged entries among the next `count` places; called every now and then.
  void sweep(std::uint32_t count, std::uint64_t now_ns) noexcept;
  /// Copies living entries into `into`; returns how many there were room for.
  [[nodiscard]] std::size_t copy(std::span<Entry> into, std::uint64_t now_ns) const noexcept;
  [[nodiscard]] std::uint32_t size() const noexcept { return used_; }

 private:
  static constexpr std::uint32_t kNone = ~0u;
  [[nodiscard]] std::uint32_t& head(StationKey key) noexcept { return heads_[bucket(key)]; }
  [[nodiscard]] std::size_t bucket(StationKey key) const noexcept {
    return static_cast<std::size_t>(((key ^ seed_) * (seed_ | 1)) >> shift_);
  }
  [[nodiscard]] bool has_aged(const Entry& entry, std::uint64_t now_ns) const noexcept {
    return entry.heard_ns + ageing_ns_ < now_ns;
  }
  [[nodiscard]] std::uint32_t make_room(PortId port, std::uint64_t now_ns) noexcept;
  void add(std::uint32_t index, StationKey key, PortId port, std::uint64_t heard_ns) noexcept;
  void remove(std::uint32_t index) noexcept;

  struct Kin {  // others of the same port: beside the entries, which lookups touch
    std::uint32_t before, after;
  };

  std::uint64_t ageing_ns_, seed_;
  unsigned shift_;
  std::vector<std::uint32_t> heads_;
  std::vector<Entry> entries_;
  std::vector<Kin> kin_;                        // of each entry that is in use
  std::vector<std::uint32_t> firsts_;           // by port slot: the latest entry, which begins its list
  std::vector<std::uint32_t> counts_, limits_;  // by port slot
  std::uint32_t free_ = 0, used_ = 0, swept_ = 0;
};

}  // namespace vmux::switching

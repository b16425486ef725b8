// SPDX-License-Identifier: BSD-3-Clause
// Which frames are for this station: a value, edited by control and read by the data path. Pure.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/mac.hpp"

namespace vmux::intel {

inline constexpr std::uint16_t kTpid = 0x8100, kServiceTpid = 0x88a8;  // IEEE 802.1Q and 802.1ad

/// An address as a number, in the order of the wire: the first byte is the lowest.
[[nodiscard]] constexpr std::uint64_t key_of(const MacAddress& mac) noexcept {
  std::uint64_t key = 0;
  for (std::size_t i = 0; i < mac.size(); ++i)
    key |= std::uint64_t{mac[i]} << (8 * i);
  return key;
}
inline constexpr std::uint64_t kBroadcastKey = 0xffff'ffff'ffff;
[[nodiscard]] constexpr bool is_group(std::uint64_t mac_key) noexcept { return (mac_key & 1) != 0; }

class Filters {
 public:
  static constexpr std::size_t kMaxMacs = 256;
  /// Group addresses beyond those are remembered only: while there are any, all groups are received.
  static constexpr std::size_t kMaxMoreGroups = 2048;

  bool unicast_promisc = false, multicast_promisc = false;
  /// Frames with a tag pass only when the set of its kind has it; those without always do.
  bool vlan_filtering = false;
  std::bitset<4096> vlans, service_vlans;  ///< 802.1Q, 802.1ad

  [[nodiscard]] bool has(const MacAddress& mac) const noexcept { return contains(key_of(mac)); }
  /// False when there is no room; adding what is there is fine. A station's address takes the place of a group's.
  bool add(const MacAddress& mac);
  void remove(const MacAddress& mac);
  [[nodiscard]] std::size_t mac_count() const noexcept { return count_; }
  /// Those in the table, and those beyond it; in order, whatever order they came in.
  [[nodiscard]] std::vector<MacAddress> macs() const;
  [[nodiscard]] std::vector<MacAddress> more_groups() const;
  [[nodiscard]] std::size_t groups_beyond() const noexcept { return more_groups_.size(); }

  /// Whether a frame to this address is to be received (broadcast always is).
  [[nodiscard]] bool admits(std::uint64_t mac_key) const noexcept {
    if (is_group(mac_key)) {
      return multicast_promisc || !more_groups_.empty() || mac_key == kBroadcastKey || contains(mac_key);
    }
    return unicast_promisc || contains(mac_key);
  }
  /// Of a frame's outermost tag.
  [[nodiscard]] bool admits_vlan(std::uint16_t tpid, std::uint16_t tci) const noexcept {
    const std::uint16_t vid = tci & 0xfff;
    if (!vlan_filtering || vid == 0) return true;
    return tpid == kTpid ? vlans[vid] : tpid == kServiceTpid && service_vlans[vid];
  }

 private:
  static constexpr std::size_t kSlots = 512;  // open addressing, at most half full
  static constexpr std::size_t slot_of(std::uint64_t key) noexcept {
    return static_cast<std::size_t>((key * 0x9e37'79b9'7f4a'7c15ull) >> 55);
  }
  [[nodiscard]] bool contains(std::uint64_t key) const noexcept {
    for (std::size_t at = slot_of(key);; at = (at + 1) % kSlots) {
      if (slots_[at] == key) return true;
      if (slots_[at] == kFree) return false;
    }
  }

  void insert(std::uint64_t key) noexcept;
  void erase(std::uint64_t key) noexcept;
  [[nodiscard]] std::uint64_t any_group() const noexcept;

  static constexpr std::uint64_t kFree = ~0ull;
  std::array<std::uint64_t, kSlots> slots_ = filled();
  std::size_t count_ = 0;
  std::vector<std::uint64_t> more_groups_;  // sorted; not in the table

  static constexpr std::array<std::uint64_t, kSlots> filled() noexcept {
    std::array<std::uint64_t, kSlots> slots{};
    slots.fill(kFree);
    return slots;
  }
};

}  // namespace vmux::intel

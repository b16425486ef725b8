// SPDX-License-Identifier: BSD-3-Clause
// An Ethernet address, the one type of all rooms; text.hpp reads and writes it. Pure.
#pragma once

#include <array>
#include <cstdint>

namespace vmux {

using MacAddress = std::array<std::uint8_t, 6>;  ///< in the order of the wire

/// Of a group of stations, or of all (IEEE 802-2014 8.2.2).
[[nodiscard]] constexpr bool is_multicast(const MacAddress& mac) noexcept { return (mac[0] & 1) != 0; }
/// Of one station: neither a group's nor zero.
[[nodiscard]] constexpr bool is_station(const MacAddress& mac) noexcept {
  return !is_multicast(mac) && mac != MacAddress{};
}

}  // namespace vmux

// SPDX-License-Identifier: BSD-3-Clause
// The integrated PHY (an M88E1000 family part) behind MDIC, and the link that MAC and PHY agree on. Manual 8 and 11.
#pragma once

#include <cstdint>

#include "device/e1000/state.hpp"

namespace vmux::device::e1000 {

struct Link {
  bool up = false;
  bool full_duplex = true;
  std::uint8_t speed = 2;  ///< 0, 1, 2: 10, 100, 1000 Mbit/s, as STATUS.SPEED
  friend bool operator==(const Link&, const Link&) = default;
};

void reset_phy(Phy& phy) noexcept;
/// The link as the PHY sees it: cable, power, negotiation or forced mode.
[[nodiscard]] Link link_of(const State& state) noexcept;
[[nodiscard]] bool is_phy_loopback(const Phy& phy) noexcept;
[[nodiscard]] std::uint16_t read_phy(const State& state, unsigned index) noexcept;
/// True when the write makes the PHY leave its link and find it again (reset, new negotiation).
bool write_phy(State& state, unsigned index, std::uint16_t value) noexcept;
/// STATUS as MAC and PHY make it (13.4.2).
[[nodiscard]] std::uint32_t status_of(const State& state, std::uint32_t ctrl) noexcept;

}  // namespace vmux::device::e1000

// SPDX-License-Identifier: BSD-3-Clause
#include "device/e1000/board/phy.hpp"

namespace vmux::device::e1000 {
namespace {

// IEEE 802.3 clause 22 and 40 registers, then the Marvell ones (manual 13.4.8.1).
constexpr unsigned kControl = 0, kStatus = 1, kId1 = 2, kId2 = 3, kAdvertise = 4, kPartner = 5, kExpansion = 6,
                   k1000Control = 9, k1000Status = 10, kExtendedStatus = 15, kSpecificControl = 16,
                   kSpecificStatus = 17, kInterruptEnable = 18, kExtendedControl = 20, kPage = 29, kPageData = 30;

using reset = Bits<15>;
using loopback = Bits<14>;
using speed_low = Bits<13>;
using negotiate = Bits<12>;
using power_down = Bits<11>;
using restart = Bits<9>;
using full_duplex = Bits<8>;
using speed_high = Bits<6>;

struct Default {
  unsigned at;
  std::uint16_t value;
};
constexpr Default kDefaults[] = {
    {kControl, 0x1140},         {kStatus, 0x7949},          {kId1, 0x0141},        {kId2, 0x0c20},
    {kAdvertise, 0x0de1},       {kPartner, 0x41e1},  // a partner of 10 to 1000 Mbit/s, no pause
    {kExpansion, 0x0001},       {k1000Control, 0x0e00},     {k1000Status, 0x3c00}, {kExtendedStatus, 0x3000},
    {kSpecificControl, 0x0360}, {kExtendedControl, 0x0d60},
};

constexpr std::uint32_t kWritable = (1u << kControl) | (1u << kAdvertise) | (1u << k1000Control) |
                                    (1u << kSpecificControl) | (1u << kInterruptEnable) | (1u << kExtendedControl) |
                                    (1u << kPage) | (1u << kPageData);

/// The best mode that both sides offer: the partner offers everything.
Link negotiated(const Phy& phy) noexcept {
  const unsigned offers = phy.registers[kAdvertise];
  if ((phy.registers[k1000Control] & 0x0200) != 0) return {true, true, 2};
  if ((offers & 0x0100) != 0) return {true, true, 1};
  if ((offers & 0x0080) != 0) return {true, false, 1};
  if ((offers & 0x0040) != 0) return {true, true, 0};
  return {(offers & 0x0020) != 0, false, 0};
}

}  // namespace

void reset_phy(Phy& phy) noexcept {
  phy = Phy{};
  for (const Default& preset : kDefaults)
    phy.registers[preset.at] = preset.value;
}

bool is_phy_loopback(const Phy& phy) noexcept { return loopback::is_set(phy.registers[kControl]); }

Link link_of(const State& state) noexcept {
  const std::uint16_t control = state.phy.registers[kControl];
  if (power_down::is_set(control)) return {false, true, 2};
  Link link{true, full_duplex::is_set(control), 0};
  link.speed = static_cast<std::uint8_t>((speed_high::is_set(control) ? 2 : 0) + (speed_low::is_set(control) ? 1 : 0));
  if (link.speed == 3) link.speed = 2;
  if (is_phy_loopback(state.phy)) return link;
  if (negotiate::is_set(control)) link = negotiated(state.phy);
  link.up = link.up && state.cable != 0;
  return link;
}

std::uint16_t read_phy(const State& state, unsigned index) noexcept {
  const std::uint16_t stored = state.phy.registers[index & 31];
  const Link link = link_of(state);
  const bool done = link.up && negotiate::is_set(state.phy.registers[kControl]);
  switch (index) {
    case kStatus:
      return static_cast<std::uint16_t>(stored | (link.up ? 0x0004 : 0) | (done ? 0x0020 : 0));
    case kPartner:
      return link.up ? stored : std::uint16_t{0};
    case k1000Status:
      return link.up && link.speed == 2 ? stored : std::uint16_t{0};
    case kSpecificStatus:  // speed, duplex, resolved, link; a short cable
      if (!link.up) return 0x0000;
      return static_cast<std::uint16_t>((link.speed << 14) | (link.full_duplex ? 0x2000 : 0) | 0x0c00);
    default:
      return stored;
  }
}

bool write_phy(State& state, unsigned index, std::uint16_t value) noexcept {
  index &= 31;
  if (((kWritable >> index) & 1) == 0) return false;
  state.phy.registers[index] = value;
  if (index != kControl) return false;
  const bool renegotiates = reset::is_set(value) || (restart::is_set(value) && negotiate::is_set(value));
  // Spec: reset and restart clear themselves; bits 5:0 are reserved. An M88 reset keeps what else was written.
  state.phy.registers[kControl] = static_cast<std::uint16_t>(value & 0x7dc0);
  return renegotiates;
}

std::uint32_t status_of(const State& state, std::uint32_t ctrl_value) noexcept {
  const Link link = link_of(state);
  const std::uint32_t speed = ctrl::frcspd::is_set(ctrl_value) ? ctrl::speed::get(ctrl_value) : link.speed;
  const bool full = ctrl::frcdplx::is_set(ctrl_value) ? ctrl::fd::is_set(ctrl_value) : link.full_duplex;
  std::uint32_t value = status::asdv::set(0u, link.speed);
  value = status::speed::set(value, speed);
  value = status::fd::set(value, full ? 1 : 0);
  return status::lu::set(value, link.up ? 1 : 0);
}

}  // namespace vmux::device::e1000

// SPDX-License-Identifier: BSD-3-Clause
// The fields of a frame by which rules tell flows: those of a NIC (flow director) and those of the switch.
#pragma once

#include <array>
#include <cstdint>

#include "base/mac.hpp"
#include "packet/frame.hpp"
#include "packet/headers.hpp"

namespace vmux::packet {

/// The fields that a rule can name, as they stand on the wire. As a mask: ones where a field matters.
struct FlowFields {
  MacAddress destination{}, source{};                          ///< Ethernet
  std::array<std::uint8_t, 2> ethertype{};                     ///< behind VLAN tags
  std::array<std::uint8_t, 2> vlan{};                          ///< TCI of the first tag; 0 without
  std::array<std::uint8_t, 16> source_ip{}, destination_ip{};  ///< an IPv4 address takes the first four bytes
  std::array<std::uint8_t, 2> source_port{}, destination_port{};
  std::uint8_t ip_version = 0;  ///< 4, 6, or 0 for neither
  std::uint8_t protocol = 0;    ///< of L4; 0 in fragments but the first
  std::uint8_t tos = 0, ttl = 0;
  std::array<std::uint8_t, 4> spi{};    ///< ESP and AH
  std::array<std::uint8_t, 4> spare{};  ///< zero
};
static_assert(sizeof(FlowFields) == 64);

/// The fields of a frame; `headers` is parse(view.header).
[[nodiscard]] FlowFields flow_fields(const FrameView& view, const Headers& headers) noexcept;

}  // namespace vmux::packet

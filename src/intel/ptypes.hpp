// SPDX-License-Identifier: BSD-3-Clause
// Packet types as receive write-backs number them: XL710 data sheet table 7-5; the E810's default package agrees.
#pragma once

#include <cstdint>

namespace vmux::intel::ptype {

inline constexpr std::uint8_t ethernet = 1, lldp = 6, arp = 11;

/// Kinds of L4 within an IP version; added to ipv4 or ipv6.
inline constexpr std::uint8_t fragment = 0, other = 1, udp = 2, tcp = 4, sctp = 5, icmp = 6;
inline constexpr std::uint8_t ipv4 = 22, ipv6 = 88;

}  // namespace vmux::intel::ptype

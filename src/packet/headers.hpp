// SPDX-License-Identifier: BSD-3-Clause
// What the first bytes of a frame say. Pure: bytes in, numbers out; never reads past the bytes given.
#pragma once

#include <cstdint>
#include <optional>

#include "packet/frame.hpp"

namespace vmux::packet {

enum class L3 : std::uint8_t { other, ipv4, ipv6 };
enum class L4 : std::uint8_t { other, tcp, udp, sctp };

struct Headers {
  std::uint16_t ethertype = 0;            ///< of the payload, behind VLAN tags; host order
  std::optional<std::uint16_t> vlan_tci;  ///< outermost 802.1Q tag in the bytes; host order
  std::uint16_t l3_offset = 0;            ///< bytes
  std::uint16_t l4_offset = 0;            ///< bytes; 0 when there is no L4 to point at
  std::uint16_t payload_offset = 0;       ///< first byte behind all parsed headers
  L3 l3 = L3::other;
  L4 l4 = L4::other;
  static constexpr std::uint8_t kUnknown = 255;  ///< reserved by IANA: no protocol's
  std::uint8_t protocol = kUnknown;  ///< of what is behind L3 and its options; unknown where they are cut short
  bool is_fragment = false;          ///< IPv4 or IPv6 fragment: L4 checksums do not apply
  bool is_later_fragment = false;    ///< not the first, so that what is behind L3 does not begin with an L4 header
};

/// nullopt when even the Ethernet header is cut short; a cut or odd inner header just ends the parse there.
[[nodiscard]] std::optional<Headers> parse(Slice header) noexcept;

/// The same from an IP header on that stands at `at` (inside a tunnel): its version says what it is. nullopt when it is
/// none.
[[nodiscard]] std::optional<Headers> parse_ip(Slice header, std::size_t at) noexcept;

/// The sum over the pseudo-header of a TCP or UDP segment (RFC 9293 3.1, RFC 8200 8.1), folded and not complemented, in
/// host order: what a sender leaves in the checksum field for Offload::needs_checksum. `l4_length`: bytes of L4 header
/// and payload. A super-frame carries the sum with the length of the whole (as virtio-net has it), so a model whose
/// hardware wants it without a length puts this there. `headers` must come from parse(header) and have l4 tcp or udp.
[[nodiscard]] std::uint16_t pseudo_header_sum(Slice header, const Headers& headers, std::uint32_t l4_length) noexcept;

}  // namespace vmux::packet

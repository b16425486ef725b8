// SPDX-License-Identifier: BSD-3-Clause
// The header in front of each frame of a virtio network card ([VIRTIO] 5.1.6), and what a packet::Offload says.
#pragma once

#include <cstddef>

#include "packet/bytes.hpp"
#include "packet/frame.hpp"
#include "packet/transfer.hpp"
#include "wire/virtio.hpp"

namespace vmux::virtio {

using NetHeader = wire::virtio::net::Header;

[[nodiscard]] inline packet::Gso gso_of(std::uint8_t type) noexcept {
  namespace gso = wire::virtio::net::gso;
  switch (type & ~gso::ecn) {
    case gso::tcpv4:
      return packet::Gso::tcp4;
    case gso::tcpv6:
      return packet::Gso::tcp6;
    case gso::udp_l4:
      return packet::Gso::udp;
    default:
      return packet::Gso::none;
  }
}

/// What the sender has left undone. Its header length is a hint (of what lies in one piece of its memory, say), so
/// Offload::header_length is for whoever has parsed the frame.
[[nodiscard]] inline packet::Offload offload_of(const NetHeader& header) noexcept {
  namespace flag = wire::virtio::net::flag;
  packet::Offload offload;
  offload.needs_checksum = (header.flags & flag::needs_csum) != 0;
  offload.checksum_verified = (header.flags & flag::data_valid) != 0;
  offload.csum_start = header.csum_start;
  offload.csum_offset = header.csum_offset;
  offload.gso = gso_of(header.gso_type);
  if (offload.gso != packet::Gso::none) offload.gso_size = header.gso_size;
  return offload;
}

/// Of a frame with these headers; a receiver is told apart that the window was reduced (ECN): TCP's CWR.
[[nodiscard]] inline std::uint8_t gso_type_of(const packet::Offload& offload, packet::Slice frame_header) noexcept {
  namespace gso = wire::virtio::net::gso;
  if (offload.gso == packet::Gso::none) return gso::none;
  if (offload.gso == packet::Gso::udp) return gso::udp_l4;
  constexpr std::size_t kTcpFlags = 13;  // RFC 9293 3.1
  constexpr std::uint8_t kCongestionReduced = 0x80;
  const std::size_t flags = std::size_t{offload.csum_start} + kTcpFlags;
  const bool reduced = flags < frame_header.size() && (packet::get8(frame_header, flags) & kCongestionReduced) != 0;
  const std::uint8_t type = offload.gso == packet::Gso::tcp4 ? gso::tcpv4 : gso::tcpv6;
  return reduced ? static_cast<std::uint8_t>(type | gso::ecn) : type;
}

/// For whoever gets the frame so. A driver without GUEST_CSUM is told nothing of checksums ([VIRTIO] 5.1.6.4.1).
[[nodiscard]] inline NetHeader net_header_of(const packet::Offload& offload, packet::Slice frame_header,
                                             bool takes_checksum = true) noexcept {
  namespace flag = wire::virtio::net::flag;
  NetHeader header;
  header.gso_type = gso_type_of(offload, frame_header);
  if (offload.needs_checksum) {
    header.flags = flag::needs_csum;
    header.csum_start = offload.csum_start;
    header.csum_offset = offload.csum_offset;
  } else if (offload.checksum_verified && takes_checksum) {
    header.flags = flag::data_valid;
  }
  if (offload.gso != packet::Gso::none) {
    header.header_length = offload.header_length;
    header.gso_size = offload.gso_size;
  }
  return header;
}

}  // namespace vmux::virtio

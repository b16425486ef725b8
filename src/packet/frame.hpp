// SPDX-License-Identifier: BSD-3-Clause
// A frame on its way: a borrowed view, and what is still to be done to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vmux::packet {

/// Kinds of super-frames that the receiving side may have to cut (as virtio-net's GSO types).
enum class Gso : std::uint8_t { none, tcp4, tcp6, udp };

/// What a sender left undone and a receiver may have to finish. All offsets count from the first byte of the frame and
/// lie within FrameView::header; whoever builds a view guarantees that.
struct Offload {
  bool needs_checksum = false;  ///< the 16-bit sum over [csum_start, end) is to be stored at csum_start + csum_offset,
                                ///< where the pseudo-header sum already stands
  bool checksum_verified = false;  ///< the transport checksum is known to be right
  bool has_vlan = false;           ///< vlan_tci is a tag that is not in the bytes
  Gso gso = Gso::none;
  std::uint16_t csum_start = 0;     ///< bytes
  std::uint16_t csum_offset = 0;    ///< bytes after csum_start
  std::uint16_t header_length = 0;  ///< gso: bytes of all headers (Ethernet to TCP/UDP), repeated on every piece
  std::uint16_t gso_size = 0;       ///< gso: payload bytes of a piece
  std::uint16_t vlan_tci = 0;       ///< host order: priority, DEI, VLAN id
  /// gso: where the inner IP header of a tunnelled frame is; the outer headers are those in front of it. 0: no tunnel.
  std::uint16_t tunnel = 0;
  bool tunnel_checksum = false;  ///< each piece gets an outer UDP checksum
  bool tunnel_fixed_id = false;  ///< the outer IPv4 id is the same in all pieces
};

/// What a receiver takes without having it finished first.
struct Accepts {
  bool checksum = false;
  bool gso_tcp4 = false, gso_tcp6 = false, gso_udp = false;
  bool vlan = false;               ///< a tag beside the bytes
  std::uint32_t max_frame = 1518;  ///< bytes, VLAN tag included, FCS not
};

/// The first bytes of every frame are copied once out of the sender's reach (as many of them as the frame has).
inline constexpr std::size_t kHeaderRoom = 256;
/// More of them where Offload points further: as far as any model's descriptors can. The XL710's (8.4.2.1.1, 8.4.2.2.1)
/// reach 254 bytes to the outer IP header, 508 behind it, 254 through the tunnel, 508 of IP again and 60 of L4; two
/// tags.
inline constexpr std::size_t kLongestHeader = 1600;

using Slice = std::span<const std::byte>;

/// A frame, borrowed: `header` lies in the poller's memory and cannot change; `payload` may lie in a guest's, is to be
/// read once (copied), and decides nothing. Valid until the sending port's finish().
struct FrameView {
  Slice header;                    ///< min(length, 64) to kHeaderRoom bytes, to kLongestHeader where Offload needs it
  std::span<const Slice> payload;  ///< what follows `header`
  std::uint32_t length = 0;        ///< bytes of header and payload, FCS not counted
  Offload offload;
};

}  // namespace vmux::packet

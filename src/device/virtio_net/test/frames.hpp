// SPDX-License-Identifier: BSD-3-Clause
// For the tests of this room: frames as a driver leaves them to its card, and kinds of rings.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "packet/test/test_frames.hpp"
#include "rigs/virtio_net_rig.hpp"

namespace vmux::device::virtio_net::test {

using fake_guest::Bytes;
using packet::test::FrameSpec;
using packet::test::Ip;
using packet::test::Proto;
namespace bit = fake_guest::virtio_bit;

inline Bytes to_bytes(const packet::test::Bytes& from) {
  const auto bytes = std::as_bytes(std::span{from});
  return {bytes.begin(), bytes.end()};
}

/// The checksum is left undone: the sum of the pseudo-header stands in its field.
inline Bytes undone(const FrameSpec& spec, const packet::test::Bytes& payload) {
  packet::test::Bytes frame = packet::test::whole_frame(spec, payload);
  const std::size_t l4 = packet::test::l4_offset(spec);
  const bool is_v4 = spec.ip == Ip::v4;
  packet::test::Bytes pseudo(frame.begin() + static_cast<std::ptrdiff_t>(l4 - (is_v4 ? 8 : 32)),
                             frame.begin() + static_cast<std::ptrdiff_t>(l4));
  packet::test::append32(pseudo, static_cast<std::uint32_t>(frame.size() - l4));
  packet::test::append32(pseudo, spec.proto == Proto::tcp ? 6 : 17);
  packet::test::set16(frame, l4 + (spec.proto == Proto::tcp ? 16 : 6), packet::test::plain_sum(pseudo));
  return to_bytes(frame);
}

/// The header in front of such a frame; `gso_type` and `gso_size` for one that is to be cut ([VIRTIO] 5.1.6).
inline std::array<std::uint8_t, 12> net_header(const FrameSpec& spec, std::uint8_t gso_type = 0,
                                               std::uint16_t gso_size = 0) {
  const std::uint16_t start = packet::test::l4_offset(spec), offset = spec.proto == Proto::tcp ? 16 : 6;
  const std::uint16_t all = packet::test::header_size(spec);
  const auto low = [](std::uint16_t value) { return static_cast<std::uint8_t>(value); };
  const auto high = [](std::uint16_t value) { return static_cast<std::uint8_t>(value >> 8); };
  return {1,           gso_type,     low(all), high(all), low(gso_size), high(gso_size), low(start), high(start),
          low(offset), high(offset), 0,        0};
}

/// A frame half done as the switch shows it.
inline packet::Offload offload_of(const FrameSpec& spec, packet::Gso gso = packet::Gso::none, std::uint16_t size = 0) {
  packet::Offload offload;
  offload.needs_checksum = true;
  offload.csum_start = packet::test::l4_offset(spec);
  offload.csum_offset = spec.proto == Proto::tcp ? 16 : 6;
  offload.gso = gso;
  offload.gso_size = size;
  if (gso != packet::Gso::none) offload.header_length = packet::test::header_size(spec);
  return offload;
}

/// Features that make a ring of a kind.
struct Rings {
  const char* name;
  std::uint64_t without;  ///< features that the driver does not take
};
inline constexpr Rings kRings[] = {
    {"Split", bit::packed | bit::event_idx},
    {"SplitEventIdx", bit::packed},
    {"Packed", bit::event_idx},
    {"PackedEventIdx", 0},
};
inline std::string name_of(const Rings& rings) { return rings.name; }

}  // namespace vmux::device::virtio_net::test

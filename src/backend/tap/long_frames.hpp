// SPDX-License-Identifier: BSD-3-Clause
// For tests: IPv6 frames with tags and extension headers in any number, finished and as a stack leaves them to a NIC.
#pragma once

#include <cstdint>
#include <vector>

#include "packet/test/test_frames.hpp"

namespace vmux::backend::test {

using packet::test::Bytes;

struct LongSpec {
  unsigned tags = 0;
  std::vector<std::size_t> extensions;  // destination options: bytes of each, a multiple of 8, at most 2048
  packet::test::Proto proto = packet::test::Proto::tcp;
  std::uint8_t flags = 0x10;
  std::uint32_t sequence = 0xffff'f000;
  std::uint16_t via = 0;  // not 0: the checksum is that of another destination, as behind a routing header
};

inline std::size_t l4_of(const LongSpec& spec) {
  std::size_t at = 14 + 4 * spec.tags + 40;
  for (const std::size_t size : spec.extensions)
    at += size;
  return at;
}
inline std::size_t headers_of(const LongSpec& spec) {
  return l4_of(spec) + (spec.proto == packet::test::Proto::tcp ? 20 : 8);
}
inline std::size_t field_of(const LongSpec& spec) {
  return l4_of(spec) + (spec.proto == packet::test::Proto::tcp ? 16 : 6);
}

// The pseudo-header of RFC 8200 8.1 with the length of a whole: what a stack leaves in the checksum field.
inline std::uint16_t pseudo_sum(const LongSpec& spec, const Bytes& frame, std::size_t l4_size) {
  const std::size_t l3 = 14 + 4 * spec.tags;
  Bytes pseudo(frame.begin() + static_cast<std::ptrdiff_t>(l3 + 8),
               frame.begin() + static_cast<std::ptrdiff_t>(l3 + 40));
  if (spec.via != 0) packet::test::set16(pseudo, 30, spec.via);
  packet::test::append32(pseudo, static_cast<std::uint32_t>(l4_size));
  packet::test::append32(pseudo, spec.proto == packet::test::Proto::tcp ? 6 : 17);
  return packet::test::plain_sum(pseudo);
}

/// The checksum is left undone: the pseudo-header's sum stands in its field.
inline Bytes undone_frame(const LongSpec& spec, const Bytes& payload) {
  using namespace packet::test;
  const bool is_tcp = spec.proto == Proto::tcp;
  const std::uint8_t protocol = is_tcp ? 6 : 17;
  Bytes l4;
  append16(l4, 1000);
  append16(l4, 2000);
  if (is_tcp) {
    append32(l4, spec.sequence);
    append32(l4, 0x9abcdef0);
    append(l4, {0x50, spec.flags});
    append16(l4, 512);
    append32(l4, 0);
  } else {
    append16(l4, static_cast<unsigned>(8 + payload.size()));
    append16(l4, 0);
  }
  append(l4, payload);
  Bytes frame{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};
  for (unsigned i = 0; i < spec.tags; ++i) {
    append16(frame, i + 1 < spec.tags ? 0x88a8 : 0x8100);
    append16(frame, 5 + i);
  }
  append16(frame, 0x86dd);
  const std::size_t extensions = l4_of(spec) - 14 - std::size_t{4} * spec.tags - 40;
  append32(frame, 0x60000000);
  append16(frame, static_cast<unsigned>(extensions + l4.size()));
  append(frame, {spec.extensions.empty() ? protocol : std::uint8_t{60}, 64});
  append(frame, pattern(32, 77));
  for (std::size_t i = 0; i < spec.extensions.size(); ++i) {
    const std::size_t size = spec.extensions[i];
    const bool is_last = i + 1 == spec.extensions.size();
    Bytes header(size, 0);  // Pad1 options
    header[0] = is_last ? protocol : std::uint8_t{60};
    header[1] = static_cast<std::uint8_t>(size / 8 - 1);
    append(frame, header);
  }
  const std::size_t at = frame.size();
  append(frame, l4);
  set16(frame, at + (is_tcp ? 16 : 6), pseudo_sum(spec, frame, l4.size()));
  return frame;
}

inline Bytes finished_frame(const LongSpec& spec, const Bytes& payload) {
  Bytes frame = undone_frame(spec, payload);
  const Bytes summed(frame.begin() + static_cast<std::ptrdiff_t>(l4_of(spec)), frame.end());
  packet::test::set16(frame, field_of(spec), static_cast<std::uint16_t>(~packet::test::plain_sum(summed)));
  return frame;
}

/// What a NIC makes of undone_frame(spec, payload) that is to be cut after every `size` bytes (0: not).
inline std::vector<Bytes> on_the_wire(const LongSpec& spec, const Bytes& payload, std::size_t size) {
  std::vector<Bytes> out;
  for (std::size_t at = 0; at < payload.size() || at == 0; at += size) {
    const std::size_t end = size == 0 ? payload.size() : std::min(payload.size(), at + size);
    LongSpec piece = spec;
    piece.sequence += static_cast<std::uint32_t>(at);
    if (at > 0) piece.flags &= 0x7f;                // CWR: the first alone
    if (end < payload.size()) piece.flags &= 0xf6;  // FIN, PSH: the last alone
    out.push_back(finished_frame(piece, {payload.begin() + static_cast<std::ptrdiff_t>(at),
                                         payload.begin() + static_cast<std::ptrdiff_t>(end)}));
    if (size == 0) break;
  }
  return out;
}

}  // namespace vmux::backend::test

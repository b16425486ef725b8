// SPDX-License-Identifier: BSD-3-Clause
// For tests: frames made byte by byte, and a plain reading of RFC 1071 and of what cutting a super-frame means. Shares
// no code with the room itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "packet/frame.hpp"

namespace vmux::packet::test {

using Bytes = std::vector<std::uint8_t>;

inline Slice slice(const Bytes& bytes) { return std::as_bytes(std::span{bytes}); }

inline void append(Bytes& to, const Bytes& from) { to.insert(to.end(), from.begin(), from.end()); }
inline void append16(Bytes& to, unsigned value) {
  to.push_back(static_cast<std::uint8_t>(value >> 8));
  to.push_back(static_cast<std::uint8_t>(value));
}
inline void append32(Bytes& to, std::uint32_t value) {
  append16(to, value >> 16);
  append16(to, value & 0xffff);
}
inline void set16(Bytes& in, std::size_t at, unsigned value) {
  in[at] = static_cast<std::uint8_t>(value >> 8);
  in[at + 1] = static_cast<std::uint8_t>(value);
}

/// RFC 1071, one byte pair at a time: the folded sum, not complemented.
inline std::uint16_t plain_sum(const Bytes& bytes, std::uint32_t sum = 0) {
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    sum += static_cast<std::uint32_t>(bytes[i] << 8) + (i + 1 < bytes.size() ? bytes[i + 1] : 0u);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<std::uint16_t>(sum);
}

inline Bytes pattern(std::size_t size, unsigned seed = 1) {
  Bytes out(size);
  for (std::uint8_t& byte : out) {
    seed = seed * 1103515245u + 12345u;
    byte = static_cast<std::uint8_t>(seed >> 16);
  }
  return out;
}

enum class Ip { v4, v6 };
enum class Proto { tcp, udp };

struct FrameSpec {
  Ip ip = Ip::v4;
  Proto proto = Proto::tcp;
  std::uint8_t flags = 0x10;  // TCP
  std::uint32_t sequence = 0x12345678;
  std::uint16_t id = 0xfffe;  // IPv4
  int tag = -1;               // 802.1Q tag in the bytes, if not negative
  bool tcp_options = true;
};

/// The frame that a sender without any offload would put on the wire: every length and checksum as the RFCs say.
inline Bytes whole_frame(const FrameSpec& spec, const Bytes& payload) {
  Bytes l4;
  append16(l4, 1000);
  append16(l4, 2000);
  if (spec.proto == Proto::tcp) {
    append32(l4, spec.sequence);
    append32(l4, 0x9abcdef0);
    l4.push_back(spec.tcp_options ? 0x80 : 0x50);
    l4.push_back(spec.flags);
    append16(l4, 512);  // window
    append32(l4, 0);    // checksum, urgent
    if (spec.tcp_options) append(l4, {1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8});
  } else {
    append16(l4, static_cast<unsigned>(8 + payload.size()));
    append16(l4, 0);
  }
  append(l4, payload);

  const Bytes v4_addresses{10, 0, 0, 1, 10, 0, 0, 2};
  Bytes v6_addresses = pattern(32, 77);
  const unsigned protocol = spec.proto == Proto::tcp ? 6 : 17;
  Bytes pseudo = spec.ip == Ip::v4 ? v4_addresses : v6_addresses;
  append32(pseudo, static_cast<std::uint32_t>(l4.size()));
  append32(pseudo, protocol);
  append(pseudo, l4);
  unsigned checksum = static_cast<std::uint16_t>(~plain_sum(pseudo));
  if (spec.proto == Proto::udp && checksum == 0) checksum = 0xffff;
  set16(l4, spec.proto == Proto::tcp ? 16 : 6, checksum);

  Bytes frame{0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1};
  if (spec.tag >= 0) {
    append16(frame, 0x8100);
    append16(frame, static_cast<unsigned>(spec.tag));
  }
  if (spec.ip == Ip::v4) {
    append16(frame, 0x0800);
    Bytes ip{0x45, 0};
    append16(ip, static_cast<unsigned>(20 + l4.size()));
    append16(ip, spec.id);
    append16(ip, 0x4000);
    append(ip, {64, static_cast<std::uint8_t>(protocol), 0, 0});
    append(ip, v4_addresses);
    set16(ip, 10, static_cast<std::uint16_t>(~plain_sum(ip)));
    append(frame, ip);
  } else {
    append16(frame, 0x86dd);
    append32(frame, 0x60000000);
    append16(frame, static_cast<unsigned>(l4.size()));
    append(frame, {static_cast<std::uint8_t>(protocol), 64});
    append(frame, v6_addresses);
  }
  append(frame, l4);
  return frame;
}

/// Bytes of all headers of whole_frame(spec).
inline std::uint16_t header_size(const FrameSpec& spec) {
  const int l2 = spec.tag >= 0 ? 18 : 14, l3 = spec.ip == Ip::v4 ? 20 : 40;
  const int l4 = spec.proto == Proto::udp ? 8 : (spec.tcp_options ? 32 : 20);
  return static_cast<std::uint16_t>(l2 + l3 + l4);
}
inline std::uint16_t l4_offset(const FrameSpec& spec) {
  return static_cast<std::uint16_t>((spec.tag >= 0 ? 18 : 14) + (spec.ip == Ip::v4 ? 20 : 40));
}

/// A frame of TCP over IPv6 (untagged), whose header ends far behind: `options` bytes of destination options, a
/// multiple of 8, at most 2048, stand in front of it. Half done: its checksum field has the sum of the pseudo-header.
struct FarFrame {
  std::uint16_t l4;
  Bytes whole, undone;
  explicit FarFrame(std::size_t options, const Bytes& payload, const FrameSpec& spec = {.ip = Ip::v6})
      : l4(static_cast<std::uint16_t>(54 + options)), whole(whole_frame(spec, payload)) {
    const std::size_t segment = whole.size() - 54;
    Bytes more = pattern(options, 3);
    more[0] = whole[20];
    more[1] = static_cast<std::uint8_t>(options / 8 - 1);
    whole[20] = 60;
    set16(whole, 18, static_cast<unsigned>(segment + options));
    whole.insert(whole.begin() + 54, more.begin(), more.end());
    undone = whole;
    Bytes pseudo(whole.begin() + 22, whole.begin() + 54);
    append32(pseudo, static_cast<std::uint32_t>(segment));
    append32(pseudo, 6);
    set16(undone, l4 + 16u, plain_sum(pseudo));
  }
  [[nodiscard]] Offload offload() const { return {.needs_checksum = true, .csum_start = l4, .csum_offset = 16}; }
  [[nodiscard]] Offload super_offload(std::uint16_t size) const {
    Offload offload = this->offload();
    offload.gso = Gso::tcp6;
    offload.header_length = static_cast<std::uint16_t>(l4 + 32);
    offload.gso_size = size;
    return offload;
  }
};

/// A view of bytes, its payload in slices of the given sizes (the last repeated).
struct View {
  FrameView view;
  std::vector<Slice> slices;
  View(const Bytes& bytes, std::size_t header, std::initializer_list<std::size_t> sizes) {
    const Slice all = slice(bytes);
    header = std::min(header, all.size());
    view.header = all.first(header);
    view.length = static_cast<std::uint32_t>(all.size());
    Slice rest = all.subspan(header);
    auto size = sizes.begin();
    while (!rest.empty()) {
      const std::size_t n = std::min(*size, rest.size());
      slices.push_back(rest.first(n));
      rest = rest.subspan(n);
      if (size + 1 != sizes.end()) ++size;
    }
    view.payload = slices;
  }
  View(const View&) = delete;
  View& operator=(const View&) = delete;
};

}  // namespace vmux::packet::test

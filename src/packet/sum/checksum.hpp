// SPDX-License-Identifier: BSD-3-Clause
// The Internet checksum (RFC 1071), alone and fused with a copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "packet/frame.hpp"

namespace vmux::packet {

/// What will be copied next: a long copy asks for its lines meanwhile. Nothing is read or written there; 0 bytes: no.
struct Ahead {
  const std::byte* from = nullptr;
  std::byte* to = nullptr;
  std::size_t size = 0;
};

/// A one's complement sum in progress, over bytes taken in order (chunks of odd length are fine).
class Checksum {
 public:
  void add(Slice bytes) noexcept;
  /// Copies `from` to `to`, which has room for it, and adds it: each byte is read once, so what was added is what was
  /// written. The two may overlap; which bytes end up where they do is then anybody's guess.
  void copy(std::span<std::byte> to, Slice from, const Ahead& ahead = {}) noexcept;
  /// The folded, complemented 16-bit sum in host order; store it big-endian.
  [[nodiscard]] std::uint16_t finish() const noexcept;
  /// The folded sum, not complemented, in host order: what stands in a checksum field that is still to be completed.
  [[nodiscard]] std::uint16_t partial() const noexcept;

 private:
  void join(std::uint64_t chunk, std::size_t size) noexcept;

  std::uint64_t sum_ = 0;  // of 16-bit words in memory order, end-around carry
  bool odd_ = false;       // an odd number of bytes so far: the next chunk's bytes change places
};

/// The IPv4 header checksum of `header` (its checksum field taken as zero), host order.
[[nodiscard]] std::uint16_t ipv4_header_checksum(Slice header) noexcept;

}  // namespace vmux::packet

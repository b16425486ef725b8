// SPDX-License-Identifier: BSD-3-Clause
// Cyclic redundancy checks: SCTP's (CRC32c, RFC 9260 appendix A) and Ethernet's (IEEE 802.3 3.2.9).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vmux {

/// Over bytes taken in order.
class Crc32c {
 public:
  void add(std::span<const std::byte> bytes) noexcept;
  /// As it stands in an SCTP header, read as a little-endian number.
  [[nodiscard]] std::uint32_t finish() const noexcept { return ~state_; }

 private:
  std::uint32_t state_ = ~0u;
};

/// The frame check sequence; its bytes go out lowest first.
class EthernetCrc {
 public:
  void add(std::span<const std::byte> bytes) noexcept;
  [[nodiscard]] std::uint32_t finish() const noexcept { return ~state_; }

 private:
  std::uint32_t state_ = ~0u;
};

}  // namespace vmux

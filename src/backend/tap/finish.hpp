// SPDX-License-Identifier: BSD-3-Clause
// What the host's stack leaves undone farther behind than a view can say (packet::kLongestHeader): IPv6 extension
// headers may be some thousand bytes long. The frames lie in our own memory, so it is done there, before the switch
// sees them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "packet/frame.hpp"

namespace vmux::backend {

/// Computes the sum over [start, end of the frame) and stores it at start + offset, where the pseudo-header's stands.
/// False, and nothing done, when the field is not inside.
[[nodiscard]] bool finish_checksum(std::span<std::byte> frame, std::size_t start, std::size_t offset) noexcept;

/// Cuts a TCP or UDP super-frame over IPv6 whatever stands between the two. (Over IPv4 headers always fit into a view.)
/// Asks nothing of extension headers but that they end where the checksum begins.
class LongCutter {
 public:
  /// The frame is borrowed until the last piece. False when it is no such frame.
  [[nodiscard]] bool begin(std::span<const std::byte> frame, const packet::Offload& offload) noexcept;
  /// Writes the next piece, all of it finished, into `into`, which has room for the whole frame; returns its bytes. 0:
  /// there is none left.
  [[nodiscard]] std::size_t next(std::span<std::byte> into) noexcept;
  [[nodiscard]] bool is_done() const noexcept { return sent_ == payload_; }

 private:
  packet::Slice frame_;
  packet::Offload offload_;
  std::size_t l3_ = 0, l4_ = 0, header_ = 0;  // offsets; bytes of all headers
  std::size_t payload_ = 0, sent_ = 0;        // bytes
};

}  // namespace vmux::backend

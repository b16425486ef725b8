// SPDX-License-Identifier: BSD-3-Clause
// The one copy: from a view to a receiver's buffers, finishing on the way what the receiver does not take.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "packet/frame.hpp"

namespace vmux::packet {

/// One frame as it will arrive: its final length and headers are known before any payload is copied.
struct Piece {
  std::uint32_t length = 0;          ///< bytes that copy() will write
  Offload offload;                   ///< what is still undone by then: only what the receiver accepts
  Slice header;                      ///< the headers as they will arrive (a checksum over payload not yet filled in)
  std::uint32_t payload_offset = 0;  ///< first payload byte of this piece within the view's bytes
};

/// Cuts a view into the pieces that a receiver takes: one when nothing is to be cut, several for a super-frame that it
/// does not accept (RFC 791/793/8200 lengths, ids, sequence numbers and flags adjusted; UDP by payload). A VLAN tag
/// beside the bytes is put into them unless the receiver takes it beside.
///
///   Pieces pieces{view, port.accepts()};
///   while (const Piece* piece = pieces.next()) { find room for piece->length; pieces.copy(buffers); }
class Pieces {
 public:
  Pieces(const FrameView& view, const Accepts& accepts) noexcept;
  /// The next piece, or nullptr at the end. The piece lives in this object until the next call.
  [[nodiscard]] const Piece* next() noexcept;
  /// Number of pieces in all.
  [[nodiscard]] std::uint32_t count() const noexcept;
  /// Copies the current piece into `to`, whose sizes add up to at least its length. Payload is read exactly once.
  void copy(std::span<const std::span<std::byte>> to) noexcept;

 private:
  const FrameView& view_;
  Accepts accepts_;
  Piece piece_;
  std::array<std::byte, kHeaderRoom + 4> header_{};  // + 4: an inserted VLAN tag
  std::uint32_t index_ = 0;
  std::uint32_t count_ = 1;
  // The implementation may add members; callers rely on the methods only.
};

/// True when the view's offsets lie inside its header as Offload demands: for builders of views to check guest values
/// with.
[[nodiscard]] bool is_consistent(const FrameView& view) noexcept;

}  // namespace vmux::packet

// SPDX-License-Identifier: BSD-3-Clause
// The one copy: from a view to a receiver's buffers, finishing on the way what the receiver does not take.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "packet/frame.hpp"
#include "packet/headers.hpp"

namespace vmux::packet {

/// One frame as it will arrive: its final length and headers are known before any payload is copied.
struct Piece {
  std::uint32_t length = 0;          ///< bytes that copy() will write
  Offload offload;                   ///< what is still undone by then: only what the receiver accepts
  Slice header;                      ///< the headers as they will arrive (a checksum over payload not yet filled in)
  std::uint32_t payload_offset = 0;  ///< first payload byte of this piece within the view's bytes
};

/// True when a receiver gets the frame as it stands: Pieces would make one piece of it and change nothing.
[[nodiscard]] inline bool passes_unchanged(const FrameView& view, const Accepts& accepts) noexcept {
  const Offload& offload = view.offload;
  return offload.gso == Gso::none && (!offload.needs_checksum || accepts.checksum) &&
         (!offload.has_vlan || accepts.vlan);
}
/// Copies such a frame into `to`, which has room for its length.
inline void copy_unchanged(const FrameView& view, std::span<std::byte> to) noexcept {
  std::byte* at = to.data();
  std::memcpy(at, view.header.data(), view.header.size());
  at += view.header.size();
  for (const Slice part : view.payload) {
    std::memcpy(at, part.data(), part.size());
    at += part.size();
  }
}

/// Asks for the first lines of a frame's payload, to be copied soon: the hardware takes a few misses to see where a
/// copy goes.
inline void prefetch_payload(const FrameView& view) noexcept {
  constexpr std::size_t kLine = 64, kAhead = 8 * kLine;
  if (view.payload.empty()) return;
  const Slice first = view.payload.front();
  for (std::size_t at = 0; at < first.size() && at < kAhead; at += kLine)
    __builtin_prefetch(first.data() + at);
}

/// Asks for lines that will be written soon, and for the right to write them: with a plain prefetch, lines that another
/// core has read come shared, and the first store to each asks that core once more. At most about a frame's worth.
inline void prefetch_for_writing(std::span<const std::byte> room) noexcept {
  constexpr std::size_t kLine = 64;
  for (std::size_t at = 0; at < room.size(); at += kLine) {
#if defined(__x86_64__)
    asm volatile("prefetchw %0" : : "m"(room[at]));  // the built-in needs -mprfchw; where it is unknown it does nothing
#else
    __builtin_prefetch(&room[at], 1);
#endif
  }
}

/// A super-frame of more pieces than this is not consistent: a guest may not make one frame cost more.
inline constexpr std::uint32_t kMaxPieces = 2048;

/// Cuts a view into the pieces that a receiver takes: one when nothing is to be cut, several for a super-frame that it
/// does not accept (RFC 791/793/8200 lengths, ids, sequence numbers and flags adjusted; UDP by payload). A VLAN tag
/// beside the bytes is put into them unless the receiver takes it beside.
/// A super-frame passes uncut only to a receiver that takes checksums too; each piece of a cut one has a checksum,
/// whatever stood in its field before. A checksum that was finished here counts as verified.
/// A view that is not is_consistent() in what is to be finished has no pieces.
///
///   Pieces pieces{view, port.accepts()};
///   while (const Piece* piece = pieces.next()) { find room for piece->length; pieces.copy(buffers); }
class Pieces {
 public:
  Pieces(const FrameView& view, const Accepts& accepts) noexcept;
  Pieces(const Pieces&) = delete;
  Pieces& operator=(const Pieces&) = delete;
  /// The next piece, or nullptr at the end. The piece lives in this object until the next call.
  [[nodiscard]] const Piece* next() noexcept;
  /// Number of pieces in all.
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  /// Copies the current piece into `to`, whose sizes add up to at least its length. Payload is read exactly once.
  void copy(std::span<const std::span<std::byte>> to) noexcept;
  /// For a receiver that takes checksums: the current piece's bytes behind piece->header, as slices of the sender's
  /// buffers, nothing copied. Returns how many slices, or `into.size() + 1` when that is too small.
  [[nodiscard]] std::size_t gather(std::span<Slice> into) const noexcept;

 private:
  struct Cursor {  // a place in the view's bytes behind base_
    std::size_t part = 0, offset = 0;
  };
  void prepare() noexcept;
  void prepare_cut() noexcept;
  void put_header(std::size_t bytes) noexcept;
  void shape_cut_piece() noexcept;
  void shape_outer_headers() noexcept;
  [[nodiscard]] Slice part(std::size_t index) const noexcept;
  void advance(Cursor& cursor, std::size_t bytes) const noexcept;
  [[nodiscard]] Slice take(Cursor& cursor, std::size_t at_most) const noexcept;
  void copy_payload_summed(std::span<const std::span<std::byte>> to) noexcept;

  const FrameView& view_;
  Piece piece_;
  Cursor cursor_;            // payload of the current piece
  Headers headers_;          // when cutting: of header_ (tag included); the inner ones of a tunnel
  Headers outer_;            // when cutting a tunnelled super-frame
  std::uint32_t base_ = 0;   // bytes of the view that stand in piece_.header
  std::uint32_t index_ = 0;  // pieces given out
  std::uint32_t count_ = 1;
  std::uint32_t first_sequence_ = 0;
  std::uint16_t first_id_ = 0, first_outer_id_ = 0;
  std::uint8_t tcp_flags_ = 0;
  bool cut_ = false;
  bool finish_checksum_ = false;
  bool takes_checksum_ = false;
  std::uint8_t tag_size_ = 0;
  std::array<std::byte, kLongestHeader + 4> header_;  // + 4: an inserted VLAN tag. Not cleared: written, then read
};

/// The checksum of a tunnel's outer UDP header for a frame whose inner checksum is still to be finished: the
/// pseudo-header sum stands at inner_l4 + inner_offset. `outer` is parse(header); `l4_length`: bytes from the outer UDP
/// header on. Clears the outer field.
[[nodiscard]] std::uint16_t outer_udp_checksum(std::span<std::byte> header, const Headers& outer, std::size_t inner_l4,
                                               std::size_t inner_offset, std::uint32_t l4_length) noexcept;

/// True when the view's offsets lie inside its header as Offload demands: for builders of views to check guest values
/// with. Demands: header and payload add up to length, header is at most kLongestHeader; checksum field and (for a
/// super-frame) all headers within `header`; a super-frame is what its kind says, of a size not 0 and at most
/// kMaxPieces.
[[nodiscard]] bool is_consistent(const FrameView& view) noexcept;

}  // namespace vmux::packet

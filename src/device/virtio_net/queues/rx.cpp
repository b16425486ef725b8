// SPDX-License-Identifier: BSD-3-Clause
#include "device/virtio_net/queues/rx.hpp"

#include <algorithm>
#include <cstring>

#include "packet/spans.hpp"
#include "virtio/net_header.hpp"

namespace vmux::device::virtio_net {

void RxQueue::adopt(const std::shared_ptr<const memory::Table>& table) noexcept {
  ring_.memory().adopt(table);
  buffers_.adopt(table);
}

void RxQueue::start(const virtio::QueueSetup& setup, const virtio::QueueState& state,
                    const FrameFormat& format) noexcept {
  ring_.start(setup, state);
  format_ = format;
  report_.begin();
}

RxQueue::Delivered RxQueue::deliver(std::span<const packet::FrameView> frames, std::span<const RxInfo> infos,
                                    const packet::Accepts& accepts) noexcept {
  Delivered done;
  if (!ring_.runs()) return done;
  chains_ = ring_.ready(frames.size());
  staged_ = lost_ = 0;
  std::uint64_t bytes = 0;
  while (done.taken < frames.size()) {
    const auto rest = frames.subspan(done.taken);
    const std::size_t plain = take_plain(rest, infos.subspan(done.taken), accepts);
    for (const packet::FrameView& view : rest.first(plain))
      bytes += view.length;
    done.taken += plain;
    if (plain > 0) continue;
    const std::size_t lost = lost_;
    if (!take_any(rest[0], infos[done.taken], accepts)) break;
    if (lost_ == lost) {
      bytes += rest[0].length;
    } else {
      done.lost_at |= 1u << done.taken;
    }
    ++done.taken;
  }
  publish();
  counters_.frames.add(done.taken - lost_);
  counters_.bytes.add(bytes);
  if (const std::size_t dropped = frames.size() - done.taken + lost_; dropped > 0) counters_.dropped.add(dropped);
  report_.look(ring_, counters_);
  return done;
}

void RxQueue::publish() noexcept {
  if (staged_ == 0) return;
  ring_.use(std::span{written_}.first(staged_));
  chains_ = chains_.subspan(staged_);
  staged_ = 0;
}

void RxQueue::fill_header(std::byte* to, const virtio::NetHeader& header, const RxInfo& info) const noexcept {
  if (format_.header != kHashHeader) {
    std::memcpy(to, &header, format_.header);
    return;
  }
  wire::virtio::net::HashHeader longer{.header = header};
  longer.hash = info.hash;
  longer.report = info.report;
  std::memcpy(to, &longer, sizeof longer);
}

// The common case: nothing is to be done to a frame, and it fits into one buffer. Returns how many such there are, from
// the front; the first that is anything else, or finds no chain, is left to take_any().
std::size_t RxQueue::take_plain(std::span<const packet::FrameView> frames, std::span<const RxInfo> infos,
                                const packet::Accepts& accepts) noexcept {
  constexpr std::size_t kAhead = 128;  // bytes asked for in every buffer before the first copy
  const std::size_t limit = std::min(frames.size(), chains_.size() - staged_);
  std::array<std::byte*, virtio::Queue::kMaxReady> rooms;
  std::size_t count = 0;
  for (; count < limit; ++count) {
    const packet::FrameView& view = frames[count];
    if (view.payload.size() > 1 || !packet::passes_unchanged(view, accepts)) break;
    const auto buffers = ring_.writable(chains_[staged_ + count]);
    const std::uint32_t total = format_.header + view.length;
    if (buffers.empty() || buffers[0].length < total) break;
    const auto room = buffers_.borrow_for_write(buffers[0].at, ByteCount{total});
    if (room.size() != total) break;
    rooms[count] = room.data();
    packet::prefetch_for_writing(room.first(std::min<std::size_t>(total, kAhead)));
  }
  for (std::size_t i = 0; i < count; ++i) {
    const packet::FrameView& view = frames[i];
    if (i + 1 < count) packet::prefetch_payload(frames[i + 1]);
    virtio::NetHeader header = virtio::net_header_of(view.offload, view.header, accepts.checksum);
    header.num_buffers = 1;
    fill_header(rooms[i], header, infos[i]);
    std::byte* const to = rooms[i] + format_.header;
    std::memcpy(to, view.header.data(), view.header.size());
    if (!view.payload.empty()) {  // two ports of a VM may be given the same memory
      std::memmove(to + view.header.size(), view.payload[0].data(), view.length - view.header.size());
    }
    written_[staged_++] = format_.header + view.length;
  }
  return count;
}

// A frame of whatever kind. False: no room, or the queue has stopped.
bool RxQueue::take_any(const packet::FrameView& view, const RxInfo& info, const packet::Accepts& accepts) noexcept {
  packet::Pieces pieces{view, accepts};
  bool is_first = true;
  while (const packet::Piece* piece = pieces.next()) {
    const std::uint32_t length = format_.header + piece->length;
    Placed placed = place(length);
    if (placed == Placed::no_room) {  // what is filled already makes room for more to be read
      publish();
      chains_ = ring_.ready(virtio::Queue::kMaxReady);
      placed = place(length);
    }
    // The rest of a super-frame whose first pieces have arrived is lost: it is not to come again.
    const bool is_lost = placed == Placed::too_long || (placed == Placed::no_room && !is_first);
    if (is_lost) ++lost_;
    if (placed != Placed::yes) return is_lost;
    store(pieces, *piece, info, accepts.checksum);
    is_first = false;
  }
  return true;
}

// Finds room for so many bytes behind what is staged; nothing is used until store().
RxQueue::Placed RxQueue::place(std::uint32_t length) noexcept {
  placed_ = spans_count_ = 0;
  std::uint32_t left = length;
  while (left > 0) {
    if (staged_ + placed_ == chains_.size()) return Placed::no_room;
    const Placed added = add_chain(chains_[staged_ + placed_], left);
    if (added != Placed::yes) return added;
    written_[staged_ + placed_++] = taken_bytes_;
    left -= taken_bytes_;
    if (left > 0 && !format_.is_mergeable) return Placed::too_long;
  }
  return Placed::yes;
}

RxQueue::Placed RxQueue::add_chain(const virtio::Chain& chain, std::uint32_t left) noexcept {
  taken_bytes_ = 0;
  for (const virtio::Buffer& buffer : ring_.writable(chain)) {
    Iova at = buffer.at;
    std::uint32_t part = std::min(buffer.length, left - taken_bytes_);
    while (part > 0) {
      if (spans_count_ == kMaxSpans) return ring_.fail(virtio::Fault::chain_too_long) ? Placed::yes : Placed::stopped;
      const auto span = buffers_.borrow_for_write(at, ByteCount{part});
      if (span.empty()) return ring_.fail(virtio::Fault::buffer_unmapped) ? Placed::yes : Placed::stopped;
      spans_[spans_count_++] = span;
      at.raw += span.size();
      part -= static_cast<std::uint32_t>(span.size());
      taken_bytes_ += static_cast<std::uint32_t>(span.size());
    }
    if (taken_bytes_ == left) return Placed::yes;
  }
  if (placed_ == 0 && taken_bytes_ < format_.header)
    return ring_.fail(virtio::Fault::bad_header) ? Placed::yes : Placed::stopped;
  return Placed::yes;
}

void RxQueue::store(packet::Pieces& pieces, const packet::Piece& piece, const RxInfo& info,
                    bool takes_checksum) noexcept {
  virtio::NetHeader header = virtio::net_header_of(piece.offload, piece.header, takes_checksum);
  header.num_buffers = static_cast<std::uint16_t>(placed_);
  std::array<std::byte, kHashHeader> bytes;
  fill_header(bytes.data(), header, info);
  std::span<const std::byte> rest = std::span{bytes}.first(format_.header);
  std::size_t first = 0;
  while (!rest.empty()) {
    std::span<std::byte>& span = spans_[first];
    const std::size_t part = std::min(span.size(), rest.size());
    std::memcpy(span.data(), rest.data(), part);
    span = span.subspan(part);
    rest = rest.subspan(part);
    if (span.empty()) ++first;
  }
  pieces.copy(std::span<const std::span<std::byte>>{spans_}.subspan(first, spans_count_ - first));
  staged_ += placed_;
}

bool RxQueue::flush() noexcept {
  const bool has_news = ring_.has_unreported();
  const bool is_wanted = ring_.take_interrupt();
  if (has_news && !is_wanted) counters_.interrupts_suppressed.add();
  report_.look(ring_, counters_);
  return is_wanted;
}

}  // namespace vmux::device::virtio_net

// SPDX-License-Identifier: BSD-3-Clause
#include "backend/tap/tap_queue.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "packet/bytes.hpp"
#include "packet/headers.hpp"
#include "virtio/net_header.hpp"

namespace vmux::backend {
namespace {

iovec vector_of(packet::Slice bytes) noexcept {
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};  // writev() only reads
}

void show(packet::Slice bytes, std::size_t header, packet::FrameView& view, packet::Slice& payload) noexcept {
  view = {};
  view.header = bytes.first(std::min(bytes.size(), header));
  payload = bytes.subspan(view.header.size());
  view.payload = std::span{&payload, payload.empty() ? 0u : 1u};
  view.length = static_cast<std::uint32_t>(bytes.size());
}

// Behind a routing header the destination that a checksum covers is another than the IPv6 header's (RFC 8200 8.1): the
// sum that stands in the field knows it, whoever cuts the frame by its headers would not.
bool sums_another_address(const packet::FrameView& view, const packet::Headers& headers) noexcept {
  constexpr std::size_t kIpv6 = 40;  // bytes
  const std::size_t field = std::size_t{view.offload.csum_start} + view.offload.csum_offset;
  if (headers.l3 != packet::L3::ipv6 || headers.l4_offset <= headers.l3_offset + kIpv6) return false;
  if (!view.offload.needs_checksum || field + 2 > view.header.size()) return false;
  return packet::get16(view.header, field) !=
         packet::pseudo_header_sum(view.header, headers, view.length - headers.l4_offset);
}

// EBADFD: the interface was deleted, and the descriptor with it.
bool means_gone(int error) noexcept { return error == EBADFD || error == EBADF || error == ENODEV; }

}  // namespace

TapQueue::TapQueue(UniqueFd fd, std::size_t header_size)
    : fd_(std::move(fd)),
      header_size_(header_size),
      room_(std::make_unique_for_overwrite<std::byte[]>((kSlots + 1) * kFrameRoom)) {
  for (std::size_t i = 0; i < kSlots; ++i)
    slots_[i].bytes = room_.get() + i * kFrameRoom;
  cut_ = room_.get() + kSlots * kFrameRoom;
}

std::size_t TapQueue::peek(std::span<packet::FrameView> into, Counter& malformed) noexcept {
  const std::size_t wanted = std::min(into.size(), kSlots);
  while (count_ < wanted && (readable_ || !cutter_.is_done())) {
    if (fill(slots_[(first_ + count_) % kSlots], malformed)) ++count_;
  }
  const std::size_t count = std::min(count_, wanted);
  for (std::size_t i = 0; i < count; ++i)
    into[i] = slots_[(first_ + i) % kSlots].view;
  return count;
}

void TapQueue::complete(std::size_t count) noexcept {
  count = std::min(count, count_);
  first_ = (first_ + count) % kSlots;
  count_ -= count;
}

bool TapQueue::fill(Slot& slot, Counter& malformed) noexcept {
  if (cutter_.is_done()) return read_one(slot, malformed);
  cut_one(slot);
  return true;
}

// False when the slot holds no frame: there was none, or it is to be cut first.
bool TapQueue::read_one(Slot& slot, Counter& malformed) noexcept {
  virtio::NetHeader header;
  const std::array<iovec, 2> parts{{{&header, header_size_}, {slot.bytes, kFrameRoom}}};
  const ssize_t size = ::readv(fd_.get(), parts.data(), static_cast<int>(parts.size()));
  if (size < 0) {
    if (errno == EINTR) return false;
    readable_ = false;  // until the next event
    if (means_gone(errno)) gone_errno_ = errno;
    return false;
  }
  if (static_cast<std::size_t>(size) <= header_size_) {
    if (size == 0) readable_ = false;
    malformed.add();
    return false;
  }
  const packet::Slice frame{slot.bytes, static_cast<std::size_t>(size) - header_size_};
  const packet::Offload offload = virtio::offload_of(header);
  // What the kernel asks for may be about headers that end further behind (IPv6 extensions, a tunnel's options): more
  // of the frame is header then.
  if (describe(slot, frame, packet::kHeaderRoom, offload)) return true;
  if (describe(slot, frame, packet::kLongestHeader, offload) || finish(slot)) return true;
  if (cutter_.is_done()) malformed.add();
  return false;
}

// True when a view with a header of this size can say what is to be done. The kernel's header_length is a hint (it
// counts what lies in one piece of its memory): the headers tell it themselves.
bool TapQueue::describe(Slot& slot, packet::Slice frame, std::size_t header, const packet::Offload& offload) noexcept {
  show(frame, header, slot.view, slot.payload);
  slot.view.offload = offload;
  if (offload.gso != packet::Gso::none) {
    const auto headers = packet::parse(slot.view.header);
    slot.view.offload.header_length = headers ? headers->payload_offset : 0;
    if (headers && sums_another_address(slot.view, *headers)) return false;
  }
  return packet::is_consistent(slot.view);
}

// For what lies behind even the longest header. False when the slot holds no frame: it is to be cut first, or makes no
// sense.
bool TapQueue::finish(Slot& slot) noexcept {
  packet::Offload& offload = slot.view.offload;
  const std::span<std::byte> bytes{slot.bytes, slot.view.length};
  if (offload.gso != packet::Gso::none) {
    if (cutter_.begin(bytes, offload)) std::swap(slot.bytes, cut_);
    return false;
  }
  if (!finish_checksum(bytes, offload.csum_start, offload.csum_offset)) return false;
  offload = {.checksum_verified = true};
  return true;
}

void TapQueue::cut_one(Slot& slot) noexcept {
  const std::size_t size = cutter_.next({slot.bytes, kFrameRoom});
  show({slot.bytes, size}, packet::kHeaderRoom, slot.view, slot.payload);
  slot.view.offload.checksum_verified = true;
}

TapOutcome TapQueue::write(const packet::Pieces& pieces, const packet::Piece& piece) noexcept {
  virtio::NetHeader header = virtio::net_header_of(piece.offload, piece.header);
  const std::size_t count = pieces.gather(slices_);
  if (count > slices_.size()) return TapOutcome::refused;
  std::array<iovec, kMaxSlices + 2> parts;
  parts[0] = {&header, header_size_};
  parts[1] = vector_of(piece.header);
  for (std::size_t i = 0; i < count; ++i)
    parts[i + 2] = vector_of(slices_[i]);
  for (;;) {
    if (::writev(fd_.get(), parts.data(), static_cast<int>(count + 2)) >= 0) return TapOutcome::done;
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) return TapOutcome::again;
    if (errno == EIO) return TapOutcome::down;
    if (!means_gone(errno)) return TapOutcome::refused;
    gone_errno_ = errno;
    return TapOutcome::gone;
  }
}

}  // namespace vmux::backend

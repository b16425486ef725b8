// SPDX-License-Identifier: BSD-3-Clause
// Transmit descriptors -> frames that are still to be built: what they say, and where the bytes are. Manual 3.3.
// No descriptor stops the queue but one that cannot be read, or whose buffer cannot: the part's DMA stops there too.
// All else that makes no sense costs the frame it belongs to, or part of it (docs/notes/e1000-edges.md).
#include <algorithm>
#include <cstring>
#include <utility>

#include "device/e1000/tx/tx.hpp"

namespace vmux::device::e1000 {
namespace {

constexpr std::uint32_t kCacheLine = 64;

template <class Ring>
void advance(Ring& ring) noexcept {
  ring.head = ring.head + 1 == ring.count ? 0 : ring.head + 1;
  --ring.left;
}

}  // namespace

const TxDescriptor* Transmitter::fetch(const Ring& ring) noexcept {
  fetched_first_ = ring.head;
  const std::uint32_t ready = std::min(ring.left, ring.count - ring.head);  // up to the ring's end
  fetched_count_ = std::min<std::uint32_t>(ready, kPrefetch);
  const std::span<TxDescriptor> into{fetched_.data(), fetched_count_};
  if (!memory_.read(Iova{ring.base + std::uint64_t{ring.head} * kDescriptorSize}, std::as_writable_bytes(into))) {
    fetched_count_ = 0;
    return nullptr;
  }
  return fetched_.data();
}

inline const TxDescriptor* Transmitter::descriptor(const Ring& ring) noexcept {
  const std::uint32_t place = ring.head - fetched_first_;
  return place < fetched_count_ ? &fetched_[place] : fetch(ring);
}

inline void Transmitter::report_if_asked(const Ring& ring, std::uint8_t cmd, Draft& draft) noexcept {
  if ((cmd & (tx_cmd::RS | tx_cmd::RPS)) == 0) return;
  journal_.reports[write_back_count_++] = static_cast<std::uint16_t>(ring.head);
  ((cmd & tx_cmd::IDE) != 0 ? draft.delayed : draft.immediate) = true;
}

// For one more descriptor that is not a plain frame: those, one slice and one report each, always find some.
bool Transmitter::has_room() const noexcept {
  return write_back_count_ + port::kMaxBurst < kWriteBackRoom &&
         slice_count_ + kBufferSlices + port::kMaxBurst < kSliceRoom;
}

// Table 3-9, note 3: descriptors with a null address or of length zero transfer no data.
bool Transmitter::add_buffer(Iova at, std::uint32_t length, Draft& draft) noexcept {
  if (length == 0 || at.raw == 0 || draft.is_too_long) return true;
  draft.length += length;
  if (draft.length > (draft.is_segmented ? kMaxSuperFrame : kMaxLongFrame)) {
    draft.is_too_long = true;
    slice_count_ = draft.slice_begin;
    return true;
  }
  while (length > 0) {
    const packet::Slice slice = memory_.borrow(at, ByteCount{length});
    if (slice.empty() || slice_count_ + port::kMaxBurst == kSliceRoom) return stop(Fault::buffer_unmapped);
    slices_[slice_count_++] = slice;
    at.raw += slice.size();
    length -= static_cast<std::uint32_t>(slice.size());
  }
  return true;
}

// 3.3.6. One that comes within a frame counts for that frame already, as in other models of this card.
void Transmitter::take_context(const TxDescriptor& raw, std::uint8_t cmd) noexcept {
  const std::uint64_t low = raw.low, high = raw.high;
  TxContext& context = (cmd & tu_cmd::TSE) != 0 ? segment_ : checksum_;
  context.ipcss = static_cast<std::uint8_t>(tx_low::ipcss::get(low));
  context.ipcso = static_cast<std::uint8_t>(tx_low::ipcso::get(low));
  context.ipcse = static_cast<std::uint16_t>(tx_low::ipcse::get(low));
  context.tucss = static_cast<std::uint8_t>(tx_low::tucss::get(low));
  context.tucso = static_cast<std::uint8_t>(tx_low::tucso::get(low));
  context.tucse = static_cast<std::uint16_t>(tx_low::tucse::get(low));
  context.hdrlen = static_cast<std::uint8_t>(tx_high::hdrlen::get(high));
  context.mss = static_cast<std::uint16_t>(tx_high::mss::get(high));
  context.tucmd = cmd;
  context_changed_ = true;
}

bool Transmitter::take(const TxDescriptor& raw, std::uint8_t cmd, Draft& draft) noexcept {
  const std::uint64_t high = raw.high;
  const bool extended = (cmd & tx_cmd::DEXT) != 0;
  // 3.3.5: type 0 is a context, type 1 data. Of the reserved ones the lowest bit decides, as in other models.
  if (extended && (tx_high::dtyp::get(high) & 1) == 0) {
    take_context(raw, cmd);
    return true;
  }
  if (draft.length == 0) {  // what is to be done is said by the first that has data (table 3-9 CSS, 3.3.7.3)
    draft.is_segmented = extended && (cmd & tx_cmd::TSE) != 0;
    draft.is_legacy = !extended;
    draft.options = extended ? static_cast<std::uint8_t>(tx_high::popts::get(high)) : std::uint8_t{0};
    draft.css = static_cast<std::uint8_t>(tx_high::css::get(high));
    draft.cso = static_cast<std::uint8_t>(tx_high::cso::get(high));
  }
  draft.is_done = (cmd & tx_cmd::EOP) != 0;
  // Table 3-10, note 1, and 3.3.7.1: IC and VLE count with EOP; with segmentation VLE does from the first on.
  if (draft.is_legacy && draft.is_done && (cmd & tx_cmd::IC) != 0) draft.options = popts::TXSM;
  if ((cmd & tx_cmd::VLE) != 0 && (draft.is_done || draft.is_segmented) &&
      ctrl::vme::is_set(registers_.get(reg::CTRL))) {
    draft.has_vlan = true;
    draft.vlan_tci = static_cast<std::uint16_t>(tx_high::special::get(high));
  }
  const std::uint64_t length = extended ? tx_high::dtalen::get(high) : tx_high::length::get(high);
  return add_buffer(Iova{raw.low}, static_cast<std::uint32_t>(length), draft);
}

// One descriptor that holds a whole frame as it is to be sent (3.3.3, 3.3.7). False: it is something else, and nothing
// has been done.
bool Transmitter::collect_plain(Ring& ring, Draft& draft) noexcept {
  const TxDescriptor* const raw = descriptor(ring);
  if (raw == nullptr) return false;
  const std::uint64_t high = raw->high;
  const auto cmd = static_cast<std::uint8_t>(tx_high::cmd::get(high));
  const bool extended = (cmd & tx_cmd::DEXT) != 0;
  if ((cmd & (tx_cmd::EOP | tx_cmd::VLE | tx_cmd::IC)) != tx_cmd::EOP) return false;  // IC is TSE, extended
  if (extended && (tx_high::dtyp::get(high) != 1 || tx_high::popts::get(high) != 0)) return false;
  const auto length = static_cast<std::uint32_t>(extended ? tx_high::dtalen::get(high) : tx_high::length::get(high));
  if (length == 0 || length > kMaxLongFrame || raw->low == 0) return false;
  const packet::Slice slice = memory_.borrow(Iova{raw->low}, ByteCount{length});
  if (slice.size() != length) return false;
  __builtin_prefetch(slice.data());
  if (length > kCacheLine) __builtin_prefetch(slice.data() + kCacheLine);
  draft.is_plain = true;
  draft.length = length;
  draft.slice_begin = slice_count_;
  slices_[slice_count_++] = slice;
  draft.slice_end = slice_count_;
  draft.immediate = draft.delayed = false;
  report_if_asked(ring, cmd, draft);
  advance(ring);
  return true;
}

// A frame has ended that there is nothing of to be sent. Its descriptors are done with those that follow.
void Transmitter::pass_over(Draft& draft) noexcept {
  slice_count_ = draft.slice_begin;
  Draft next;
  next.slice_begin = slice_count_;
  next.descriptors = draft.descriptors;
  next.immediate = draft.immediate;
  next.delayed = draft.delayed;
  next.lost = draft.lost + (draft.is_too_long ? 1 : 0);
  next.lost_segmented = draft.lost_segmented + (draft.is_too_long && draft.is_segmented ? 1 : 0);
  draft = next;
}

// False: there is no whole frame yet, no room for it in this burst, or the queue has stopped.
bool Transmitter::collect(Ring& ring, Draft& draft) noexcept {
  while (ring.left != 0) {
    if (draft.descriptors == kMaxDescriptors || !has_room()) break;
    const TxDescriptor* const raw = descriptor(ring);
    if (raw == nullptr) return stop(Fault::ring_unmapped);
    const auto cmd = static_cast<std::uint8_t>(tx_high::cmd::get(std::uint64_t{raw->high}));
    report_if_asked(ring, cmd, draft);
    ++draft.descriptors;
    advance(ring);
    if (!take(*raw, cmd, draft)) return false;
    if (!draft.is_done) continue;
    if (draft.length != 0 && !draft.is_too_long) {
      draft.slice_end = slice_count_;
      return true;
    }
    pass_over(draft);
  }
  hold(ring, draft);
  return false;
}

// Descriptors without an end: the part fetches what they hold into its transmit FIFO and reports them, and a driver may
// wait for that before it goes on; a frame may even have more descriptors than the ring. Frames in front go first.
void Transmitter::hold(const Ring& ring, const Draft& draft) noexcept {
  is_unfinished_ = pending_count_ > 0 || ring.left != 0;
  if (pending_count_ > 0 || draft.descriptors == 0) return;
  std::uint32_t at = draft.is_too_long ? 0 : draft.held;
  for (std::size_t i = draft.slice_begin + (draft.held != 0 ? 1 : 0); i < slice_count_; ++i) {
    std::memcpy(held_bytes_.get() + at, slices_[i].data(), slices_[i].size());
    at += static_cast<std::uint32_t>(slices_[i].size());
  }
  is_holding_ = draft.length != 0;
  held_ = draft;
  held_.held = at;
  held_.descriptors = held_.lost = held_.lost_segmented = 0;
  held_.immediate = held_.delayed = false;
  count_lost(draft.lost, draft.lost_segmented);
  contexts_[0] = {checksum_, segment_};
  Pending done;
  done.next_head = ring.head;
  done.write_back_end = static_cast<std::uint32_t>(write_back_count_);
  retire(done, draft.immediate, draft.delayed);
}

Transmitter::Draft Transmitter::begun() noexcept {
  Draft draft;
  if (is_holding_ && pending_count_ == 0) draft = held_;
  draft.slice_begin = slice_count_;
  if (draft.held != 0) slices_[slice_count_++] = packet::Slice{held_bytes_.get(), draft.held};
  return draft;
}

bool Transmitter::collect_other(Ring& ring, Draft& draft) noexcept {
  is_unfinished_ = !has_room();
  if (is_unfinished_) return false;
  draft = begun();
  if (!collect(ring, draft)) return false;
  if (std::exchange(context_changed_, false)) contexts_[++context_count_] = {checksum_, segment_};
  return true;
}

// Neither the frames' bytes are looked at here nor their number: they are asked for, and looked at when all have been.
std::size_t Transmitter::collect_burst(Ring& ring, std::size_t limit) noexcept {
  std::size_t count = 0;
  const auto note = [&](const Draft& draft) {
    Pending& pending = pending_[count];
    pending.next_head = ring.head;
    pending.write_back_end = static_cast<std::uint32_t>(write_back_count_);
    pending.immediate = draft.immediate;
    pending.delayed = draft.delayed;
    pending.contexts = static_cast<std::uint8_t>(context_count_);
    pending_count_ = ++count;
  };
  const auto collect_slowly = [&](Draft& draft) {
    if (!collect_other(ring, draft)) return false;
    if (draft.lost != 0) note_lost(count, draft.lost, draft.lost_segmented);
    return true;
  };
  forget_lost();
  if (is_holding_ && limit > 0) {
    if (!collect_slowly(drafts_[0])) return 0;
    note(drafts_[0]);
  }
  while (count < limit && ring.left != 0) {
    Draft& draft = drafts_[count];
    if (!collect_plain(ring, draft) && !collect_slowly(draft)) break;
    note(draft);
  }
  return count;
}

}  // namespace vmux::device::e1000

// SPDX-License-Identifier: BSD-3-Clause
#include "device/iavf/rx.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/logf.hpp"
#include "device/iavf/fault.hpp"
#include "packet/crc.hpp"
#include "vmux/memory/ordered.hpp"

namespace vmux::device::iavf {
namespace {

/// Calls `each` with the parts of `spans` that hold bytes [from, from + count).
template <class F>
void for_range(std::span<const std::span<std::byte>> spans, std::size_t from, std::size_t count, F&& each) noexcept {
  for (const std::span<std::byte> span : spans) {
    if (count == 0) return;
    if (from >= span.size()) {
      from -= span.size();
      continue;
    }
    const std::size_t part = std::min(count, span.size() - from);
    each(span.subspan(from, part));
    count -= part;
    from = 0;
  }
}

}  // namespace

bool RxQueue::stop(Fault fault) noexcept {
  state_.fault = fault;
  counters_.guest_fault.add();
  if (log_limit_.allow()) {
    logf(LogLevel::warning, "{}: receive queue {} stopped until it is enabled anew: {}", name_, index_, text_of(fault));
  }
  return false;
}

void RxQueue::enable() noexcept {
  state_.head = 0;
  state_.fault = Fault::none;
  state_.enabled = true;
  size_ = state_.config.wide ? kRxWide : kRxNarrow;
  next_ = 0;
  staged_count_ = 0;
  has_news_ = false;
}

void RxQueue::disable() noexcept {
  state_.enabled = false;
  has_news_ = false;
}

void RxQueue::restore(const QueueState<RxQueueConfig>& state) noexcept {
  enable();
  state_ = state;
  next_ = state.head;
  size_ = state.config.wide ? kRxWide : kRxNarrow;
}

std::uint32_t RxQueue::free() const noexcept {
  return tail_ >= next_ ? tail_ - next_ : tail_ + state_.config.length - next_;
}

std::size_t RxQueue::deliver(std::span<const packet::FrameView> frames, std::span<const RxInfo> infos,
                             const packet::Accepts& accepts, std::uint32_t tail) noexcept {
  if (!state_.enabled || is_stopped()) return 0;
  if (tail >= state_.config.length) return stop(Fault::ring_index) ? 1 : 0;
  tail_ = tail;
  frames_ = bytes_ = multicast_ = broadcast_ = 0;
  std::size_t taken = 0;
  while (taken < frames.size()) {
    if (staged_count_ >= kBurst) publish();
    const std::size_t plain = take_plain(frames.subspan(taken), infos.subspan(taken), accepts);
    taken += plain;
    if (plain == 0) {
      if (is_stopped() || !take_any(frames[taken], infos[taken], accepts)) break;
      ++taken;
    }
  }
  publish();
  counters_.frames.add(frames_);
  counters_.bytes.add(bytes_);
  if (multicast_ != 0) counters_.multicast.add(multicast_);
  if (broadcast_ != 0) counters_.broadcast.add(broadcast_);
  if (taken < frames.size()) counters_.dropped.add(frames.size() - taken);
  return taken;
}

bool RxQueue::is_plain(const packet::FrameView& view, const RxInfo& info,
                       const packet::Accepts& accepts) const noexcept {
  const packet::Offload& offload = view.offload;
  return !offload.needs_checksum && offload.gso == packet::Gso::none && (!offload.has_vlan || accepts.vlan) &&
         info.cut == 0 && view.length >= kMinFrame && view.length <= state_.config.buffer_size &&
         view.payload.size() <= 1 && view.length <= accepts.max_frame && !state_.config.keep_crc;
}

// The common case: frames that need one buffer and no finishing. Returns how many, from the front, up to the ring's
// end; the first that is anything else, or finds no buffer, is left to take_any().
std::size_t RxQueue::take_plain(std::span<const packet::FrameView> frames, std::span<const RxInfo> infos,
                                const packet::Accepts& accepts) noexcept {
  const std::size_t ready = std::min<std::size_t>(free(), state_.config.length - next_);
  const std::size_t limit = std::min({frames.size(), ready, kBurst - staged_count_});
  if (limit == 0) return 0;
  const packet::Slice ring =
      memory_.borrow(Iova{state_.config.ring.raw + std::uint64_t{next_} * size_}, ByteCount{limit * size_});
  if (ring.size() < limit * size_) return 0;
  std::array<std::byte*, kBurst> buffers;
  std::size_t count = 0;
  for (; count < limit && is_plain(frames[count], infos[count], accepts); ++count) {
    Le<std::uint64_t> at;  // the only read of this descriptor
    std::memcpy(&at, ring.data() + count * size_, sizeof at);
    const std::uint32_t length = frames[count].length;
    const auto room = memory_.borrow_for_write(Iova{at}, ByteCount{length});
    if (room.size() != length) break;
    buffers[count] = room.data();
    __builtin_prefetch(room.data(), 1);
  }
  for (std::size_t i = 0; i < count; ++i) {
    const packet::FrameView& view = frames[i];
    const std::size_t header = view.header.size();
    std::memcpy(buffers[i], view.header.data(), header);
    if (!view.payload.empty()) std::memcpy(buffers[i] + header, view.payload[0].data(), view.length - header);
    const std::span<std::byte> stored[] = {{buffers[i], view.length}};
    const Verdict verdict = verify(view.header, stored, infos[i], view.length, 0, 0, view.offload.checksum_verified);
    stage(whole(view.length, infos[i], verdict));
    this->count(view.length, infos[i]);
  }
  return count;
}

// One frame of whatever kind. False: no room, or the queue stopped.
bool RxQueue::take_any(const packet::FrameView& view, const RxInfo& info, const packet::Accepts& accepts) noexcept {
  packet::Pieces pieces{view, accepts};
  if (pieces.count() == 0) return true;  // nothing to take of what is not consistent
  const std::uint32_t inserted = view.offload.has_vlan && !accepts.vlan ? kTag : 0;
  bool is_first = true;
  while (const packet::Piece* piece = pieces.next()) {
    if (piece->length > accepts.max_frame) {
      counters_.dropped.add();
    } else if (!take_piece(pieces, *piece, info, inserted)) {
      if (!is_first) counters_.dropped.add();  // the caller counts a frame of which nothing was taken
      return !is_first;
    }
    is_first = false;
  }
  return true;
}

bool RxQueue::take_piece(packet::Pieces& pieces, const packet::Piece& piece, const RxInfo& info,
                         std::uint32_t inserted) noexcept {
  const std::uint32_t bare = piece.length - info.cut, length = std::max(bare, kMinFrame);
  if (staged_count_ + kMaxBuffers > staged_.size()) publish();
  Placement placement;
  const Placed placed = place(length + (state_.config.keep_crc ? kFcs : 0), placement);
  if (placed != Placed::yes) return false;
  const std::span<const std::span<std::byte>> stored{spans_.data(), placement.spans};
  if (info.cut == 0) {
    pieces.copy(stored);
  } else {  // the tags go to a place of their own
    std::array<std::byte, 2 * kTag> tags;
    std::array<std::span<std::byte>, kMaxSpans + 4> around;
    std::size_t parts = 0;
    const auto append = [&](std::span<std::byte> part) { around[parts++] = part; };
    for_range(stored, 0, kMacs, append);
    append(std::span{tags}.first(info.cut));
    for_range(stored, kMacs, length, append);
    pieces.copy(std::span{around}.first(parts));
  }
  if (bare < length) {
    for_range(stored, bare, length - bare, [](std::span<std::byte> part) { std::ranges::fill(part, std::byte{0}); });
  }
  const Verdict verdict =
      verify(piece.header, stored, info, piece.length, inserted, info.cut, piece.offload.checksum_verified);
  if (state_.config.keep_crc) store_fcs(stored, length);
  commit(placement, info, verdict);
  count(length, info);
  return true;
}

void RxQueue::store_fcs(std::span<const std::span<std::byte>> stored, std::uint32_t length) noexcept {
  packet::EthernetCrc crc;
  for_range(stored, 0, length, [&crc](std::span<std::byte> part) { crc.add(part); });
  const Le<std::uint32_t> fcs = crc.finish();
  packet::Slice bytes = std::as_bytes(std::span{&fcs, 1});
  for_range(stored, length, kFcs, [&bytes](std::span<std::byte> part) {
    std::memcpy(part.data(), bytes.data(), part.size());
    bytes = bytes.subspan(part.size());
  });
}

RxQueue::Placed RxQueue::place(std::uint32_t length, Placement& placement) noexcept {
  std::uint32_t index = next_;
  while (length > 0) {
    if (index == tail_) return Placed::no_room;
    if (placement.buffers == kMaxBuffers) {
      stop(Fault::frame_too_long);
      return Placed::stopped;
    }
    const auto at = memory_.fetch<Le<std::uint64_t>>(Iova{state_.config.ring.raw + std::uint64_t{index} * size_});
    if (!at) {
      stop(Fault::ring_unmapped);
      return Placed::stopped;
    }
    const std::uint32_t part = std::min<std::uint32_t>(length, state_.config.buffer_size);
    if (!add_buffer(Iova{*at}, part, placement)) {
      stop(Fault::buffer_unmapped);
      return Placed::stopped;
    }
    lengths_[placement.buffers++] = static_cast<std::uint16_t>(part);
    length -= part;
    index = index + 1 == state_.config.length ? 0 : index + 1;
  }
  return Placed::yes;
}

bool RxQueue::add_buffer(Iova at, std::uint32_t length, Placement& placement) noexcept {
  while (length > 0) {
    if (placement.spans == kMaxSpans) return false;
    const std::span<std::byte> span = memory_.borrow_for_write(at, ByteCount{length});
    if (span.empty()) return false;
    spans_[placement.spans++] = span;
    at.raw += span.size();
    length -= static_cast<std::uint32_t>(span.size());
  }
  return true;
}

void RxQueue::commit(const Placement& placement, const RxInfo& info, Verdict verdict) noexcept {
  for (std::size_t i = 0; i + 1 < placement.buffers; ++i)
    stage(partial(lengths_[i]));
  stage(whole(lengths_[placement.buffers - 1], info, verdict));
}

void RxQueue::count(std::uint32_t bytes, const RxInfo& info) noexcept {
  ++frames_;
  bytes_ += bytes;
  if ((info.flags & RxInfo::multicast) != 0) ++multicast_;
  if ((info.flags & RxInfo::broadcast) != 0) ++broadcast_;
}

void RxQueue::stage(const WriteBack& words) noexcept {
  staged_[staged_count_++] = words;
  next_ = next_ + 1 == state_.config.length ? 0 : next_ + 1;
}

// A buffer that is not a frame's last: the rest is told with the end.
RxQueue::WriteBack RxQueue::partial(std::uint32_t length) const noexcept {
  if (is_flexible())
    return {state_.config.rxdid | flex_low::length::set(std::uint64_t{0}, length), flex_status0::DD, 0, 0};
  return {0, rx_status::DD | rx_high::length::set(std::uint64_t{0}, length), 0, 0};
}

RxQueue::WriteBack RxQueue::whole(std::uint32_t length, const RxInfo& info, Verdict verdict) const noexcept {
  return is_flexible() ? flexible(length, info, verdict) : legacy(length, info, verdict);
}

RxQueue::WriteBack RxQueue::legacy(std::uint32_t length, const RxInfo& info, Verdict verdict) const noexcept {
  const auto has = [&info](unsigned flag) { return (info.flags & flag) != 0; };
  std::uint64_t status = rx_status::DD | rx_status::EOP | (state_.config.keep_crc ? rx_status::CRCP : 0);
  if (has(RxInfo::multicast)) status |= rx_status::MULTICAST;
  if (has(RxInfo::broadcast)) status |= rx_status::BROADCAST;
  if (has(RxInfo::has_tag1)) status |= rx_status::L2TAG1P;
  if (has(RxInfo::has_hash)) status |= rx_status::HASH;
  if (has(RxInfo::has_mark)) status |= rx_status::FLM;
  if (verdict.is_checked) status |= rx_status::L3L4P;
  const std::uint64_t errors = (verdict.is_ip_bad ? rx_error::IPE : 0) | (verdict.is_l4_bad ? rx_error::L4E : 0);
  WriteBack words;
  words[0] = std::uint64_t{info.l2tag1} << 16 | std::uint64_t{info.hash} << 32;
  words[1] = status | errors << 19 | std::uint64_t{info.ptype} << 30 | std::uint64_t{length} << 38;
  words[2] = (has(RxInfo::has_tag2) ? rx_extended::L2TAG2P : 0) | (has(RxInfo::has_mark) ? rx_extended::FD_ID : 0) |
             std::uint64_t{info.l2tag2} << 48;
  words[3] = std::uint64_t{info.mark} << 32;
  return words;
}

RxQueue::WriteBack RxQueue::flexible(std::uint32_t length, const RxInfo& info, Verdict verdict) const noexcept {
  const auto has = [&info](unsigned flag) { return (info.flags & flag) != 0; };
  const std::uint64_t cast = has(RxInfo::broadcast) ? 2 : has(RxInfo::multicast) ? 1 : 0;
  std::uint64_t status = flex_status0::DD | flex_status0::EOP | (state_.config.keep_crc ? flex_status0::CRCP : 0);
  if (has(RxInfo::has_tag1)) status |= flex_status0::L2TAG1P;
  if (has(RxInfo::has_hash)) status |= flex_status0::RSS_VALID;
  if (verdict.is_checked) status |= flex_status0::L3L4P;
  if (verdict.is_ip_bad) status |= flex_status0::IPE;
  if (verdict.is_l4_bad) status |= flex_status0::L4E;
  const std::uint64_t flow = has(RxInfo::has_mark) ? info.mark : kNoFlow;
  const bool swapped = state_.config.rxdid == rxdid::comms_ovs;
  WriteBack words;
  words[0] = state_.config.rxdid | cast << 14 | std::uint64_t{info.ptype} << 16 | std::uint64_t{length} << 32;
  words[1] = status | std::uint64_t{info.l2tag1} << 16 | (swapped ? flow : std::uint64_t{info.hash}) << 32;
  words[2] = (has(RxInfo::has_tag2) ? flex_status1::L2TAG2P : 0) | std::uint64_t{info.l2tag2} << 48;
  words[3] = swapped ? std::uint64_t{info.hash} : flow;
  return words;
}

// Everything staged becomes visible: last word last in each descriptor, descriptors in order.
void RxQueue::publish() noexcept {
  std::size_t done = 0;
  memory::publish_fence();  // the data is there before DD is
  while (done < staged_count_) {
    const std::size_t count = std::min<std::size_t>(staged_count_ - done, state_.config.length - state_.head);
    const Iova at{state_.config.ring.raw + std::uint64_t{state_.head} * size_};
    const auto ring = memory_.borrow_for_write(at, ByteCount{count * size_});
    const std::size_t fit = ring.size() / size_;
    if (fit == 0) {
      stop(Fault::ring_unmapped);
      break;
    }
    for (std::size_t i = 0; i < fit; ++i)
      write_back(ring.data() + i * size_, staged_[done + i]);
    done += fit;
    state_.head = static_cast<std::uint16_t>((state_.head + fit) % state_.config.length);
  }
  has_news_ = has_news_ || done > 0;
  staged_count_ = 0;
  next_ = state_.head;
}

// Words 2 and 3 first, DD last.
void RxQueue::write_back(std::byte* at, const WriteBack& words) const noexcept {
  auto* const to = reinterpret_cast<std::uint64_t*>(at);
  const auto put = [&](std::size_t word, int order) {
    const Le<std::uint64_t> value = words[word];
    __atomic_store_n(to + word, std::bit_cast<std::uint64_t>(value), order);
  };
  if (size_ == kRxWide) {
    put(2, __ATOMIC_RELAXED);
    put(3, __ATOMIC_RELAXED);
  }
  put(0, __ATOMIC_RELAXED);
  put(1, __ATOMIC_RELEASE);
}

bool RxQueue::flush() noexcept { return std::exchange(has_news_, false); }

}  // namespace vmux::device::iavf

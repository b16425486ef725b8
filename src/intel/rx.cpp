// SPDX-License-Identifier: BSD-3-Clause
#include "intel/rx.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/crc.hpp"
#include "base/logf.hpp"
#include "intel/fault.hpp"
#include "packet/spans.hpp"
#include "state/commit.hpp"
#include "vmux/memory/ordered.hpp"

namespace vmux::intel {
namespace {

constexpr std::size_t kLine = 64;          // bytes of a cache line
constexpr std::size_t kAhead = 2 * kLine;  // asked for in every buffer of a burst before the first copy

// Nothing is to be done to the bytes of such a frame, and they are in at most two pieces.
inline bool is_plain(const packet::FrameView& view, const RxInfo& info, bool takes_tag) noexcept {
  const packet::Offload& offload = view.offload;
  return !offload.needs_checksum && offload.gso == packet::Gso::none && (takes_tag || !offload.has_vlan) &&
         info.cut == 0 && view.payload.size() <= 1;
}

// Nobody has vouched for the transport checksum.
inline bool is_checked(const packet::FrameView& view, const RxInfo& info) noexcept {
  return info.l4 != 0 && !view.offload.checksum_verified;
}

// The next frame is asked for line by line by a copy that is our own, if that is long enough; else at once.
inline packet::Ahead look_ahead(const packet::FrameView& view, const RxInfo& info, const packet::FrameView& next,
                                std::byte* next_buffer) noexcept {
  if (is_checked(view, info) && info.protocol != kSctpNumber && !view.payload.empty() && !next.payload.empty() &&
      view.payload[0].size() >= next.payload[0].size()) {
    return {next.payload[0].data(), next_buffer + next.header.size(), next.payload[0].size()};
  }
  packet::prefetch_for_writing({next_buffer + kAhead, next.length - kAhead});
  return {};
}

// The headers that a view brings are nearly always of one of a few sizes: moves of a fixed size, which may overlap.
inline void copy_header(std::byte* to, packet::Slice from) noexcept {
  const std::size_t size = from.size();
  if (size == 2 * kLine) {
    std::memcpy(to, from.data(), 2 * kLine);
  } else if (size >= kLine && size < 2 * kLine) {
    std::memcpy(to, from.data(), kLine);
    if (size != kLine) std::memcpy(to + size - kLine, from.data() + size - kLine, kLine);
  } else if (size >= kLine / 2 && size < kLine) {
    std::memcpy(to, from.data(), kLine / 2);
    std::memcpy(to + size - kLine / 2, from.data() + size - kLine / 2, kLine / 2);
  } else {
    std::memcpy(to, from.data(), size);
  }
}

}  // namespace

bool RxQueue::stop(Fault fault) noexcept {
  state_.fault = fault;
  counters_.guest_fault.add();
  if (log_limit_.allow()) {
    logf(LogLevel::warning, "{}: receive queue {} stopped: {}", name_, index_, text_of(fault));
  }
  if (alarm_ != nullptr) alarm_->raise();
  return false;
}

void RxQueue::enable() noexcept {
  state_.head = 0;
  state_.fault = Fault::none;
  state_.enabled = true;
  size_ = state_.config.wide ? kRxWide : kRxNarrow;
  journal_.phase = RxJournal::none;
  next_ = 0;
  staged_count_ = 0;
  has_pending_ = false;
}

void RxQueue::disable() noexcept {
  state_.enabled = false;
  has_pending_ = false;
}

void RxQueue::restore(const QueueSnapshot<RxQueueConfig>& saved) noexcept {
  state_ = saved.state;  // nothing else, even for a moment: it may be what another process has left
  size_ = state_.config.wide ? kRxWide : kRxNarrow;
  next_ = state_.head;
  staged_count_ = 0;
  has_pending_ = saved.has_pending;
  set_totals(counters_, saved.totals);
}

std::uint32_t RxQueue::free() const noexcept {
  return tail_ >= next_ ? tail_ - next_ : tail_ + state_.config.length - next_;
}

std::size_t RxQueue::deliver(std::span<const packet::FrameView> frames, std::span<const RxInfo> infos,
                             const packet::Accepts& accepts, std::uint32_t tail) noexcept {
  if (!state_.enabled || is_stopped()) return 0;
  if (tail >= state_.config.length) return stop(Fault::ring_index) ? 1 : 0;
  tail_ = tail;
  totals_ = {};
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
  counters_.frames.add(totals_.frames);
  counters_.bytes.add(totals_.bytes);
  if (totals_.multicast != 0) counters_.multicast.add(totals_.multicast);
  if (totals_.broadcast != 0) counters_.broadcast.add(totals_.broadcast);
  if (taken < frames.size()) counters_.dropped.add(frames.size() - taken);
  return taken;
}

// The common case: frames that need one buffer and no finishing. Returns how many, from the front, up to the ring's
// end; the first that is anything else, or finds no buffer, is left to take_any().
std::size_t RxQueue::take_plain(std::span<const packet::FrameView> frames, std::span<const RxInfo> infos,
                                const packet::Accepts& accepts) noexcept {
  const std::size_t ready = std::min<std::size_t>(free(), state_.config.length - next_);
  const std::size_t limit = std::min({frames.size(), ready, kBurst - staged_count_});
  if (limit == 0 || state_.config.keep_crc) return 0;
  const packet::Slice ring =
      memory_.borrow(Iova{state_.config.ring.raw + std::uint64_t{next_} * size_}, ByteCount{limit * size_});
  if (ring.size() < limit * size_) return 0;
  const std::uint32_t longest = std::min<std::uint32_t>(accepts.max_frame, state_.config.buffer_size);
  std::array<std::byte*, kBurst> buffers;
  std::size_t count = 0;
  for (; count < limit && is_plain(frames[count], infos[count], accepts.vlan); ++count) {
    const std::uint32_t length = frames[count].length;
    if (length < kMinFrame || length > longest) break;
    Le<std::uint64_t> at;  // the only read of this descriptor
    std::memcpy(&at, ring.data() + count * size_, sizeof at);
    const auto room = memory_.borrow_for_write(Iova{at}, ByteCount{length});
    if (room.size() != length) break;
    buffers[count] = room.data();
    packet::prefetch_for_writing(room.first(std::min<std::size_t>(length, kAhead)));
  }
  // With short frames the driver is so near behind that taking its lines early costs more than it gives.
  if (count > 0 && frames[0].length > kAhead) ask_for_descriptors(next_ + count);
  // What does not change is kept where stores into the guest cannot be thought to change it.
  WriteBack* const out = journal_.words.data() + staged_count_;
  const std::uint8_t layout = state_.config.rxdid;
  Totals totals;
  for (std::size_t i = 0; i < count; ++i) {
    const packet::FrameView& view = frames[i];
    const RxInfo& info = infos[i];
    const std::uint32_t length = view.length;
    packet::Ahead ahead;  // the rest of the next one, while this one is copied
    if (i + 1 < count && frames[i + 1].length > kAhead) ahead = look_ahead(view, info, frames[i + 1], buffers[i + 1]);
    copy_header(buffers[i], view.header);
    const bool is_l4_bad = finish_plain(view, info, buffers[i], ahead);
    out[i] = rx_words::whole(layout, length, info, is_l4_bad);
    totals.add(length, info);
  }
  totals_.add(totals);
  staged_count_ += count;
  next_ = next_ + count == state_.config.length ? 0 : next_ + static_cast<std::uint32_t>(count);
  return count;
}

// The driver has written them on another core: those of the next burst are on their way while this one is copied.
inline void RxQueue::ask_for_descriptors(std::size_t from) noexcept {
  const std::size_t end = tail_ >= next_ ? tail_ : state_.config.length;
  if (from >= end) return;
  const Iova at{state_.config.ring.raw + std::uint64_t{from} * size_};
  const packet::Slice ring = memory_.borrow(at, ByteCount{std::min(end - from, kBurst / 2) * size_});
  for (std::size_t line = 0; line < ring.size(); line += kLine)
    __builtin_prefetch(ring.data() + line);
}

// What comes after the header: the payload, and a look at the checksum if nobody has vouched for it. True: it is wrong.
// A driver may have posted a buffer that is being sent from (two ports of one VM): the bytes are its own mess.
inline bool RxQueue::finish_plain(const packet::FrameView& view, const RxInfo& info, std::byte* stored,
                                  const packet::Ahead& ahead) noexcept {
  const bool checks = is_checked(view, info), is_sctp = info.protocol == kSctpNumber;
  if (!view.payload.empty()) {
    const packet::Slice payload = view.payload[0].first(view.length - view.header.size());
    std::byte* const to = stored + view.header.size();
    if (checks && !is_sctp) return !copy_and_verify(to, view.header, payload, info, ahead);
    std::memmove(to, payload.data(), payload.size());
  }
  if (!checks) return false;
  if (!is_sctp) return !is_short_transport_right(view.header, info);
  const std::span<std::byte> whole[] = {{stored, view.length}};
  return !is_transport_right(view.header, whole, info, view.length, 0, 0);
}

// One frame of whatever kind. False: no room, or the queue stopped.
bool RxQueue::take_any(const packet::FrameView& view, const RxInfo& info, const packet::Accepts& accepts) noexcept {
  packet::Pieces pieces{view, accepts};
  if (pieces.count() == 0) {  // nothing to take of what is not consistent
    counters_.dropped.add();
    return true;
  }
  const std::uint32_t inserted = view.offload.has_vlan && !accepts.vlan ? kTag : 0;
  RxInfo of_piece = info;
  if (view.offload.gso != packet::Gso::none) of_piece.flags &= static_cast<std::uint8_t>(~RxInfo::bad_ip);  // made anew
  bool is_first = true;
  while (const packet::Piece* piece = pieces.next()) {
    if (piece->length > accepts.max_frame) {
      counters_.dropped.add();
    } else if (!take_piece(pieces, *piece, of_piece, inserted)) {
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
  if (staged_count_ + kMaxBuffers > journal_.words.size()) publish();
  Placement placement;
  const Placed placed = place(length + (state_.config.keep_crc ? kFcs : 0), placement);
  if (placed != Placed::yes) return false;
  const std::span<const std::span<std::byte>> stored{spans_.data(), placement.spans};
  if (info.cut == 0) {
    pieces.copy(stored);
  } else {  // the tags go to a place of their own
    std::array<std::byte, std::size_t{2} * kTag> tags;
    std::array<std::span<std::byte>, kMaxSpans + 4> around;
    std::size_t parts = 0;
    const auto append = [&](std::span<std::byte> part) { around[parts++] = part; };
    packet::for_range(stored, 0, kMacs, append);
    append(std::span{tags}.first(info.cut));
    packet::for_range(stored, kMacs, length, append);
    pieces.copy(std::span{around}.first(parts));
  }
  if (bare < length) {
    packet::for_range(stored, bare, length - bare,
                      [](std::span<std::byte> part) { std::ranges::fill(part, std::byte{0}); });
  }
  const bool is_l4_bad = info.l4 != 0 && !piece.offload.checksum_verified &&
                         !is_transport_right(piece.header, stored, info, piece.length, inserted, info.cut);
  if (state_.config.keep_crc) store_fcs(stored, length);
  commit(placement, info, is_l4_bad);
  totals_.add(length, info);
  return true;
}

void RxQueue::store_fcs(std::span<const std::span<std::byte>> stored, std::uint32_t length) noexcept {
  EthernetCrc crc;
  packet::for_range(stored, 0, length, [&crc](std::span<std::byte> part) { crc.add(part); });
  const Le<std::uint32_t> fcs = crc.finish();
  packet::Slice bytes = std::as_bytes(std::span{&fcs, 1});
  packet::for_range(stored, length, kFcs, [&bytes](std::span<std::byte> part) {
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

void RxQueue::commit(const Placement& placement, const RxInfo& info, bool is_l4_bad) noexcept {
  for (std::size_t i = 0; i + 1 < placement.buffers; ++i)
    stage(partial(lengths_[i]));
  WriteBack last = rx_words::whole(state_.config.rxdid, lengths_[placement.buffers - 1], info, is_l4_bad);
  if (state_.config.keep_crc) last[1] |= is_flexible() ? flex_status0::CRCP : rx_status::CRCP;
  stage(last);
}

void RxQueue::stage(const WriteBack& words) noexcept {
  journal_.words[staged_count_++] = words;
  next_ = next_ + 1 == state_.config.length ? 0 : next_ + 1;
}

// A buffer that is not a frame's last: the rest is told with the end.
RxQueue::WriteBack RxQueue::partial(std::uint32_t length) const noexcept {
  if (is_flexible()) return {state_.config.rxdid | flex_low::length::set(std::uint64_t{0}, length), 0, 0, 0};
  return {0, rx_high::length::set(std::uint64_t{0}, length), 0, 0};
}

namespace {

template <std::uint32_t kSize, class F>
void for_each(std::span<const std::span<std::byte>> pieces, const RxWriteBack* words, F&& visit) noexcept {
  for (const std::span<std::byte> piece : pieces) {
    for (std::byte *at = piece.data(), *const end = at + piece.size(); at != end; at += kSize)
      visit(at, *words++);
  }
}

using Visit = void(std::byte* at, const RxWriteBack& words);

template <Visit* kWide, Visit* kNarrow>
void visit_all(std::span<const std::span<std::byte>> pieces, std::uint32_t size, const RxWriteBack* words) noexcept {
  if (size == kRxWide) return for_each<kRxWide>(pieces, words, [](auto* at, auto& each) { kWide(at, each); });
  for_each<kRxNarrow>(pieces, words, [](auto* at, auto& each) { kNarrow(at, each); });
}

inline void finish_again(std::byte* at, const RxWriteBack& words) noexcept {
  if (rx_words::is_prepared(at, words)) rx_words::finish(at, words);
}

constexpr auto* prepare_all = visit_all<rx_words::prepare<kRxWide>, rx_words::prepare<kRxNarrow>>;
constexpr auto* finish_all = visit_all<rx_words::finish, rx_words::finish>;
constexpr auto* finish_all_again = visit_all<finish_again, finish_again>;

}  // namespace

RxQueue::Pieces RxQueue::find(std::uint32_t first, std::size_t count) noexcept {
  Pieces found;
  while (found.count < count && found.used < Pieces::kMost) {
    const std::size_t run = std::min<std::size_t>(count - found.count, state_.config.length - first);
    const auto ring =
        memory_.borrow_for_write(Iova{state_.config.ring.raw + std::uint64_t{first} * size_}, ByteCount{run * size_});
    const std::size_t fit = ring.size() / size_;
    if (fit == 0) break;
    found.all[found.used++] = ring.first(fit * size_);
    found.count += fit;
    first = static_cast<std::uint32_t>((first + fit) % state_.config.length);
  }
  return found;
}

// Everything staged becomes visible: the word with DD last in each descriptor, descriptors in order.
void RxQueue::publish() noexcept {
  std::size_t done = 0;
  memory::publish_fence();  // the data is there before DD is
  while (done < staged_count_) {
    const std::size_t count = publish_from(done);
    if (count == 0) {
      stop(Fault::ring_unmapped);
      break;
    }
    done += count;
  }
  has_pending_ = has_pending_ || done > 0;
  staged_count_ = 0;
  next_ = state_.head;
}

// See queue_journal.hpp. All at once, but for a ring that lies in more pieces than any does.
std::size_t RxQueue::publish_from(std::size_t done) noexcept {
  const Pieces pieces = find(state_.head, staged_count_ - done);
  if (pieces.count == 0) return 0;
  const auto all = std::span{pieces.all}.first(pieces.used);
  const RxWriteBack* const words = journal_.words.data() + done;
  journal_.first = state_.head;
  journal_.count = static_cast<std::uint16_t>(pieces.count);
  journal_.from = static_cast<std::uint16_t>(done);
  state::commit(journal_.phase, std::uint8_t{RxJournal::taking});
  state::commit(state_.head, static_cast<std::uint16_t>((state_.head + pieces.count) % state_.config.length));
  prepare_all(all, size_, words);
  state::commit(journal_.phase, std::uint8_t{RxJournal::telling});
  finish_all(all, size_, words);
  state::commit(journal_.phase, std::uint8_t{RxJournal::none});
  return pieces.count;
}

bool RxQueue::can_take_over() const noexcept {
  if (journal_.phase == RxJournal::none || !state_.enabled) return true;
  return journal_.phase <= RxJournal::telling && journal_.first < state_.config.length &&
         journal_.count < state_.config.length && journal_.from <= journal_.words.size() &&
         journal_.count <= journal_.words.size() - journal_.from;
}

void RxQueue::take_over() noexcept {
  const bool has_moved = journal_.phase == RxJournal::telling || state_.head != journal_.first;
  size_ = state_.config.wide ? kRxWide : kRxNarrow;
  if (journal_.phase != RxJournal::none && state_.enabled && !is_stopped() && has_moved) {
    const Pieces pieces = find(journal_.first, journal_.count);
    if (pieces.count < journal_.count) stop(Fault::ring_unmapped);
    const auto all = std::span{pieces.all}.first(pieces.used);
    const RxWriteBack* const words = journal_.words.data() + journal_.from;
    memory::publish_fence();
    if (journal_.phase == RxJournal::taking) prepare_all(all, size_, words);
    state::commit(journal_.phase, std::uint8_t{RxJournal::telling});
    finish_all_again(all, size_, words);
  }
  state::commit(journal_.phase, std::uint8_t{RxJournal::none});
}

bool RxQueue::flush() noexcept { return std::exchange(has_pending_, false); }

}  // namespace vmux::intel

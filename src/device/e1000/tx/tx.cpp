// SPDX-License-Identifier: BSD-3-Clause
#include "device/e1000/tx/tx.hpp"

#include <algorithm>
#include <cstring>

#include "base/logf.hpp"
#include "state/commit.hpp"

namespace vmux::device::e1000 {
namespace {

constexpr const char* kFaultText[] = {
    "none",
    "descriptor ring outside guest memory",
    "buffer outside guest memory",
};

}  // namespace

bool Transmitter::stop(Fault fault) noexcept {
  state_.tx_fault = fault;
  counters_.tx_guest_fault.add();
  if (log_limit_.allow()) {
    logf(LogLevel::warning, "{}: transmit stopped until a reset: {}", name_, kFaultText[static_cast<unsigned>(fault)]);
  }
  return false;
}

void Transmitter::enable() noexcept {
  journal_.is_open = 0;
  state_.tx_fault = Fault::none;
  state_.tx_head = static_cast<std::uint16_t>(registers_.get(reg::TDH));
  pending_count_ = fetched_count_ = 0;
  is_holding_ = false;
  lap_tail_ = kNoTail;
}

void Transmitter::reset() noexcept {
  journal_.is_open = 0;
  state_.tx_fault = Fault::none;
  state_.tx_head = 0;
  state_.tx_short_ring = 0;
  state_.checksum_context = state_.segment_context = {};
  pending_count_ = fetched_count_ = 0;
  is_holding_ = is_unfinished_ = false;
  lap_tail_ = kNoTail;
}

// Descriptors between the two. A tail beyond the ring is never reached: the part would go on sending what it has sent.
// Here, as in other models of this card, a doorbell is good for once around.
std::uint32_t Transmitter::distance(std::uint32_t head, std::uint32_t tail) const noexcept {
  if (tail >= ring_count_) return lap_left_;
  return tail >= head ? tail - head : tail + ring_count_ - head;
}

bool Transmitter::open_ring(Ring& ring) noexcept {
  const std::uint32_t tail = registers_.get(reg::TDT) & 0xffff;
  // A driver may set TDH without a trap: what we published is no longer there then.
  ring.head = registers_.get(reg::TDH) & 0xffff;
  state_.tx_head = static_cast<std::uint16_t>(ring.head);
  if (ring.head == tail) return false;
  ring.base = (std::uint64_t{registers_.get(reg::TDBAH)} << 32) | (registers_.get(reg::TDBAL) & ~0xfu);
  ring.count = ring_length(registers_.get(reg::TDLEN), state_.tx_short_ring);
  if (ring.count == 0) return false;
  if (ring.head >= ring.count) ring.head = state_.tx_head = 0;  // the ring ends there
  ring_base_ = ring.base;
  ring_count_ = ring.count;
  if (tail < ring.count) {
    lap_tail_ = kNoTail;
  } else if (tail != lap_tail_) {
    lap_tail_ = tail;
    lap_left_ = ring.count;
  }
  ring.left = distance(ring.head, tail);
  return ring.left != 0;
}

void Transmitter::build_plain(const Draft& draft, std::size_t slot, packet::FrameView& view) noexcept {
  auto& room = headers_[slot];
  packet::Slice& slice = slices_[draft.slice_begin];
  if (draft.length >= kUsualHeader) {
    std::memcpy(room.data(), slice.data(), kUsualHeader);
  } else {
    std::memcpy(room.data(), slice.data(), draft.length);
  }
  std::uint32_t header_size = std::min(draft.length, kUsualHeader);
  view.length = draft.length;
  view.offload = {};
  slice = slice.subspan(header_size);
  view.payload = slice.empty() ? std::span<const packet::Slice>{} : std::span<const packet::Slice>{&slice, 1};
  if (view.length < kMinFrame && tctl::psp::is_set(registers_.get(reg::TCTL))) {
    std::memset(room.data() + view.length, 0, kMinFrame - view.length);
    view.length = header_size = kMinFrame;
  }
  view.header = packet::Slice{room}.first(header_size);
}

void Transmitter::account(const packet::FrameView& view, Pending& pending) const noexcept {
  const std::uint32_t tag = view.offload.has_vlan ? 4 : 0;
  pending.segments = 1;
  pending.octets = view.length + tag;
  pending.first_size = pending.last_size = view.length + tag + kFcs;
  if (view.offload.gso != packet::Gso::none) {
    const std::uint32_t head = view.offload.header_length + tag;
    const std::uint32_t payload = view.length - view.offload.header_length;
    pending.segments = (payload + view.offload.gso_size - 1) / view.offload.gso_size;
    pending.octets = payload + std::uint64_t{pending.segments} * head;
    pending.first_size = head + view.offload.gso_size + kFcs;
    pending.last_size = head + payload - (pending.segments - 1) * view.offload.gso_size + kFcs;
  }
  const bool multicast = !view.header.empty() && (std::to_integer<unsigned>(view.header[0]) & 1) != 0;
  pending.is_broadcast =
      multicast && view.header.size() >= 6 &&
      std::all_of(view.header.begin(), view.header.begin() + 6, [](std::byte b) { return b == std::byte{0xff}; });
  pending.is_multicast = multicast && !pending.is_broadcast;
}

// A frame that its context does not fit: its descriptors are done with those of the frame behind it or, when there is
// none, with the next burst; at once when it is alone. False: the burst ends in front of it.
bool Transmitter::lose(std::size_t index, std::size_t& count) noexcept {
  Pending lost = pending_[index];
  ++lost.lost;
  lost.lost_segmented += drafts_[index].is_segmented ? 1 : 0;
  const bool is_last = index + 1 == count, is_alone = is_last && index == 0;
  if (is_last) is_unfinished_ = true;
  if (is_alone) {
    is_holding_ = false;
    count_lost(lost.lost, lost.lost_segmented);
    retire(lost, lost.immediate, lost.delayed);
  }
  if (is_last) return false;
  std::copy(pending_.data() + index + 1, pending_.data() + count, pending_.data() + index);
  std::copy(drafts_.data() + index + 1, drafts_.data() + count, drafts_.data() + index);
  pending_[index].immediate |= lost.immediate;
  pending_[index].delayed |= lost.delayed;
  note_lost(index, lost.lost, lost.lost_segmented);
  --count;
  return true;
}

std::size_t Transmitter::build_burst(std::span<packet::FrameView> into, std::size_t count) noexcept {
  std::size_t built = 0;
  while (built < count) {
    const Draft& draft = drafts_[built];
    Pending& pending = pending_[built];
    packet::FrameView& view = into[built];
    if (draft.is_plain) {
      build_plain(draft, built, view);
    } else {
      checksum_ = contexts_[pending.contexts].checksum;
      segment_ = contexts_[pending.contexts].segment;
      if (!build(draft, built, view)) {
        if (!lose(built, count)) break;
        continue;
      }
    }
    account(view, pending);
    ++built;
  }
  return built;
}

std::size_t Transmitter::peek(std::span<packet::FrameView> into) noexcept {
  Ring ring;
  pending_count_ = 0;
  is_unfinished_ = false;
  if (state_.tx_fault != Fault::none || !open_ring(ring)) return 0;
  slice_count_ = write_back_count_ = context_count_ = 0;
  fetched_count_ = 0;
  checksum_ = state_.checksum_context;
  segment_ = state_.segment_context;
  contexts_[0] = {checksum_, segment_};
  context_changed_ = false;
  const std::size_t count = collect_burst(ring, std::min(into.size(), pending_.size()));
  return pending_count_ = build_burst(into, count);
}

// They are counted when `index` is done, for until then its burst may be looked at again. Mostly there are none: then
// nobody writes those fields, which are 0.
void Transmitter::note_lost(std::size_t index, std::uint32_t frames, std::uint32_t segmented) noexcept {
  has_lost_ = true;
  pending_[index].lost += frames;
  pending_[index].lost_segmented += segmented;
}

void Transmitter::forget_lost() noexcept {
  if (!std::exchange(has_lost_, false)) return;
  for (Pending& pending : pending_)
    pending.lost = pending.lost_segmented = 0;
}

// Not sent, and nobody is told but by counters. 13.7.57 counts segmentation that ends other than it should.
void Transmitter::count_lost(std::uint32_t frames, std::uint32_t segmented) noexcept {
  if (frames == 0) return;
  counters_.tx_lost.add(frames);
  registers_.count(reg::TSCTFC, segmented);
}

void Transmitter::count_sent(std::span<const Pending> frames) noexcept {
  std::uint32_t segments = 0;
  std::uint64_t octets = 0;  // without FCS
  for (const Pending& pending : frames) {
    segments += pending.segments;
    octets += pending.octets;
    if (pending.segments > 1) {
      registers_.count(reg::TSCTC);
      registers_.count(size_class(reg::PTC64, pending.first_size), pending.segments - 1);
    }
    registers_.count(size_class(reg::PTC64, pending.last_size));
    if (pending.is_multicast) registers_.count(reg::MPTC, pending.segments);
    if (pending.is_broadcast) registers_.count(reg::BPTC, pending.segments);
  }
  registers_.count(reg::GPTC, segments);
  registers_.count(reg::TPT, segments);
  registers_.count_octets(reg::GOTCL, octets + std::uint64_t{kFcs} * segments);
  registers_.count_octets(reg::TOTL, octets + std::uint64_t{kFcs} * segments);
  counters_.tx_frames.add(segments);
  counters_.tx_bytes.add(octets);
}

void Transmitter::complete(std::size_t count) noexcept {
  count = std::min(count, pending_count_);
  if (count == 0) return;
  bool immediate = false, delayed = false;
  count_sent(std::span{pending_}.first(count));
  for (std::size_t i = 0; i < count; ++i) {
    immediate = immediate || pending_[i].immediate;
    delayed = delayed || pending_[i].delayed;
  }
  if (has_lost_) [[unlikely]] {
    for (std::size_t i = 0; i < count; ++i)
      count_lost(pending_[i].lost, pending_[i].lost_segmented);
  }
  pending_count_ = 0;
  is_holding_ = false;  // that was the first of them
  retire(pending_[count - 1], immediate, delayed);
}

// The descriptors up to those of `last` are done. TDH is the commit: see journals.hpp.
void Transmitter::retire(const Pending& last, bool immediate, bool delayed) noexcept {
  memory::publish_fence();  // payload was read before a driver may see DD and reuse it
  const std::uint32_t before = distance(state_.tx_head, registers_.get(reg::TDT) & 0xffff);
  // Back at the same place is once around: something was done.
  const std::uint32_t done =
      last.next_head > state_.tx_head ? last.next_head - state_.tx_head : last.next_head + ring_count_ - state_.tx_head;
  journal_.before = state_.tx_head;
  journal_.count = static_cast<std::uint16_t>(last.write_back_end);
  journal_.told = 0;
  journal_.checksum = contexts_[last.contexts].checksum;
  journal_.segment = contexts_[last.contexts].segment;
  state::commit(journal_.is_open, std::uint8_t{1});
  registers_.set(reg::TDH, last.next_head);
  state::commit_fence();
  state_.tx_head = static_cast<std::uint16_t>(last.next_head);
  report();
  if (lap_tail_ != kNoTail) lap_left_ -= std::min(lap_left_, done);
  if (!interrupts_.is_transmit_waiting()) unreported_ = 0;
  unreported_ += done;
  // A driver that gets no word runs out of descriptors: report at once when a quarter of them waits for it.
  raise_causes(before, immediate || (delayed && 4 * unreported_ >= ring_count_), delayed);
}

// What is to be told of a burst that counts.
void Transmitter::report() noexcept {
  state_.checksum_context = journal_.checksum;
  state_.segment_context = journal_.segment;
  for (std::uint16_t i = journal_.told; i < journal_.count; ++i) {
    const Iova at{ring_base_ + std::uint64_t{journal_.reports[i]} * kDescriptorSize + kTxStatusAt};
    if (!memory_.store(at, kTxStatusDd)) {
      stop(Fault::ring_unmapped);
      break;
    }
    state::commit(journal_.told, static_cast<std::uint16_t>(i + 1));
  }
  state::commit(journal_.is_open, std::uint8_t{0});
}

bool Transmitter::can_take_over() const noexcept {
  if (journal_.is_open == 0) return true;
  const std::uint32_t length = ring_length(registers_.get(reg::TDLEN), state_.tx_short_ring);
  if (journal_.count > journal_.reports.size() || journal_.told > journal_.count) return false;
  const auto reports = std::span{journal_.reports}.first(journal_.count);
  return std::all_of(reports.begin(), reports.end(), [length](std::uint16_t each) { return each < length; });
}

void Transmitter::taken_over() noexcept {
  const bool has_moved = (registers_.get(reg::TDH) & 0xffff) != journal_.before;
  if (journal_.is_open != 0 && has_moved && state_.tx_fault == Fault::none) {
    ring_base_ = (std::uint64_t{registers_.get(reg::TDBAH)} << 32) | (registers_.get(reg::TDBAL) & ~0xfu);
    report();
  }
  state::commit(journal_.is_open, std::uint8_t{0});
}

void Transmitter::raise_causes(std::uint32_t before, bool immediate, bool delayed) noexcept {
  const std::uint32_t left = distance(state_.tx_head, registers_.get(reg::TDT) & 0xffff);
  std::uint32_t causes = left == 0 ? icr::TXQE : 0;
  // 13.4.43: when the number of descriptors goes from above the threshold, in units of eight, to it. With a threshold
  // of 0 the part raises it when its descriptor cache runs empty, other models never do: TXQE says the same.
  const std::uint32_t low = txdctl::lwthresh::get(registers_.get(reg::TXDCTL)) * 8;
  if (low != 0 && before > low && left <= low) causes |= icr::TXD_LOW;
  if (causes != 0) interrupts_.raise(causes);
  if (immediate || delayed) interrupts_.transmit_done(immediate, delayed);
}

}  // namespace vmux::device::e1000

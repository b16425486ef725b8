// SPDX-License-Identifier: BSD-3-Clause
#include "intel/tx.hpp"

#include <algorithm>
#include <cstring>

#include "base/logf.hpp"
#include "intel/fault.hpp"
#include "packet/transfer.hpp"
#include "state/commit.hpp"
#include "vmux/memory/ordered.hpp"

namespace vmux::intel {
namespace {

constexpr std::uint32_t kUsualHeader = 128;  // bytes: Ethernet, two tags, IPv6 and TCP with options fit
constexpr std::uint32_t kShort = 64;         // bytes: frames up to here are all header
constexpr std::uint32_t kLongest = kMaxFrameWithFcs - kFcs;
constexpr std::uint32_t kLongestSuperFrame = 1u << 18;  // TLEN has 18 bits

// All of type and command that a descriptor of a plain frame has in common: data, EOP, nothing to be done. RS and ICRC
// (which says that the device makes the FCS) do not matter.
constexpr std::uint64_t kPlainMask =
    tx_high::dtype::kMask | (tx_high::cmd::kMask & ~(std::uint64_t{tx_cmd::RS | tx_cmd::ICRC} << 4));
constexpr std::uint64_t kPlain = std::uint64_t{tx_cmd::EOP} << 4;
constexpr std::uint64_t kReportWanted = std::uint64_t{tx_cmd::RS} << 4;

bool is_broadcast(packet::Slice header) noexcept {
  return std::all_of(header.begin(), header.begin() + 6, [](std::byte b) { return b == std::byte{0xff}; });
}

}  // namespace

bool TxQueue::stop(Fault fault) noexcept {
  state_.fault = fault;
  counters_.guest_fault.add();
  if (log_limit_.allow()) {
    logf(LogLevel::warning, "{}: transmit queue {} stopped: {}", name_, index_, text_of(fault));
  }
  if (alarm_ != nullptr) alarm_->raise();
  return false;
}

void TxQueue::enable() noexcept {
  journal_.is_open = 0;
  state_.head = 0;
  state_.fault = Fault::none;
  state_.enabled = true;
  count_ = 0;
}

void TxQueue::disable() noexcept {
  state_.enabled = false;
  count_ = 0;
}

void TxQueue::restore(const QueueSnapshot<TxQueueConfig>& saved) noexcept {
  state_ = saved.state;
  count_ = 0;
  set_totals(counters_, saved.totals);
}

std::size_t TxQueue::peek(std::span<packet::FrameView> into, std::uint32_t tail, const VlanOffload& vlan) noexcept {
  count_ = 0;
  if (tail == state_.head || !state_.enabled || is_stopped()) return 0;
  if (tail >= state_.config.length) return stop(Fault::ring_index) ? 1 : 0;
  into = into.first(std::min(into.size(), kBurst));
  slice_count_ = long_count_ = 0;
  fetched_count_ = 0;
  so_far_ = {.head = state_.head};
  while (count_ < into.size() && so_far_.head != tail) {
    const auto raws = descriptors(so_far_.head, tail);
    if (raws.empty()) break;
    const std::size_t plain = take_plain(raws, into.subspan(count_));
    if (plain == 0 && !take_any(tail, vlan, into[count_])) break;
  }
  return count_;
}

// The descriptors from `head` on that have been or can be read at once: up to the tail or the ring's end.
std::span<const TxDescriptor> TxQueue::descriptors(std::uint32_t head, std::uint32_t tail) noexcept {
  if (head - fetched_first_ < fetched_count_) {
    return std::span{fetched_}.first(fetched_count_).subspan(head - fetched_first_);
  }
  const std::uint32_t ready = head <= tail ? tail - head : state_.config.length - head;
  fetched_first_ = head;
  fetched_count_ = std::min<std::uint32_t>(ready, kFetch);
  const std::span<TxDescriptor> raws{fetched_.data(), fetched_count_};
  const Iova at{state_.config.ring.raw + std::uint64_t{head} * kTxDescriptorSize};
  if (!memory_.read(at, std::as_writable_bytes(raws))) {  // the only read of these descriptors
    fetched_count_ = 0;
    stop(Fault::ring_unmapped);
    return {};
  }
  return raws;
}

// The common case: frames of one buffer with nothing to be done. Returns how many, from the front; the first that is
// anything else, or not as it should be, is left to take_any().
std::size_t TxQueue::take_plain(std::span<const TxDescriptor> raws, std::span<packet::FrameView> into) noexcept {
  const std::size_t limit = std::min(raws.size(), into.size());
  std::array<const std::byte*, kBurst> sources;
  std::size_t count = 0;
  for (; count < limit; ++count) {
    const std::uint64_t high = raws[count].high;
    const auto length = static_cast<std::uint32_t>(tx_high::buffer_size::get(high));
    if ((high & kPlainMask) != kPlain || length < kMinFrame || length > kLongest) break;
    const packet::Slice bytes = memory_.borrow(Iova{raws[count].low}, ByteCount{length});
    if (bytes.size() != length) break;
    sources[count] = bytes.data();
    __builtin_prefetch(bytes.data());
    __builtin_prefetch(bytes.data() + kShort);
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t high = raws[i].high;
    const auto length = static_cast<std::uint32_t>(tx_high::buffer_size::get(high));
    auto& room = headers_[count_ + i];
    packet::FrameView& view = into[i];
    view.offload = {};
    view.length = length;
    if (length < kUsualHeader) {  // two moves of a fixed size that may overlap
      if (length < kShort) {
        std::memcpy(room.data(), sources[i], kShort / 2);
        std::memcpy(room.data() + length - kShort / 2, sources[i] + length - kShort / 2, kShort / 2);
      } else {
        std::memcpy(room.data(), sources[i], kShort);
        if (length > kShort) std::memcpy(room.data() + length - kShort, sources[i] + length - kShort, kShort);
      }
      view.header = packet::Slice{room.data(), length};
      view.payload = {};
    } else {
      std::memcpy(room.data(), sources[i], kUsualHeader);
      slices_[slice_count_] = {sources[i] + kUsualHeader, length - kUsualHeader};
      view.header = packet::Slice{room.data(), kUsualHeader};
      view.payload = std::span{slices_}.subspan(slice_count_++, length == kUsualHeader ? 0 : 1);
    }
    so_far_.bytes += length;
    if ((std::to_integer<unsigned>(room[0]) & 1) != 0) ++(is_broadcast(room) ? so_far_.broadcast : so_far_.multicast);
    ++so_far_.frames;
    if ((high & kReportWanted) != 0) journal_.reports[so_far_.reports++] = so_far_.head;
    so_far_.head =
        so_far_.head + 1u == state_.config.length ? std::uint16_t{0} : static_cast<std::uint16_t>(so_far_.head + 1);
    peeked_[count_ + i] = so_far_;
  }
  count_ += count;
  return count;
}

// One frame of whatever kind. False: there is none, not yet or not ever.
bool TxQueue::take_any(std::uint32_t tail, const VlanOffload& vlan, packet::FrameView& view) noexcept {
  const Peeked before = so_far_;
  const std::size_t slices_before = slice_count_;
  Draft draft;
  draft.first_slice = slice_count_;
  if (!collect(tail, draft) || !build(draft, vlan, view)) {
    so_far_ = before;
    slice_count_ = slices_before;
    return false;
  }
  account(view);
  programs_[count_] = draft.program;
  peeked_[count_++] = so_far_;
  return true;
}

bool TxQueue::collect(std::uint32_t tail, Draft& draft) noexcept {
  while (so_far_.head != tail) {
    if (draft.descriptors == kMaxDescriptors) return stop(Fault::frame_too_long);
    if (so_far_.reports + kBurst >= kReportRoom) return count_ > 0 ? false : stop(Fault::frame_too_long);
    const auto raws = descriptors(so_far_.head, tail);
    if (raws.empty()) return false;
    const TxDescriptor raw = raws.front();
    const std::uint64_t high = raw.high;
    const bool is_data = tx_high::dtype::get(high) == tx_type::data;
    if (is_data && (high & kReportWanted) != 0) journal_.reports[so_far_.reports++] = so_far_.head;
    so_far_.head =
        so_far_.head + 1u == state_.config.length ? std::uint16_t{0} : static_cast<std::uint16_t>(so_far_.head + 1);
    ++draft.descriptors;
    if (!take(raw, draft)) return false;
    if (draft.is_done) return true;
  }
  // Every descriptor the ring can hold, and still no end: the tail can never move again.
  if (draft.descriptors + 1u >= state_.config.length) return stop(Fault::frame_too_long);
  return false;
}

bool TxQueue::take(const TxDescriptor& raw, Draft& draft) noexcept {
  const std::uint64_t low = raw.low, high = raw.high;
  const std::uint64_t type = tx_high::dtype::get(high);
  if (type == tx_type::context) {
    if (draft.has_data) return stop(Fault::bad_descriptor);
    draft.request.context_low = low;
    draft.request.context_high = high;
    draft.request.has_context = true;
    return true;
  }
  if (type == tx_type::flow_program && state_.config.programs_flows && !draft.has_data) {
    draft.program = {low, high};
    return true;
  }
  if (type != tx_type::data) return stop(Fault::bad_descriptor);
  if (!draft.has_data) {  // what is to be done is said by the first
    draft.has_data = true;
    draft.request.data_high = high;
  }
  draft.is_done = (tx_high::cmd::get(high) & tx_cmd::EOP) != 0;
  return add_buffer(Iova{low}, static_cast<std::uint32_t>(tx_high::buffer_size::get(high)), draft);
}

bool TxQueue::add_buffer(Iova at, std::uint32_t length, Draft& draft) noexcept {
  if (length == 0) return stop(Fault::bad_descriptor);
  draft.length += length;
  if (draft.length > (draft.request.is_segmented() ? kLongestSuperFrame : kLongest)) return stop(Fault::frame_too_long);
  while (length > 0) {
    // Room for one slice of each plain frame of the burst is kept.
    if (slice_count_ + kBurst >= kSliceRoom) return count_ > 0 ? false : stop(Fault::frame_too_long);
    const packet::Slice slice = memory_.borrow(at, ByteCount{length});
    if (slice.empty()) return stop(Fault::buffer_unmapped);
    slices_[slice_count_++] = slice;
    at.raw += slice.size();
    length -= static_cast<std::uint32_t>(slice.size());
  }
  return true;
}

// Room for this many bytes and two tags; empty when the burst has no more.
std::span<std::byte> TxQueue::header_room(std::uint32_t header_size) noexcept {
  if (header_size + 2 * kTag <= packet::kHeaderRoom) return headers_[count_];
  if (long_count_ == kLongHeaders) return {};
  return long_headers_[long_count_++];
}

bool TxQueue::build(const Draft& draft, const VlanOffload& vlan, packet::FrameView& view) noexcept {
  const std::uint32_t header_size = std::min(std::max(kUsualHeader, header_length(draft.request)), draft.length);
  const std::span<std::byte> room = header_room(header_size);
  if (room.empty()) return false;  // the next burst begins with it
  std::size_t first = draft.first_slice, copied = 0;
  while (copied < header_size) {  // the only look at these bytes
    packet::Slice& slice = slices_[first];
    const std::size_t part = std::min<std::size_t>(slice.size(), header_size - copied);
    std::memcpy(room.data() + copied, slice.data(), part);
    copied += part;
    slice = slice.subspan(part);
    if (slice.empty()) ++first;
  }
  view = packet::FrameView{};
  view.length = draft.length;
  view.header = packet::Slice{room.data(), header_size};
  view.payload = std::span{slices_}.subspan(first, slice_count_ - first);
  const Outcome outcome = apply(draft.request, vlan, room, view);
  if (outcome != Outcome::done) note_error(outcome);
  if (outcome == Outcome::lost) {
    view = packet::FrameView{};
    view.header = packet::Slice{room.data(), 0};
    return true;
  }
  if (view.length < kMinFrame) {
    std::memset(room.data() + view.length, 0, kMinFrame - view.length);
    view.length = kMinFrame;
    view.header = packet::Slice{room.data(), kMinFrame};
  }
  return true;
}

void TxQueue::note_error(Outcome outcome) noexcept {
  ++so_far_.errors;
  if (!log_limit_.allow()) return;
  logf(LogLevel::warning, "{}: transmit queue {}: {}", name_, index_,
       outcome == Outcome::lost ? "a frame lost, whose headers are not what its descriptors say"
                                : "a frame sent as it is, whose headers are not where its descriptors say");
}

void TxQueue::account(const packet::FrameView& view) noexcept {
  if (view.length == 0) return;
  const std::uint32_t tag = view.offload.has_vlan ? kTag : 0;
  std::uint32_t frames = 1, bytes = view.length + tag;
  if (view.offload.gso != packet::Gso::none) {
    const std::uint32_t payload = view.length - view.offload.header_length;
    frames = std::max(1u, (payload + view.offload.gso_size - 1) / view.offload.gso_size);
    bytes = payload + frames * (view.offload.header_length + tag);
  }
  so_far_.frames += frames;
  so_far_.bytes += bytes;
  if ((std::to_integer<unsigned>(view.header[0]) & 1) != 0) {
    (is_broadcast(view.header) ? so_far_.broadcast : so_far_.multicast) += frames;
  }
}

bool TxQueue::complete(std::size_t count) noexcept {
  count = std::min(count, count_);
  if (count == 0) return false;
  const Peeked& done = peeked_[count - 1];
  counters_.frames.add(done.frames);
  counters_.bytes.add(done.bytes);
  if (done.multicast != 0) counters_.multicast.add(done.multicast);
  if (done.broadcast != 0) counters_.broadcast.add(done.broadcast);
  if (done.errors != 0) counters_.errors.add(done.errors);
  count_ = 0;
  if (done.reports == 0) {
    state::commit(state_.head, done.head);
    return false;
  }
  memory::publish_fence();  // payload was read before the driver may use its buffers again
  journal_.before = state_.head;
  journal_.count = done.reports;
  journal_.told = 0;
  state::commit(journal_.is_open, std::uint8_t{1});
  state::commit(state_.head, done.head);
  const bool is_told = report(0, done.reports);
  state::commit(journal_.is_open, std::uint8_t{0});
  return is_told;
}

// Tells the driver what is done: each descriptor that asked becomes "done", or the head is written for all of them.
bool TxQueue::report(std::size_t from, std::size_t end) noexcept {
  const TxQueueConfig& config = state_.config;
  if (config.head_writeback) {
    return memory_.store(config.head_writeback_at, Le<std::uint32_t>{state_.head}) || stop(Fault::ring_unmapped);
  }
  for (std::size_t i = from; i < end; ++i) {
    const Iova at{config.ring.raw + std::uint64_t{journal_.reports[i]} * kTxDescriptorSize + kTxHighAt};
    if (!memory_.store(at, Le<std::uint64_t>{tx_type::done})) return stop(Fault::ring_unmapped);
    state::commit(journal_.told, static_cast<std::uint16_t>(i + 1));
  }
  return true;
}

bool TxQueue::can_take_over() const noexcept {
  if (journal_.is_open == 0 || !state_.enabled) return true;
  if (journal_.count > journal_.reports.size() || journal_.told > journal_.count) return false;
  const auto reports = std::span{journal_.reports}.first(journal_.count);
  return std::all_of(reports.begin(), reports.end(),
                     [this](std::uint16_t each) { return each < state_.config.length; });
}

void TxQueue::take_over() noexcept {
  if (journal_.is_open != 0 && state_.enabled && !is_stopped() && state_.head != journal_.before) {
    static_cast<void>(report(journal_.told, journal_.count));
  }
  state::commit(journal_.is_open, std::uint8_t{0});
}

}  // namespace vmux::intel

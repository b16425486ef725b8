// SPDX-License-Identifier: BSD-3-Clause
#include "device/e1000/tx.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/logf.hpp"
#include "device/e1000/phy.hpp"

namespace vmux::device::e1000 {
namespace {

constexpr std::uint32_t kCacheLine = 64;

constexpr const char* kFaultText[] = {
    "none",
    "descriptor ring outside guest memory",
    "ring index beyond the ring",
    "buffer outside guest memory",
    "descriptor that makes no sense",
    "frame that is too long",
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
  state_.tx_fault = Fault::none;
  state_.tx_head = static_cast<std::uint16_t>(registers_.get(reg::TDH));
  pending_count_ = fetched_count_ = 0;
}

void Transmitter::reset() noexcept {
  state_.tx_fault = Fault::none;
  state_.tx_head = 0;
  state_.checksum_context = state_.segment_context = {};
  pending_count_ = fetched_count_ = 0;
}

bool Transmitter::open_ring(Ring& ring) noexcept {
  ring.tail = registers_.get(reg::TDT) & 0xffff;
  // A driver may set TDH without a trap: what we published is no longer there then.
  ring.head = registers_.get(reg::TDH) & 0xffff;
  state_.tx_head = static_cast<std::uint16_t>(ring.head);
  if (ring.head == ring.tail) return false;
  ring.base = (std::uint64_t{registers_.get(reg::TDBAH)} << 32) | (registers_.get(reg::TDBAL) & ~0xfu);
  ring.count = (registers_.get(reg::TDLEN) & 0xf'ff80) / kDescriptorSize;
  if (ring.count == 0) return false;
  if (ring.head >= ring.count || ring.tail >= ring.count) return stop(Fault::ring_index);
  return true;
}

const TxDescriptor* Transmitter::descriptor(const Ring& ring, std::uint32_t index) noexcept {
  if (index - fetched_first_ < fetched_count_) return &fetched_[index - fetched_first_];
  const std::uint32_t ready = index <= ring.tail ? ring.tail - index : ring.count - index;  // up to the ring's end
  fetched_first_ = index;
  fetched_count_ = std::min<std::uint32_t>(ready, kPrefetch);
  const std::span<TxDescriptor> into{fetched_.data(), fetched_count_};
  if (!memory_.read(Iova{ring.base + std::uint64_t{index} * kDescriptorSize}, std::as_writable_bytes(into))) {
    fetched_count_ = 0;
    return nullptr;
  }
  return fetched_.data();
}

bool Transmitter::add_buffer(Iova at, std::uint32_t length, Draft& draft) noexcept {
  draft.length += length;
  const std::uint32_t limit = draft.is_segmented ? kMaxSuperFrame : kMaxLongFrame;
  if (draft.length > limit) return stop(Fault::frame_too_long);
  while (length > 0) {
    if (slice_count_ == kSliceRoom) return pending_count_ > 0 ? false : stop(Fault::frame_too_long);
    const packet::Slice slice = memory_.borrow(at, ByteCount{length});
    if (slice.empty()) return stop(Fault::buffer_unmapped);
    slices_[slice_count_++] = slice;
    at.raw += slice.size();
    length -= static_cast<std::uint32_t>(slice.size());
  }
  return true;
}

bool Transmitter::take_data(const TxDescriptor& raw, std::uint8_t cmd, Draft& draft) noexcept {
  const std::uint64_t high = raw.high;
  const bool extended = (cmd & tx_cmd::DEXT) != 0;
  if (!draft.has_data) {  // what is to be done is said once, by the first descriptor (3.3.7.2)
    draft.has_data = true;
    draft.slice_begin = slice_count_;
    draft.is_segmented = extended && (cmd & tx_cmd::TSE) != 0;
    draft.is_legacy = !extended;
    draft.options = extended ? static_cast<std::uint8_t>(tx_high::popts::get(high)) : std::uint8_t{0};
  }
  if (!extended && (cmd & tx_cmd::IC) != 0) {
    draft.options = popts::TXSM;
    draft.css = static_cast<std::uint8_t>(tx_high::css::get(high));
    draft.cso = static_cast<std::uint8_t>(tx_high::cso::get(high));
  }
  if ((cmd & tx_cmd::VLE) != 0 && ctrl::vme::is_set(registers_.get(reg::CTRL))) {
    draft.has_vlan = true;
    draft.vlan_tci = static_cast<std::uint16_t>(tx_high::special::get(high));
  }
  draft.is_done = (cmd & tx_cmd::EOP) != 0;
  const std::uint64_t length = extended ? tx_high::dtalen::get(high) : tx_high::length::get(high);
  return add_buffer(Iova{raw.low}, static_cast<std::uint32_t>(length), draft);
}

bool Transmitter::take(const TxDescriptor& raw, Draft& draft) noexcept {
  const std::uint64_t low = raw.low, high = raw.high;
  const auto cmd = static_cast<std::uint8_t>(tx_high::cmd::get(high));
  if ((cmd & tx_cmd::DEXT) == 0) return take_data(raw, cmd, draft);
  const std::uint64_t type = tx_high::dtyp::get(high);
  if (type == 1) return take_data(raw, cmd, draft);
  if (type != 0 || draft.has_data) return stop(Fault::bad_descriptor);
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
  return true;
}

// One descriptor that holds a whole frame as it is to be sent (3.3.3, 3.3.7). False: it is something else, and nothing
// has been done.
bool Transmitter::collect_plain(Ring& ring, Draft& draft) noexcept {
  const TxDescriptor* const raw = descriptor(ring, ring.head);
  if (raw == nullptr || slice_count_ == kSliceRoom || write_back_count_ == kWriteBackRoom) return false;
  const std::uint64_t high = raw->high;
  const auto cmd = static_cast<std::uint8_t>(tx_high::cmd::get(high));
  const bool extended = (cmd & tx_cmd::DEXT) != 0;
  if ((cmd & (tx_cmd::EOP | tx_cmd::VLE | tx_cmd::IC)) != tx_cmd::EOP) return false;  // IC is TSE, extended
  if (extended && (tx_high::dtyp::get(high) != 1 || tx_high::popts::get(high) != 0)) return false;
  const auto length = static_cast<std::uint32_t>(extended ? tx_high::dtalen::get(high) : tx_high::length::get(high));
  if (length == 0 || length > kMaxLongFrame) return false;
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
  if ((cmd & (tx_cmd::RS | tx_cmd::RPS)) != 0) {
    write_backs_[write_back_count_++] = static_cast<std::uint16_t>(ring.head);
    ((cmd & tx_cmd::IDE) != 0 ? draft.delayed : draft.immediate) = true;
  }
  ring.head = ring.head + 1 == ring.count ? 0 : ring.head + 1;
  return true;
}

bool Transmitter::collect(Ring& ring, Draft& draft) noexcept {
  while (ring.head != ring.tail) {
    if (draft.descriptors == kMaxDescriptors) return stop(Fault::frame_too_long);
    if (write_back_count_ == kWriteBackRoom) return pending_count_ > 0 ? false : stop(Fault::frame_too_long);
    const TxDescriptor* raw = descriptor(ring, ring.head);
    if (raw == nullptr) return stop(Fault::ring_unmapped);
    const auto cmd = static_cast<std::uint8_t>(tx_high::cmd::get(std::uint64_t{raw->high}));
    if ((cmd & (tx_cmd::RS | tx_cmd::RPS)) != 0) {
      write_backs_[write_back_count_++] = static_cast<std::uint16_t>(ring.head);
      ((cmd & tx_cmd::IDE) != 0 ? draft.delayed : draft.immediate) = true;
    }
    ++draft.descriptors;
    ring.head = ring.head + 1 == ring.count ? 0 : ring.head + 1;
    if (!take(*raw, draft)) return false;
    if (!draft.is_done) continue;
    draft.slice_end = slice_count_;
    return true;
  }
  // Every descriptor the ring can hold, and still no end: the tail can never move again.
  if (draft.descriptors + 1 >= ring.count) return stop(Fault::frame_too_long);
  return false;
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

// What the descriptors say, and where the bytes are; those are asked for, and looked at when all have been.
std::size_t Transmitter::collect_burst(Ring& ring, std::size_t limit) noexcept {
  std::size_t count = 0;
  while (count < limit && ring.head != ring.tail) {
    Draft& draft = drafts_[count];
    draft.is_plain = false;
    if (!collect_plain(ring, draft)) {
      draft = {};
      if (!collect(ring, draft)) break;
      if (std::exchange(context_changed_, false)) contexts_[++context_count_] = {checksum_, segment_};
    }
    Pending& pending = pending_[count];
    pending.next_head = ring.head;
    pending.write_back_end = static_cast<std::uint32_t>(write_back_count_);
    pending.immediate = draft.immediate;
    pending.delayed = draft.delayed;
    pending.contexts = static_cast<std::uint8_t>(context_count_);
    pending_count_ = ++count;
  }
  return count;
}

std::size_t Transmitter::peek(std::span<packet::FrameView> into) noexcept {
  Ring ring;
  pending_count_ = 0;
  if (state_.tx_fault != Fault::none || !open_ring(ring)) return 0;
  slice_count_ = write_back_count_ = context_count_ = 0;
  fetched_count_ = 0;
  checksum_ = state_.checksum_context;
  segment_ = state_.segment_context;
  contexts_[0] = {checksum_, segment_};
  context_changed_ = false;
  ring_base_ = ring.base;
  ring_count_ = ring.count;
  const std::size_t count = collect_burst(ring, std::min(into.size(), pending_.size()));
  for (pending_count_ = 0; pending_count_ < count; ++pending_count_) {
    const Draft& draft = drafts_[pending_count_];
    Pending& pending = pending_[pending_count_];
    packet::FrameView& view = into[pending_count_];
    if (draft.is_plain) {
      build_plain(draft, pending_count_, view);
    } else {
      checksum_ = contexts_[pending.contexts].checksum;
      segment_ = contexts_[pending.contexts].segment;
      if (!build(draft, pending_count_, view)) break;
    }
    account(view, pending);
  }
  return pending_count_;
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
  memory::publish_fence();  // payload was read before a driver may see DD and reuse it
  bool immediate = false, delayed = false;
  count_sent(std::span{pending_}.first(count));
  for (std::size_t i = 0; i < count; ++i) {
    immediate = immediate || pending_[i].immediate;
    delayed = delayed || pending_[i].delayed;
  }
  const Pending& last = pending_[count - 1];
  for (std::uint32_t i = 0; i < last.write_back_end; ++i) {
    const Iova at{ring_base_ + std::uint64_t{write_backs_[i]} * kDescriptorSize + kTxStatusAt};
    if (!memory_.store(at, kTxStatusDd)) {
      stop(Fault::ring_unmapped);
      break;
    }
  }
  state_.checksum_context = contexts_[last.contexts].checksum;
  state_.segment_context = contexts_[last.contexts].segment;
  if (!interrupts_.is_transmit_waiting()) unreported_ = 0;
  unreported_ += last.next_head >= state_.tx_head ? last.next_head - state_.tx_head
                                                  : last.next_head + ring_count_ - state_.tx_head;
  state_.tx_head = static_cast<std::uint16_t>(last.next_head);
  registers_.set(reg::TDH, last.next_head);
  pending_count_ = 0;
  // A driver that gets no word runs out of descriptors: no patience when a quarter of them waits for it.
  raise_causes(immediate || (delayed && 4 * unreported_ >= ring_count_), delayed);
}

void Transmitter::raise_causes(bool immediate, bool delayed) noexcept {
  const std::uint32_t tail = registers_.get(reg::TDT) & 0xffff;
  const std::uint32_t head = state_.tx_head;
  const std::uint32_t left = tail >= head ? tail - head : tail + ring_count_ - head;
  std::uint32_t causes = left == 0 ? icr::TXQE : 0;
  // 3.4.3.3: the threshold counts in units of eight descriptors.
  const std::uint32_t low = txdctl::lwthresh::get(registers_.get(reg::TXDCTL)) * 8;
  if (left <= low && low != 0) causes |= icr::TXD_LOW;
  if (causes != 0) interrupts_.raise(causes);
  if (immediate || delayed) interrupts_.transmit_done(immediate, delayed);
}

}  // namespace vmux::device::e1000

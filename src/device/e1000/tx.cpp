// SPDX-License-Identifier: BSD-3-Clause
#include "device/e1000/tx.hpp"

#include <algorithm>
#include <cstring>

#include "base/logf.hpp"
#include "device/e1000/phy.hpp"
#include "packet/checksum.hpp"
#include "packet/transfer.hpp"

namespace vmux::device::e1000 {
namespace {

constexpr std::uint32_t kUsualHeader = 128;  // bytes: Ethernet, VLAN, IPv6 and TCP with options fit

constexpr const char* kFaultText[] = {
    "none",
    "descriptor ring outside guest memory",
    "ring index beyond the ring",
    "buffer outside guest memory",
    "descriptor that makes no sense",
    "frame that is too long",
};

void put_be16(std::span<std::byte> bytes, std::size_t at, std::uint16_t value) noexcept {
  bytes[at] = static_cast<std::byte>(value >> 8);
  bytes[at + 1] = static_cast<std::byte>(value & 0xff);
}

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
    if (draft.is_done) return true;
  }
  // Every descriptor the ring can hold, and still no end: the tail can never move again.
  if (draft.descriptors + 1 >= ring.count) return stop(Fault::frame_too_long);
  return false;
}

std::uint32_t Transmitter::header_length(const Draft& draft) const noexcept {
  const TxContext& context = draft.is_segmented ? segment_ : checksum_;
  std::uint32_t want = kUsualHeader;
  if (draft.is_segmented) want = std::max<std::uint32_t>(64, context.hdrlen);
  if (draft.is_legacy) {
    want = std::max<std::uint32_t>({want, draft.css, draft.cso + 2u});
  } else if (draft.options != 0 && !draft.is_segmented) {
    want = std::max<std::uint32_t>({want, context.tucss, context.tucso + 2u, context.ipcso + 2u});
    if (context.ipcse < packet::kHeaderRoom) want = std::max(want, context.ipcse + 1u);
  }
  return std::min({want, static_cast<std::uint32_t>(packet::kHeaderRoom), draft.length});
}

// 3.5: the device writes lengths into the headers of every piece; here they are made whole for the super-frame, and the
// checksum field gets the pseudo-header sum over the whole, as everyone behind us expects it.
bool Transmitter::segment(std::span<std::byte> header, std::uint32_t length, packet::Offload& offload) noexcept {
  const TxContext& context = segment_;
  const bool is_v4 = (context.tucmd & tu_cmd::IP) != 0;
  const bool is_tcp = (context.tucmd & tu_cmd::TCP) != 0;
  const std::uint32_t l3 = context.ipcss, l4 = context.tucss;
  const bool fits_headers = context.mss > 0 && context.hdrlen <= header.size() && l3 >= 14 &&
                            l4 >= l3 + (is_v4 ? 20u : 40u) && context.hdrlen >= l4 + (is_tcp ? 20u : 8u) &&
                            context.tucso >= l4 && context.tucso + 2u <= context.hdrlen;
  if (!fits_headers || length < context.hdrlen || length - l3 > 0xffff) return false;
  packet::Checksum pseudo;
  if (is_v4) {
    put_be16(header, l3 + 2, static_cast<std::uint16_t>(length - l3));
    put_be16(header, l3 + 10, 0);
    put_be16(header, l3 + 10, packet::ipv4_header_checksum(header.subspan(l3, l4 - l3)));
    pseudo.add(header.subspan(l3 + 12, 8));
  } else {
    put_be16(header, l3 + 4, static_cast<std::uint16_t>(length - l3 - 40));
    pseudo.add(header.subspan(l3 + 8, 32));
  }
  const std::uint32_t l4_length = length - l4;
  std::array<std::byte, 4> tail{};
  put_be16(tail, 0, is_tcp ? 6 : 17);
  put_be16(tail, 2, static_cast<std::uint16_t>(l4_length));
  pseudo.add(tail);
  put_be16(header, context.tucso, static_cast<std::uint16_t>(~pseudo.finish()));
  if (!is_tcp) put_be16(header, l4 + 4, static_cast<std::uint16_t>(l4_length));
  offload.needs_checksum = true;
  offload.csum_start = context.tucss;
  offload.csum_offset = static_cast<std::uint16_t>(context.tucso - context.tucss);
  if (length - context.hdrlen <= context.mss) return true;  // fits one frame as it is
  offload.gso = !is_tcp ? packet::Gso::udp : is_v4 ? packet::Gso::tcp4 : packet::Gso::tcp6;
  offload.header_length = context.hdrlen;
  offload.gso_size = context.mss;
  return true;
}

void Transmitter::insert_checksums(const Draft& draft, std::span<std::byte> header, std::uint32_t length,
                                   packet::Offload& offload) noexcept {
  const TxContext& context = checksum_;
  if ((draft.options & popts::IXSM) != 0) {  // all of it lies in the headers, which are ours: done here
    const std::uint32_t end = context.ipcse + 1u;
    const bool in_header = context.ipcse != 0 && end <= header.size() && context.ipcss < end;
    if (in_header && context.ipcso + 2u <= header.size()) {
      packet::Checksum sum;
      sum.add(header.subspan(context.ipcss, end - context.ipcss));
      put_be16(header, context.ipcso, sum.finish());
    } else {
      counters_.tx_unsupported.add();
    }
  }
  if ((draft.options & popts::TXSM) == 0) return;
  const std::uint32_t start = draft.is_legacy ? draft.css : context.tucss;
  const std::uint32_t at = draft.is_legacy ? draft.cso : context.tucso;
  const bool to_the_end = draft.is_legacy || context.tucse == 0 || context.tucse + 1u >= length;
  if (!to_the_end || at < start || at + 2 > header.size()) return counters_.tx_unsupported.add();
  offload.needs_checksum = true;
  offload.csum_start = static_cast<std::uint16_t>(start);
  offload.csum_offset = static_cast<std::uint16_t>(at - start);
}

bool Transmitter::build(const Draft& draft, std::size_t slot, packet::FrameView& view) noexcept {
  std::uint32_t header_size = header_length(draft);
  std::size_t first = draft.slice_begin, copied = 0;
  auto& room = headers_[slot];
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
  if (view.length < kMinFrame && tctl::psp::is_set(registers_.get(reg::TCTL))) {
    std::memset(room.data() + view.length, 0, kMinFrame - view.length);
    view.length = header_size = kMinFrame;
  }
  const std::span<std::byte> header{room.data(), header_size};
  if (draft.has_vlan) {
    view.offload.has_vlan = true;
    view.offload.vlan_tci = draft.vlan_tci;
  }
  if (draft.is_segmented) {
    if (!segment(header, draft.length, view.offload)) return stop(Fault::bad_descriptor);
  } else if (draft.options != 0) {
    insert_checksums(draft, header, draft.length, view.offload);
  }
  view.header = header;
  view.payload = std::span{slices_}.subspan(first, slice_count_ - first);
  return packet::is_consistent(view) ? true : stop(Fault::bad_descriptor);
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

std::size_t Transmitter::peek(std::span<packet::FrameView> into) noexcept {
  Ring ring;
  pending_count_ = 0;
  if (state_.tx_fault != Fault::none || !open_ring(ring)) return 0;
  slice_count_ = write_back_count_ = 0;
  fetched_count_ = 0;
  checksum_ = state_.checksum_context;
  segment_ = state_.segment_context;
  ring_base_ = ring.base;
  ring_count_ = ring.count;
  const std::size_t limit = std::min(into.size(), pending_.size());
  while (pending_count_ < limit) {
    Draft draft;
    if (!collect(ring, draft) || !build(draft, pending_count_, into[pending_count_])) break;
    Pending& pending = pending_[pending_count_];
    account(into[pending_count_], pending);
    pending.next_head = ring.head;
    pending.write_back_end = static_cast<std::uint32_t>(write_back_count_);
    pending.immediate = draft.immediate;
    pending.delayed = draft.delayed;
    pending.checksum_context = checksum_;
    pending.segment_context = segment_;
    ++pending_count_;
  }
  return pending_count_;
}

void Transmitter::count_sent(const Pending& pending) noexcept {
  const std::uint64_t octets = pending.octets + std::uint64_t{kFcs} * pending.segments;
  registers_.count(reg::GPTC, pending.segments);
  registers_.count(reg::TPT, pending.segments);
  registers_.count_octets(reg::GOTCL, octets);
  registers_.count_octets(reg::TOTL, octets);
  if (pending.segments > 1) {
    registers_.count(reg::TSCTC);
    registers_.count(size_class(reg::PTC64, pending.first_size), pending.segments - 1);
  }
  registers_.count(size_class(reg::PTC64, pending.last_size));
  if (pending.is_multicast) registers_.count(reg::MPTC, pending.segments);
  if (pending.is_broadcast) registers_.count(reg::BPTC, pending.segments);
  counters_.tx_frames.add(pending.segments);
  counters_.tx_bytes.add(pending.octets);
}

void Transmitter::complete(std::size_t count) noexcept {
  count = std::min(count, pending_count_);
  if (count == 0) return;
  memory::publish_fence();  // payload was read before a driver may see DD and reuse it
  bool immediate = false, delayed = false;
  for (std::size_t i = 0; i < count; ++i) {
    count_sent(pending_[i]);
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
  state_.checksum_context = last.checksum_context;
  state_.segment_context = last.segment_context;
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

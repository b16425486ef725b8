// SPDX-License-Identifier: BSD-3-Clause
#include "device/e1000/rx/rx.hpp"

#include <algorithm>
#include <cstring>

#include "base/crc.hpp"
#include "base/logf.hpp"
#include "device/e1000/rx/filter.hpp"
#include "packet/bytes.hpp"
#include "packet/spans.hpp"
#include "state/commit.hpp"

namespace vmux::device::e1000 {
namespace {

constexpr std::uint64_t kDone = rx_high::status::set(std::uint64_t{0}, rx_status::DD);

constexpr std::uint32_t kMacs = 12;  // bytes of the two addresses
constexpr std::uint32_t kTag = 4;    // bytes of a VLAN tag
constexpr std::size_t kEthernet = 14;
constexpr std::uint64_t kCacheLine = 64;
constexpr std::uint16_t kUsualTag = 0x8100;

constexpr const char* kFaultText[] = {
    "none",
    "descriptor ring outside guest memory",
    "buffer outside guest memory",
};

/// The tag of a frame, wherever it is.
struct Tag {
  std::optional<std::uint16_t> tci;
  bool is_inside = false;  // in the bytes, not beside them
};
Tag tag_of(const packet::Piece& piece, std::uint16_t ethertype) noexcept {
  if (piece.offload.has_vlan) return {piece.offload.vlan_tci, false};
  if (piece.header.size() < kMacs + kTag || packet::get16(piece.header, kMacs) != ethertype) return {};
  return {packet::get16(piece.header, kMacs + 2), true};
}

}  // namespace

Receiver::Outcome Receiver::stop(Fault fault) noexcept {
  state_.rx_fault = fault;
  counters_.rx_guest_fault.add();
  fifo_.clear();
  if (log_limit_.allow()) {
    logf(LogLevel::warning, "{}: receive stopped until a reset: {}", name_, kFaultText[static_cast<unsigned>(fault)]);
  }
  return Outcome::stopped;
}

void Receiver::enable() noexcept {
  journal_.phase = RxJournal::none;
  state_.rx_fault = Fault::none;
  published_head_ = registers_.get(reg::RDH) & 0xffff;
  state_.rx_head = static_cast<std::uint16_t>(published_head_);
  fifo_.clear();
}

void Receiver::reset() noexcept {
  journal_.phase = RxJournal::none;
  state_.rx_fault = Fault::none;
  state_.rx_head = 0;
  state_.rx_short_ring = 0;
  published_head_ = 0;
  has_pending_ = false;
  causes_ = 0;
  fifo_.clear();
}

packet::Accepts Receiver::accepts() const noexcept {
  packet::Accepts accepts;
  // 13.4.12: a tag is one of VET's type. Tags beside the bytes are all of the usual one, so with another they belong
  // into the frame and are looked at there.
  accepts.vlan = ctrl::vme::is_set(registers_.get(reg::CTRL)) && registers_.get(reg::VET) == kUsualTag;
  accepts.max_frame = rctl::lpe::is_set(registers_.get(reg::RCTL)) ? kMaxLongFrame : kMaxFrame;
  return accepts;
}

// No ring is told of yet while its base or its length is not: frames wait, as without descriptors.
void Receiver::open_ring() noexcept {
  rctl_ = registers_.get(reg::RCTL);
  buffer_size_ = buffer_size(rctl_);
  const std::uint32_t head = registers_.get(reg::RDH) & 0xffff;
  if (head != published_head_) {  // the driver wrote it
    published_head_ = head;
    state_.rx_head = static_cast<std::uint16_t>(head);
  }
  ring_.base = (std::uint64_t{registers_.get(reg::RDBAH)} << 32) | (registers_.get(reg::RDBAL) & ~0xfu);
  ring_.count = ring_length(registers_.get(reg::RDLEN), state_.rx_short_ring);
  ring_.head = state_.rx_head;
  ring_.tail = registers_.get(reg::RDT) & 0xffff;
  ring_.threshold = ring_.count >> (1 + rctl::rdmts::get(rctl_));
  fetched_count_ = 0;
  if (ring_.count == 0 || ring_.base == 0) {
    ring_.head = ring_.tail = 0;
  } else if (ring_.head >= ring_.count) {
    ring_.head = 0;  // the ring ends there
  }
}

const RxDescriptor* Receiver::fetch(std::uint32_t index) noexcept {
  const std::uint32_t end = index < ring_.tail ? std::min(ring_.tail, ring_.count) : ring_.count;
  const std::uint32_t ready = end - index;
  fetched_first_ = index;
  fetched_count_ = std::min<std::uint32_t>(ready, kPrefetch);
  const std::span<RxDescriptor> into{fetched_.data(), fetched_count_};
  if (!memory_.read(Iova{ring_.base + std::uint64_t{index} * kDescriptorSize}, std::as_writable_bytes(into))) {
    fetched_count_ = 0;
    return nullptr;
  }
  for (const RxDescriptor& raw : into) {  // the guest's core had these lines last
    const packet::Slice buffer = memory_.borrow(Iova{raw.buffer}, ByteCount{kCacheLine});
    if (!buffer.empty()) __builtin_prefetch(buffer.data(), 1);
  }
  return fetched_.data();
}

inline const RxDescriptor* Receiver::descriptor(std::uint32_t index) noexcept {
  const std::uint32_t place = index - fetched_first_;
  return place < fetched_count_ ? &fetched_[place] : fetch(index);
}

bool Receiver::add_buffer(Iova at, std::uint32_t length, Placement& placement) noexcept {
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

// No room: `placement` is of as many bytes as there is room for now.
Receiver::Outcome Receiver::place(std::uint32_t length, Placement& placement) noexcept {
  const std::size_t available = std::min<std::size_t>(std::min(ring_.free(), ring_.count), kMaxBuffers);
  placement = {};
  placement.next_head = ring_.head;
  while (placement.bytes < length) {
    if (placement.buffers == available) return Outcome::no_room;
    const std::uint32_t index = placement.next_head;
    const RxDescriptor* raw = descriptor(index);
    if (raw == nullptr) return stop(Fault::ring_unmapped);
    Buffer& buffer = buffers_[placement.buffers++];
    buffer = {static_cast<std::uint16_t>(index), 0};
    if (const std::uint64_t at = raw->buffer; at != 0) {  // 3.2.3: a null buffer is passed over
      const std::uint32_t part = std::min(length - placement.bytes, buffer_size_);
      if (!add_buffer(Iova{at}, part, placement)) return stop(Fault::buffer_unmapped);
      buffer.length = static_cast<std::uint16_t>(part);
      placement.bytes += part;
    }
    placement.next_head = index + 1 == ring_.count ? 0 : index + 1;
  }
  return Outcome::placed;
}

// One half of a descriptor is one store, so that a driver that sees DD sees all.
void Receiver::write_back(std::uint32_t slot, std::uint16_t length, std::uint8_t status, const RxMeta& meta) noexcept {
  const bool is_last = (status & rx_status::EOP) != 0;  // 3.2.3.1: the rest is told once, with the end of the packet
  std::uint64_t half = rx_high::special::set(rx_high::length::set(std::uint64_t{0}, length), meta.special);
  half = rx_high::status::set(half, is_last ? status | meta.status : status);
  half = rx_high::errors::set(half, is_last ? meta.errors : 0);
  if (write_back_count_ == 0) write_back_first_ = slot;
  journal_.halves[write_back_count_++] = half & ~kDone;
}

template <class F>
bool Receiver::for_each_half(std::uint32_t first, std::size_t count, F&& visit) noexcept {
  for (std::size_t done = 0; done < count;) {
    if (first >= ring_.count) first = 0;
    const std::size_t run = std::min<std::size_t>(count - done, ring_.count - first);
    const auto bytes = memory_.borrow_for_write(Iova{ring_.base + std::uint64_t{first} * kDescriptorSize},
                                                ByteCount{run * kDescriptorSize});
    const std::size_t fit = bytes.size() / kDescriptorSize;
    if (fit == 0) return false;
    for (std::size_t i = 0; i < fit; ++i)
      visit(reinterpret_cast<std::uint64_t*>(bytes.data() + i * kDescriptorSize + kRxWriteBackAt), done + i);
    done += fit;
    first += static_cast<std::uint32_t>(fit);
  }
  return true;
}

// The driver looks at these lines all the time: each changes hands once for a burst, not once for a frame.
void Receiver::publish() noexcept {
  memory::publish_fence();  // the data is there before DD is
  if (write_back_count_ != 0) {
    journal_.before = state_.rx_head;
    journal_.first = static_cast<std::uint16_t>(write_back_first_);
    journal_.count = static_cast<std::uint16_t>(write_back_count_);
    journal_.told = 0;
    state::commit(journal_.phase, std::uint8_t{RxJournal::taking});
    state::commit(state_.rx_head, static_cast<std::uint16_t>(ring_.head));
    tell();
  }
  write_back_count_ = 0;
  if (tally_.frames == 0) return;
  registers_.count(reg::GPRC, tally_.frames);
  registers_.count(reg::TPR, tally_.frames);
  registers_.count_octets(reg::GORCL, tally_.octets);
  registers_.count_octets(reg::TORL, tally_.octets);
  for (std::uint32_t i = 0; i < tally_.classes.size(); ++i)
    registers_.count(reg::PRC64 + 4 * i, tally_.classes[i]);
  counters_.rx_frames.add(tally_.frames);
  counters_.rx_bytes.add(tally_.octets - std::uint64_t{kFcs} * tally_.frames);
  tally_ = {};
}

// See journals.hpp.
void Receiver::tell() noexcept {
  const auto put = [](std::uint64_t* at, std::uint64_t half, int order) {
    const Le<std::uint64_t> raw = half;
    __atomic_store_n(at, std::bit_cast<std::uint64_t>(raw), order);
  };
  const auto prepare = [&](std::uint64_t* at, std::size_t i) { put(at, journal_.halves[i], __ATOMIC_RELAXED); };
  const auto finish = [&](std::uint64_t* at, std::size_t i) {
    const Le<std::uint64_t> prepared = journal_.halves[i];
    if (i < journal_.told || __atomic_load_n(at, __ATOMIC_RELAXED) != std::bit_cast<std::uint64_t>(prepared)) return;
    put(at, journal_.halves[i] | kDone, __ATOMIC_RELEASE);
    state::commit(journal_.told, static_cast<std::uint16_t>(i + 1));
  };
  bool is_there = journal_.phase == RxJournal::telling || for_each_half(journal_.first, journal_.count, prepare);
  state::commit(journal_.phase, std::uint8_t{RxJournal::telling});
  is_there = is_there && for_each_half(journal_.first, journal_.count, finish);
  state::commit(journal_.phase, std::uint8_t{RxJournal::none});
  if (!is_there) stop(Fault::ring_unmapped);
}

bool Receiver::can_take_over() const noexcept {
  if (journal_.phase == RxJournal::none) return true;
  const std::uint32_t length = ring_length(registers_.get(reg::RDLEN), state_.rx_short_ring);
  return journal_.phase <= RxJournal::telling && journal_.count <= journal_.halves.size() &&
         journal_.told <= journal_.count && journal_.first < length && journal_.count <= length;
}

// RDH is another's as well: what that holds was published.
void Receiver::taken_over() noexcept {
  published_head_ = registers_.get(reg::RDH) & 0xffff;
  const bool has_moved = journal_.phase == RxJournal::telling || state_.rx_head != journal_.before;
  if (journal_.phase != RxJournal::none && has_moved && !is_stopped()) {
    open_ring();
    tell();
  }
  state::commit(journal_.phase, std::uint8_t{RxJournal::none});
}

// A frame's descriptors are told together: one that ends in the middle would be taken for another's beginning.
void Receiver::commit(const Placement& placement, const RxMeta& meta, bool is_whole) noexcept {
  if (write_back_count_ + placement.buffers > journal_.halves.size()) publish();
  const std::uint32_t free_before = ring_.free();
  for (std::size_t i = 0; i < placement.buffers; ++i) {
    const bool is_last = is_whole && i + 1 == placement.buffers;
    write_back(buffers_[i].slot, buffers_[i].length, is_last ? rx_status::DD | rx_status::EOP : rx_status::DD, meta);
  }
  ring_.head = placement.next_head;
  has_pending_ = true;
  if (free_before > ring_.threshold && ring_.free() <= ring_.threshold) causes_ |= icr::RXDMT0;
}

// Lays the piece into spans_[0, spans), a tag in its bytes beside them if it is to be stripped; pads it and gives it
// its FCS.
void Receiver::copy(packet::Pieces& pieces, const packet::Piece& piece, std::size_t spans, bool strip) noexcept {
  const std::span<const std::span<std::byte>> stored{spans_.data(), spans};
  if (!strip) {
    pieces.copy(stored);
  } else {
    std::array<std::span<std::byte>, kMaxSpans + 3> around;
    std::size_t count = 0;
    const auto append = [&](std::span<std::byte> part) { around[count++] = part; };
    packet::for_range(stored, 0, kMacs, append);
    append(tag_);
    packet::for_range(stored, kMacs, kMaxLongFrame, append);
    pieces.copy(std::span{around}.first(count));
  }
  const std::uint32_t written = piece.length - (strip ? kTag : 0);
  const std::uint32_t whole = std::max(written, kMinFrame - (strip || piece.offload.has_vlan ? kTag : 0));
  packet::for_range(stored, written, whole - written,
                    [](std::span<std::byte> part) { std::ranges::fill(part, std::byte{0}); });
  if (rules_.fcs == 0) return;
  if (piece.offload.has_vlan) {
    packet::put16(tag_, 0, kUsualTag);
    packet::put16(tag_, 2, piece.offload.vlan_tci);
  }
  store_fcs(stored, whole, strip || piece.offload.has_vlan ? packet::Slice{tag_} : packet::Slice{});
}

// 13.4.22: without SECRC the FCS is stored too, as it came: it is of the tag also, if one was stripped.
void Receiver::store_fcs(std::span<const std::span<std::byte>> stored, std::uint32_t length,
                         packet::Slice tag) const noexcept {
  EthernetCrc crc;
  const auto add = [&crc](std::span<std::byte> part) { crc.add(part); };
  const std::uint32_t in_front = tag.empty() ? 0 : kMacs;
  packet::for_range(stored, 0, in_front, add);
  crc.add(tag);
  packet::for_range(stored, in_front, length - in_front, add);
  const Le<std::uint32_t> fcs = crc.finish();
  packet::Slice bytes = std::as_bytes(std::span{&fcs, 1});
  packet::for_range(stored, length, kFcs, [&bytes](std::span<std::byte> part) {
    std::memcpy(part.data(), bytes.data(), part.size());
    bytes = bytes.subspan(part.size());
  });
}

// `octets` as on the wire: with tag and FCS.
void Receiver::count_received(std::uint32_t octets, packet::Slice destination) noexcept {
  ++tally_.frames;
  tally_.octets += octets;
  ++tally_.classes[size_class(0, octets) / 4];
  if ((std::to_integer<unsigned>(destination[0]) & 1) != 0) {
    const bool broadcast =
        std::all_of(destination.begin(), destination.begin() + 6, [](std::byte b) { return b == std::byte{0xff}; });
    registers_.count(broadcast ? reg::BPRC : reg::MPRC);
  }
  if (octets <= rules_.small_packet) causes_ |= icr::SRPD;  // 13.4.32
}

void Receiver::missed(std::uint32_t frames) noexcept {
  registers_.count(reg::MPC, frames);
  counters_.rx_missed.add(frames);
  causes_ |= icr::RXO;
}

bool Receiver::keep(packet::Pieces& pieces, const packet::Piece& piece, RxMeta& meta, bool strip,
                    bool is_verified) noexcept {
  const std::size_t limit = pba::rxa::get(registers_.get(reg::PBA)) * std::size_t{1024} * RxFifo::kDepth;
  const std::span<std::byte> room = fifo_.reserve(meta.length, std::min(limit, RxFifo::kBytes));
  registers_.count(reg::RNBC);
  if (room.empty()) return false;
  spans_[0] = room;
  copy(pieces, piece, 1, strip);
  check_sums(piece, std::span{spans_}.first(1), strip, is_verified, meta);
  fifo_.push(meta);
  counters_.rx_buffered.add();
  return true;
}

bool Receiver::receive_piece(packet::Pieces& pieces, const packet::Piece& piece, bool is_verified) noexcept {
  if (piece.header.size() < kEthernet) {
    registers_.count(reg::RUC);
    return true;
  }
  const Tag tag = tag_of(piece, rules_.ethertype);
  const Match match = match_address(registers_, rctl_, piece.header);
  if (match == Match::none || !match_vlan(registers_, rctl_, tag.tci)) {
    counters_.rx_filtered.add();
    return true;
  }
  const std::uint32_t on_wire = std::max<std::uint32_t>(piece.length + (piece.offload.has_vlan ? kTag : 0), kMinFrame);
  if (on_wire > rules_.max_length) {
    registers_.count(reg::ROC);
    return true;
  }
  const bool strip = tag.is_inside && rules_.strips_tag;
  RxMeta meta;
  meta.length = on_wire - (strip || piece.offload.has_vlan ? kTag : 0) + rules_.fcs;
  if (strip || piece.offload.has_vlan) {
    meta.status |= rx_status::VP;
    meta.special = *tag.tci;
  }
  if (match == Match::inexact) meta.status |= rx_status::PIF;

  Placement placement;
  const Outcome outcome = fifo_.empty() ? place(meta.length, placement) : Outcome::no_room;
  if (outcome == Outcome::stopped) return false;
  if (outcome == Outcome::no_room) {
    if (!keep(pieces, piece, meta, strip, is_verified)) return false;  // the caller counts it as missed
    count_received(on_wire + kFcs, piece.header);
    if (ring_.free() != 0) drain_fifo();  // as much of it as there is room for
    return true;
  }
  count_received(on_wire + kFcs, piece.header);
  copy(pieces, piece, placement.spans, strip);
  check_sums(piece, std::span{spans_}.first(placement.spans), strip, is_verified, meta);
  commit(placement, meta, true);
  return true;
}

void Receiver::read_rules() noexcept {
  rules_.accepts = accepts();
  rules_.max_length = rctl::lpe::is_set(rctl_) ? kMaxLongFrame : kMaxFrame;
  rules_.fcs = rctl::secrc::is_set(rctl_) ? 0 : kFcs;
  rules_.small_packet = registers_.get(reg::RSRPD);
  rules_.ethertype = static_cast<std::uint16_t>(registers_.get(reg::VET));
  rules_.strips_tag = ctrl::vme::is_set(registers_.get(reg::CTRL));
  const std::uint32_t wanted = registers_.get(reg::RXCSUM);
  rules_.checks_sums = rxcsum::ipofld::is_set(wanted) || rxcsum::tuofld::is_set(wanted);
}

// What nearly every frame is: whole, untagged, for us, and no longer than the one buffer that is free for it. False:
// it is not, and nothing has been done.
bool Receiver::receive_plain(const packet::FrameView& view) noexcept {
  if (!fifo_.empty() || ring_.head == ring_.tail) return false;
  if (view.offload.has_vlan || !packet::passes_unchanged(view, rules_.accepts)) return false;
  if (view.header.size() < kMacs + kTag || packet::get16(view.header, kMacs) == rules_.ethertype) return false;
  const std::uint32_t on_wire = std::max<std::uint32_t>(view.length, kMinFrame);
  RxMeta meta;
  meta.length = on_wire + rules_.fcs;
  if (on_wire > rules_.max_length || meta.length > buffer_size_) return false;
  const Match match = match_address(registers_, rctl_, view.header);
  if (match == Match::none) return false;
  const RxDescriptor* const raw = descriptor(ring_.head);
  if (raw == nullptr || raw->buffer == 0) return false;
  const std::span<std::byte> room = memory_.borrow_for_write(Iova{raw->buffer}, ByteCount{meta.length});
  if (room.size() != meta.length) return false;

  packet::copy_unchanged(view, room);
  if (view.length < on_wire) std::ranges::fill(room.subspan(view.length), std::byte{0});
  if (rules_.fcs != 0) store_fcs(std::span{&room, 1}, on_wire, {});
  count_received(on_wire + kFcs, view.header);
  if (match == Match::inexact) meta.status |= rx_status::PIF;
  if (rules_.checks_sums) {
    const packet::Piece piece{.length = view.length, .offload = {}, .header = view.header};
    check_sums(piece, std::span{&room, 1}, false, view.offload.checksum_verified, meta);
  } else {
    meta.status |= rx_status::IXSM;
  }
  buffers_[0] = {static_cast<std::uint16_t>(ring_.head), static_cast<std::uint16_t>(meta.length)};
  const std::uint32_t next = ring_.head + 1 == ring_.count ? 0 : ring_.head + 1;
  commit({.spans = 1, .buffers = 1, .bytes = meta.length, .next_head = next}, meta, true);
  return true;
}

bool Receiver::receive(const packet::FrameView& view) noexcept {
  packet::Pieces pieces{view, rules_.accepts};
  if (pieces.count() == 0) return true;  // nothing to take of what is not consistent
  std::uint32_t taken = 0;
  while (const packet::Piece* piece = pieces.next()) {
    if (!receive_piece(pieces, *piece, piece->offload.checksum_verified)) break;
    ++taken;
  }
  if (!is_stopped() && taken < pieces.count()) missed(pieces.count() - taken);
  return taken > 0;
}

std::size_t Receiver::deliver(std::span<const packet::FrameView> frames) noexcept {
  if (is_stopped()) return 0;
  open_ring();
  read_rules();
  if (!fifo_.empty()) drain_fifo();
  std::size_t taken = 0;
  while (taken < frames.size() && !is_stopped()) {
    if (taken + 1 < frames.size()) packet::prefetch_payload(frames[taken + 1]);
    if (!receive_plain(frames[taken]) && !receive(frames[taken])) break;
    ++taken;
  }
  const std::size_t behind = frames.size() - std::min(frames.size(), taken + 1);
  if (behind > 0 && !is_stopped()) missed(static_cast<std::uint32_t>(behind));
  publish();
  return taken;
}

void Receiver::drain() noexcept {
  if (fifo_.empty() || is_stopped()) return;
  open_ring();
  drain_fifo();
  publish();
}

// As the part does it: what there is room for goes out, and the rest of a frame when there are more descriptors. A
// frame may need more of them than a small ring has. At most once around: a ring may have no buffers and no end.
void Receiver::drain_fifo() noexcept {
  for (std::size_t used = 0; !fifo_.empty() && used < ring_.count;) {
    const RxMeta meta = fifo_.front();
    Placement placement;
    const Outcome outcome = place(meta.length, placement);
    if (outcome == Outcome::stopped || placement.buffers == 0) return;
    used += placement.buffers;
    packet::Slice bytes = fifo_.front_bytes();
    for (std::size_t i = 0; i < placement.spans; ++i) {
      std::memcpy(spans_[i].data(), bytes.data(), spans_[i].size());
      bytes = bytes.subspan(spans_[i].size());
    }
    commit(placement, meta, outcome == Outcome::placed);
    if (is_stopped()) return;
    if (outcome == Outcome::placed) {
      fifo_.pop();
    } else {
      fifo_.consume(placement.bytes);
    }
  }
}

void Receiver::flush() noexcept {
  if (!has_pending_ && causes_ == 0) return;
  if (has_pending_) {
    registers_.set(reg::RDH, state_.rx_head);
    published_head_ = state_.rx_head;
  }
  if (causes_ != 0) interrupts_.raise(causes_);
  if (has_pending_) interrupts_.receive_done();
  causes_ = 0;
  has_pending_ = false;
}

}  // namespace vmux::device::e1000

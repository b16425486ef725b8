// SPDX-License-Identifier: BSD-3-Clause
#include "device/virtio_net/queues/tx.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/logf.hpp"
#include "packet/headers.hpp"
#include "packet/transfer.hpp"

namespace vmux::device::virtio_net {
namespace {

constexpr std::uint32_t kUsualHeader = 128;      // bytes: Ethernet, two tags, IPv6 and TCP with options fit
constexpr std::uint32_t kShortest = 14;          // an Ethernet header
constexpr std::uint32_t kLongest = 65'535 + 22;  // one IP packet, header and tags
constexpr std::uint32_t kMostTcp = 60;           // bytes of a TCP header
constexpr std::uint16_t kTcpChecksum = 16, kUdpChecksum = 6;  // offset of the field in the L4 header

}  // namespace

void FaultReport::tell(virtio::Fault fault, QueueCounters& counters) noexcept {
  is_told_ = true;
  counters.guest_fault.add();
  if (log_limit_.allow()) logf(LogLevel::warning, "{}: {} queue {} stopped: {}", name_, kind_, index_, text_of(fault));
  alarm_.raise();
}

void FaultReport::warn(const char* what) noexcept {
  if (log_limit_.allow()) logf(LogLevel::warning, "{}: {} queue {}: {}", name_, kind_, index_, what);
}

void TxQueue::adopt(const std::shared_ptr<const memory::Table>& table) noexcept {
  ring_.memory().adopt(table);
  buffers_.adopt(table);
}

void TxQueue::start(const virtio::QueueSetup& setup, const virtio::QueueState& state,
                    const FrameFormat& format) noexcept {
  ring_.start(setup, state);
  format_ = format;
  report_.begin();
  count_ = 0;
}

virtio::QueueState TxQueue::stop() noexcept {
  count_ = 0;
  return ring_.stop();
}

std::size_t TxQueue::peek(std::span<packet::FrameView> into) noexcept {
  into = into.first(std::min(into.size(), kBurst));
  count_ = slice_count_ = long_count_ = 0;
  lost_ = 0;
  auto chains = ring_.ready(into.size());
  chains = chains.first(std::min(chains.size(), into.size()));
  while (count_ < chains.size()) {
    const std::size_t plain = take_plain(chains.subspan(count_), into.subspan(count_));
    count_ += plain;
    if (plain > 0) continue;
    if (take(chains[count_], into[count_]) != Taken::yes) break;
    lengths_[count_] = into[count_].length;
    ++count_;
  }
  report_.look(ring_, counters_);
  return ring_.runs() ? count_ : 0;
}

// The common case: frames in one buffer behind their header, with nothing to be done. Returns how many, from the front;
// the first that is anything else is left to take().
std::size_t TxQueue::take_plain(std::span<const virtio::Chain> chains, std::span<packet::FrameView> into) noexcept {
  constexpr std::size_t kLine = 64;
  const std::size_t limit = std::min(chains.size(), kSliceRoom - slice_count_);
  std::array<packet::Slice, kBurst> sources;
  std::size_t count = 0;
  for (; count < limit && chains[count].readable == 1; ++count) {
    const virtio::Buffer buffer = ring_.readable(chains[count])[0];
    if (buffer.length < format_.header + kShortest || buffer.length > format_.header + kLongest) break;
    const packet::Slice bytes = buffers_.borrow(buffer.at, ByteCount{buffer.length});
    if (bytes.size() != buffer.length) break;
    sources[count] = bytes;
    __builtin_prefetch(bytes.data());
    __builtin_prefetch(bytes.data() + kLine);
  }
  for (std::size_t i = 0; i < count; ++i) {
    std::array<std::uint8_t, 2> asked;  // flags and kind of super-frame
    std::memcpy(asked.data(), sources[i].data(), asked.size());
    if (asked[0] != 0 || asked[1] != wire::virtio::net::gso::none) return i;
    const packet::Slice frame = sources[i].subspan(format_.header);
    const std::size_t size = std::min<std::size_t>(frame.size(), kUsualHeader);
    auto& room = headers_[count_ + i];
    std::memcpy(room.data(), frame.data(), size);  // the only look at these bytes
    packet::FrameView& view = into[i];
    view.offload = {};
    view.length = lengths_[count_ + i] = static_cast<std::uint32_t>(frame.size());
    view.header = packet::Slice{room.data(), size};
    slices_[slice_count_] = frame.subspan(size);
    view.payload = std::span{slices_}.subspan(slice_count_++, frame.size() > size ? 1 : 0);
  }
  return count;
}

// `later`: the burst has no room for it, and the next begins with it.
TxQueue::Taken TxQueue::take(const virtio::Chain& chain, packet::FrameView& view) noexcept {
  const std::size_t first_slice = slice_count_;
  if (slice_count_ + 2 * std::size_t{chain.readable} > kSliceRoom && count_ > 0) return Taken::later;
  std::uint64_t total = 0;
  for (const virtio::Buffer& buffer : ring_.readable(chain))
    total += buffer.length;
  if (total < format_.header) return ring_.fail(virtio::Fault::bad_header) ? Taken::yes : Taken::never;
  view = packet::FrameView{};
  if (total < format_.header + kShortest || total > format_.header + kLongest) {
    lose(view, "a frame lost, which is too short or too long to be one");
    return Taken::yes;
  }
  virtio::NetHeader header;
  if (!gather(chain, header)) return Taken::never;
  view.length = static_cast<std::uint32_t>(total) - format_.header;
  std::uint32_t wanted = kUsualHeader;
  if (header.flags != 0) wanted = std::max<std::uint32_t>(wanted, header.csum_start + kMostTcp);
  if (header.flags != 0) wanted = std::max<std::uint32_t>(wanted, header.csum_start + header.csum_offset + 2u);
  const std::span<std::byte> room = header_room(std::min(wanted, view.length));
  if (room.empty()) {
    slice_count_ = first_slice;
    return Taken::later;
  }
  const std::size_t header_size = std::min<std::size_t>({wanted, view.length, room.size()});
  std::size_t first = first_slice, copied = 0;
  while (copied < header_size) {  // the only look at these bytes
    packet::Slice& slice = slices_[first];
    const std::size_t part = std::min(slice.size(), header_size - copied);
    std::memcpy(room.data() + copied, slice.data(), part);
    copied += part;
    slice = slice.subspan(part);
    if (slice.empty()) ++first;
  }
  view.header = room.first(header_size);
  view.payload = std::span{slices_}.subspan(first, slice_count_ - first);
  const bool is_plain = header.flags == 0 && header.gso_type == wire::virtio::net::gso::none;
  if (is_plain ? view.length > kLongest : !apply(header, view))
    lose(view, "a frame lost, which is not what its header says");
  return Taken::yes;
}

// The frame's bytes as slices; those in front of it are the header. False: the queue has stopped.
bool TxQueue::gather(const virtio::Chain& chain, virtio::NetHeader& header) noexcept {
  auto* const to = reinterpret_cast<std::byte*>(&header);
  std::uint32_t skip = format_.header;
  for (const virtio::Buffer& buffer : ring_.readable(chain)) {
    Iova at = buffer.at;
    std::uint32_t left = buffer.length;
    while (left > 0) {
      if (slice_count_ == kSliceRoom) return ring_.fail(virtio::Fault::chain_too_long);
      packet::Slice slice = buffers_.borrow(at, ByteCount{left});
      if (slice.empty()) return ring_.fail(virtio::Fault::buffer_unmapped);
      at.raw += slice.size();
      left -= static_cast<std::uint32_t>(slice.size());
      if (skip > 0) {
        const std::size_t part = std::min<std::size_t>(skip, slice.size());
        const std::uint32_t from = format_.header - skip;
        if (from < sizeof header) std::memcpy(to + from, slice.data(), std::min(part, sizeof header - from));
        skip -= static_cast<std::uint32_t>(part);
        slice = slice.subspan(part);
        if (slice.empty()) continue;
      }
      slices_[slice_count_++] = slice;
    }
  }
  return true;
}

std::span<std::byte> TxQueue::header_room(std::uint32_t bytes) noexcept {
  if (bytes <= packet::kHeaderRoom) return headers_[count_];
  if (long_count_ == kLongHeaders) return {};
  return long_headers_[long_count_++];
}

// [VIRTIO] 5.1.6.2. What the driver may not ask for, and what does not fit its frame, is not sent.
bool TxQueue::apply(const virtio::NetHeader& header, packet::FrameView& view) const noexcept {
  namespace gso = wire::virtio::net::gso;
  packet::Offload& offload = view.offload;
  offload = virtio::offload_of(header);
  offload.checksum_verified = false;
  if (offload.needs_checksum && !format_.csum) return false;
  const bool is_whole = (header.gso_type & ~gso::ecn) == gso::none;
  if (is_whole) return view.length <= kLongest && packet::is_consistent(view);
  const bool is_taken = (offload.gso == packet::Gso::tcp4 && format_.tso4) ||
                        (offload.gso == packet::Gso::tcp6 && format_.tso6) ||
                        (offload.gso == packet::Gso::udp && format_.uso);
  if (!is_taken || !offload.needs_checksum) return false;
  const auto headers = packet::parse(view.header);
  if (!headers) return false;
  offload.header_length = headers->payload_offset;
  // The fields must be the headers' own: who gets the frame whole goes by them.
  const std::uint16_t field = headers->l4 == packet::L4::tcp ? kTcpChecksum : kUdpChecksum;
  if (offload.csum_start != headers->l4_offset || offload.csum_offset != field) return false;
  return packet::is_consistent(view);
}

void TxQueue::lose(packet::FrameView& view, const char* why) noexcept {
  lost_ |= 1u << count_;
  report_.warn(why);
  view = packet::FrameView{};
  view.header = packet::Slice{headers_[count_].data(), 0};
}

bool TxQueue::complete(std::size_t count) noexcept {
  count = std::min(count, count_);
  if (count == 0) return false;
  static constexpr std::array<std::uint32_t, kBurst> kNothingWritten{};
  std::uint64_t bytes = 0;
  for (const std::uint32_t length : std::span{lengths_}.first(count))
    bytes += length;
  counters_.frames.add(count);
  counters_.bytes.add(bytes);
  if (lost_ != 0) [[unlikely]]
    counters_.errors.add(static_cast<std::uint64_t>(std::popcount(lost_ & ((2u << (count - 1)) - 1))));
  count_ = 0;
  ring_.use(std::span{kNothingWritten}.first(count));
  const bool is_wanted = ring_.take_interrupt();
  if (!is_wanted) counters_.interrupts_suppressed.add();
  report_.look(ring_, counters_);
  return is_wanted;
}

}  // namespace vmux::device::virtio_net

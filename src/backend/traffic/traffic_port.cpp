// SPDX-License-Identifier: BSD-3-Clause
#include "backend/traffic/traffic_port.hpp"

#include <algorithm>

#include "packet/bytes.hpp"
#include "packet/sum/checksum.hpp"
#include "packet/transfer.hpp"

namespace vmux::backend {
namespace {

constexpr std::size_t kHeader = 64;               // bytes of a view's header: Ethernet, IPv4 and UDP fit
constexpr std::size_t kBuffer = 2048;             // bytes of a sink's buffer
constexpr std::size_t kLine = 64;                 // bytes of a cache line
constexpr std::size_t kBuffers = 64;              // two bursts: an mbuf pool, too, gives out first what came back last
constexpr std::uint32_t kMaxFrame = 65'535 + 18;  // a super-frame takes several buffers, side by side
constexpr std::size_t kMacs = 12, kIp = 14, kUdp = 34, kPayload = 42;  // offsets

// All that a vhost port hands to its application undone.
constexpr packet::Accepts kAccepts{
    .checksum = true, .gso_tcp4 = true, .gso_tcp6 = true, .gso_udp = true, .vlan = true, .max_frame = kMaxFrame};

void write_frame(std::span<std::byte> frame, const TrafficOptions& options, std::uint32_t number) {
  using packet::put16, packet::put32, packet::put8;
  std::transform(options.to.begin(), options.to.end(), frame.begin(), [](auto byte) { return std::byte{byte}; });
  std::transform(options.from.begin(), options.from.end(), frame.begin() + 6,
                 [](auto byte) { return std::byte{byte}; });
  put16(frame, kMacs, 0x0800);
  put8(frame, kIp, 0x45);
  put16(frame, kIp + 2, static_cast<std::uint16_t>(frame.size() - kIp));
  put16(frame, kIp + 4, static_cast<std::uint16_t>(number));
  put8(frame, kIp + 8, 64);
  put8(frame, kIp + 9, 17);
  put32(frame, kIp + 12, 0xc612'0001);  // 198.18.0.0/15 is for benchmarks: RFC 2544 C.2.2
  put32(frame, kIp + 16, 0xc612'0002);
  put16(frame, kIp + 10, packet::ipv4_header_checksum(frame.subspan(kIp, kUdp - kIp)));
  put16(frame, kUdp, static_cast<std::uint16_t>(1024 + number % options.flows));
  put16(frame, kUdp + 2, 9);  // discard
  put16(frame, kUdp + 4, static_cast<std::uint16_t>(frame.size() - kUdp));
  for (std::size_t at = kPayload; at < frame.size(); ++at)
    put8(frame, at, static_cast<std::uint8_t>(at + number));
  packet::Checksum sum;
  sum.add(frame.subspan(kIp + 12, 8));
  const std::array<std::byte, 2> protocol{std::byte{0}, std::byte{17}};
  sum.add(protocol);
  sum.add(frame.subspan(kUdp + 4, 2));
  sum.add(frame.subspan(kUdp));
  const std::uint16_t value = sum.finish();
  put16(frame, kUdp + 6, value == 0 ? std::uint16_t{0xffff} : value);
}

}  // namespace

TrafficPort::TrafficPort(const TrafficOptions& options)
    : generates_(options.generates), sink_(kBuffers * kBuffer / kLine) {
  const std::size_t pool = generates_ ? std::max(options.frames, options.flows) : 1;
  const std::size_t lines = (std::size_t{options.size} + kLine - 1) / kLine;
  frames_.resize(pool * lines);
  payloads_.resize(pool);
  views_.resize(pool);
  for (std::size_t i = 0; i < pool; ++i) {
    const auto frame = std::as_writable_bytes(std::span{frames_}).subspan(i * lines * kLine, options.size);
    write_frame(frame, options, static_cast<std::uint32_t>(i));
    const std::size_t header = std::min(frame.size(), kHeader);
    payloads_[i] = frame.subspan(header);
    views_[i].header = frame.first(header);
    if (!payloads_[i].empty()) views_[i].payload = std::span{&payloads_[i], 1};
    views_[i].length = options.size;
  }
}

Result<std::unique_ptr<TrafficPort>> TrafficPort::create(const TrafficOptions& options, runtime::Poller&) {
  return std::unique_ptr<TrafficPort>(new TrafficPort(options));
}

std::size_t TrafficPort::take(std::span<packet::FrameView> into) noexcept {
  if (!generates_) {
    if (was_heard_ || into.empty()) return 0;
    into[0] = views_[0];
    return 1;
  }
  std::size_t at = next_;
  for (packet::FrameView& view : into) {
    view = views_[at];
    __builtin_prefetch(view.header.data());  // as a driver of a real port does
    at = at + 1 == views_.size() ? 0 : at + 1;
  }
  return into.size();
}

void TrafficPort::finish(std::span<const port::FrameResult> results) noexcept {
  was_heard_ = was_heard_ || !results.empty();
  next_ = (next_ + results.size()) % views_.size();
}

std::span<std::byte> TrafficPort::sink_room(std::size_t bytes) noexcept {
  if (bytes > sink_.size() * kLine - sink_used_) sink_used_ = 0;
  const std::span<std::byte> room = std::as_writable_bytes(std::span{sink_}).subspan(sink_used_, bytes);
  sink_used_ += (bytes + kBuffer - 1) / kBuffer * kBuffer;
  last_sunk_ = room;
  return room;
}

port::Delivery TrafficPort::deliver(std::span<const packet::FrameView> frames) noexcept {
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const packet::FrameView& frame = frames[i];
    if (i + 1 < frames.size()) packet::prefetch_payload(frames[i + 1]);
    if (packet::passes_unchanged(frame, kAccepts)) {
      packet::copy_unchanged(frame, sink_room(frame.length));
      continue;
    }
    packet::Pieces pieces{frame, kAccepts};
    while (const packet::Piece* const piece = pieces.next()) {
      const std::span<std::byte> room = sink_room(piece->length);
      pieces.copy(std::span{&room, 1});
    }
  }
  return {.taken = frames.size()};
}

packet::Accepts TrafficPort::accepts() const noexcept { return kAccepts; }

}  // namespace vmux::backend

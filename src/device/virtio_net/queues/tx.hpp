// SPDX-License-Identifier: BSD-3-Clause
// Transmit: chains -> frame views -> used chains. One poller owns a queue; queues share nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "device/virtio_net/queues/queue_pair.hpp"
#include "packet/frame.hpp"
#include "virtio/net_header.hpp"
#include "virtio/queue.hpp"
#include "vmux/memory/guest_memory.hpp"

namespace vmux::device::virtio_net {

class TxQueue {
 public:
  static constexpr std::size_t kBurst = 32;  ///< frames of one peek()

  /// `journal`: in memory that outlives the process.
  TxQueue(const char* name, unsigned index, nic::Alarm& alarm, virtio::QueueJournal& journal) noexcept
      : ring_(&journal), report_(name, "transmit", index, alarm) {}
  TxQueue(const TxQueue&) = delete;
  TxQueue& operator=(const TxQueue&) = delete;

  void adopt(const std::shared_ptr<const memory::Table>& table) noexcept;
  void start(const virtio::QueueSetup& setup, const virtio::QueueState& state, const FrameFormat& format) noexcept;
  virtio::QueueState stop() noexcept;
  [[nodiscard]] virtio::Queue& ring() noexcept { return ring_; }
  [[nodiscard]] const virtio::Queue& ring() const noexcept { return ring_; }

  /// The next frames, borrowed until complete(); at most into.size() and kBurst. One that could not be made is there as
  /// a view without bytes, which the switch counts as malformed.
  [[nodiscard]] std::size_t peek(std::span<packet::FrameView> into) noexcept;
  /// The oldest `count` of those are done; the others will be peeked again. True: cause for an interrupt.
  [[nodiscard]] bool complete(std::size_t count) noexcept;

  [[nodiscard]] const QueueCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] QueueCounters& counters() noexcept { return counters_; }

 private:
  // Pieces of guest memory of one burst: those of the longest chain with a border of ranges in each, and some for
  // frames beside it.
  static constexpr std::size_t kSliceRoom = 2 * virtio::Queue::kMaxChain + 4 * kBurst;
  static constexpr std::size_t kLongHeaders = 4;  // frames of one burst that have them

  [[nodiscard]] std::size_t take_plain(std::span<const virtio::Chain> chains,
                                       std::span<packet::FrameView> into) noexcept;
  enum class Taken : std::uint8_t { yes, later, never };
  [[nodiscard]] Taken take(const virtio::Chain& chain, packet::FrameView& view) noexcept;
  [[nodiscard]] bool gather(const virtio::Chain& chain, virtio::NetHeader& header) noexcept;
  [[nodiscard]] std::span<std::byte> header_room(std::uint32_t bytes) noexcept;
  [[nodiscard]] bool apply(const virtio::NetHeader& header, packet::FrameView& view) const noexcept;
  void lose(packet::FrameView& view, const char* why) noexcept;

  virtio::Queue ring_;
  memory::GuestMemory buffers_;
  FrameFormat format_;
  QueueCounters counters_;
  FaultReport report_;

  std::size_t count_ = 0;        // frames of this burst
  std::size_t slice_count_ = 0;  // of slices_
  std::size_t long_count_ = 0;   // of long_headers_
  std::array<std::uint32_t, kBurst> lengths_{};
  std::uint32_t lost_ = 0;  // a bit for each of this burst: counted when it is done, as it may be seen again before
  std::array<packet::Slice, kSliceRoom> slices_{};
  // The first bytes of each frame. Not cleared: written before they are read.
  std::array<std::array<std::byte, packet::kHeaderRoom>, kBurst> headers_;
  std::array<std::array<std::byte, packet::kLongestHeader>, kLongHeaders> long_headers_;
};

}  // namespace vmux::device::virtio_net

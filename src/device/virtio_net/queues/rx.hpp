// SPDX-License-Identifier: BSD-3-Clause
// Receive: frame views -> the guest's chains. One poller owns a queue; queues share nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "device/virtio_net/queues/queue_pair.hpp"
#include "device/virtio_net/rules.hpp"
#include "packet/frame.hpp"
#include "packet/transfer.hpp"
#include "virtio/net_header.hpp"
#include "virtio/queue.hpp"
#include "vmux/memory/guest_memory.hpp"

namespace vmux::device::virtio_net {

class RxQueue {
 public:
  /// `journal`: in memory that outlives the process.
  RxQueue(const char* name, unsigned index, nic::Alarm& alarm, virtio::QueueJournal& journal) noexcept
      : ring_(&journal), report_(name, "receive", index, alarm) {}
  RxQueue(const RxQueue&) = delete;
  RxQueue& operator=(const RxQueue&) = delete;

  void adopt(const std::shared_ptr<const memory::Table>& table) noexcept;
  void start(const virtio::QueueSetup& setup, const virtio::QueueState& state, const FrameFormat& format) noexcept;
  virtio::QueueState stop() noexcept { return ring_.stop(); }
  [[nodiscard]] virtio::Queue& ring() noexcept { return ring_; }
  [[nodiscard]] const virtio::Queue& ring() const noexcept { return ring_; }

  struct Delivered {
    std::size_t taken = 0;
    std::uint32_t lost_at = 0;  ///< a bit for each of those that was lost, because no chain is long enough
  };
  /// Copies frames into chains, from the front; those behind the last one taken found none. What is lost either way
  /// counts as dropped here too.
  [[nodiscard]] Delivered deliver(std::span<const packet::FrameView> frames, std::span<const RxInfo> infos,
                                  const packet::Accepts& accepts) noexcept;
  /// After the deliveries of a round. True: cause for an interrupt.
  [[nodiscard]] bool flush() noexcept;

  [[nodiscard]] const QueueCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] QueueCounters& counters() noexcept { return counters_; }

 private:
  static constexpr std::size_t kMaxSpans = 2 * virtio::Queue::kMaxChain;  // pieces of guest memory of one frame
  enum class Placed : std::uint8_t { yes, no_room, too_long, stopped };

  [[nodiscard]] std::size_t take_plain(std::span<const packet::FrameView> frames, std::span<const RxInfo> infos,
                                       const packet::Accepts& accepts) noexcept;
  [[nodiscard]] bool take_any(const packet::FrameView& view, const RxInfo& info,
                              const packet::Accepts& accepts) noexcept;
  [[nodiscard]] Placed place(std::uint32_t length) noexcept;
  [[nodiscard]] Placed add_chain(const virtio::Chain& chain, std::uint32_t left) noexcept;
  void store(packet::Pieces& pieces, const packet::Piece& piece, const RxInfo& info, bool takes_checksum) noexcept;
  void fill_header(std::byte* to, const virtio::NetHeader& header, const RxInfo& info) const noexcept;
  void publish() noexcept;

  virtio::Queue ring_;
  memory::GuestMemory buffers_;
  FrameFormat format_;
  QueueCounters counters_;
  FaultReport report_;

  std::span<const virtio::Chain> chains_;     // that wait, of this call
  std::size_t staged_ = 0;                    // of those, filled and not yet used
  std::size_t placed_ = 0, spans_count_ = 0;  // of the frame that is being placed: chains, pieces
  std::uint32_t taken_bytes_ = 0;             // of the last add_chain()
  std::size_t lost_ = 0;                      // of this call
  std::array<std::uint32_t, virtio::Queue::kMaxReady> written_{};
  std::array<std::span<std::byte>, kMaxSpans> spans_{};
};

}  // namespace vmux::device::virtio_net

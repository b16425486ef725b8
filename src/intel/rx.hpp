// SPDX-License-Identifier: BSD-3-Clause
// Receive: frame views -> the guest's buffers -> write-back. One poller owns a queue; queues share nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "intel/descriptors.hpp"
#include "intel/queue_config.hpp"
#include "intel/queue_journal.hpp"
#include "intel/rules/steer.hpp"
#include "intel/rx_verify.hpp"
#include "intel/rx_words.hpp"
#include "nic/alarm.hpp"
#include "packet/frame.hpp"
#include "packet/transfer.hpp"
#include "vmux/base/log.hpp"
#include "vmux/memory/guest_memory.hpp"

namespace vmux::intel {

class RxQueue {
 public:
  using WriteBack = RxWriteBack;

  /// `name` and `index` are for logs; what `name` points to must outlive the queue. `alarm`, if any, is raised when the
  /// queue stops. `cursors`, if any, is where the queue keeps what it goes by, in memory that outlives its process.
  RxQueue(const char* name, unsigned index, nic::Alarm* alarm = nullptr, RxMemory* cursors = nullptr) noexcept
      : cursors_(cursors == nullptr ? own_cursors_ : *cursors), name_(name), index_(index), alarm_(alarm) {}
  RxQueue(const RxQueue&) = delete;
  RxQueue& operator=(const RxQueue&) = delete;

  /// Attach this to the function: the queue's only access to guest memory.
  [[nodiscard]] memory::GuestMemory& memory() noexcept { return memory_; }

  /// While disabled. Control has checked length (8 to kMaxRingLength), buffer size (128 to 16256), layout, and that the
  /// ring lies on 128 bytes.
  void configure(const RxQueueConfig& config) noexcept { state_.config = config; }
  /// Starts at descriptor 0, whatever happened before.
  void enable() noexcept;
  void disable() noexcept;
  [[nodiscard]] bool is_enabled() const noexcept { return state_.enabled; }
  [[nodiscard]] bool is_stopped() const noexcept { return state_.fault != Fault::none; }

  /// Copies frames into buffers; returns how many were taken, from the front. A frame that is too long counts as taken
  /// and dropped; those behind the last one taken found no descriptors and count as dropped here too. `infos`: what
  /// steer() found, one per frame. `accepts`: as the port has told the switch. `tail`: the tail register, read with
  /// acquire.
  [[nodiscard]] std::size_t deliver(std::span<const packet::FrameView> frames, std::span<const RxInfo> infos,
                                    const packet::Accepts& accepts, std::uint32_t tail) noexcept;
  /// After the deliveries of a round. True when there was any: cause for an interrupt.
  [[nodiscard]] bool flush() noexcept;

  [[nodiscard]] const QueueCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] const QueueState<RxQueueConfig>& state() const noexcept { return state_; }
  [[nodiscard]] bool has_pending() const noexcept { return has_pending_; }
  /// Goes on where a saved queue was.
  void restore(const QueueSnapshot<RxQueueConfig>& saved) noexcept;
  /// As those of a TxQueue.
  [[nodiscard]] bool can_take_over() const noexcept;
  void take_over() noexcept;

 private:
  static constexpr std::size_t kBurst = 64;       // descriptors looked at and written back together
  static constexpr std::size_t kMaxBuffers = 96;  // of one frame: 9728 / 128, and some
  static constexpr std::size_t kMaxSpans = 160;   // pieces of guest memory of one frame
  static_assert(kBurst + kMaxBuffers == RxJournal::kRoom);

  /// Buffers that were found for one frame; nothing is written or consumed until commit().
  struct Placement {
    std::size_t buffers = 0, spans = 0;
  };
  struct Totals {
    std::uint32_t frames = 0, bytes = 0, multicast = 0, broadcast = 0;
    void add(std::uint32_t size, const RxInfo& info) noexcept {
      ++frames;
      bytes += size;
      multicast += (info.flags / RxInfo::multicast) & 1u;
      broadcast += (info.flags / RxInfo::broadcast) & 1u;
    }
    void add(const Totals& other) noexcept {
      frames += other.frames;
      bytes += other.bytes;
      multicast += other.multicast;
      broadcast += other.broadcast;
    }
  };
  enum class Placed : std::uint8_t { yes, no_room, stopped };

  [[nodiscard]] std::uint32_t free() const noexcept;
  void ask_for_descriptors(std::size_t from) noexcept;
  [[nodiscard]] std::size_t take_plain(std::span<const packet::FrameView> frames, std::span<const RxInfo> infos,
                                       const packet::Accepts& accepts) noexcept;
  [[nodiscard]] bool take_any(const packet::FrameView& view, const RxInfo& info,
                              const packet::Accepts& accepts) noexcept;
  [[nodiscard]] bool take_piece(packet::Pieces& pieces, const packet::Piece& piece, const RxInfo& info,
                                std::uint32_t inserted) noexcept;
  [[nodiscard]] Placed place(std::uint32_t length, Placement& placement) noexcept;
  [[nodiscard]] bool add_buffer(Iova at, std::uint32_t length, Placement& placement) noexcept;
  static void store_fcs(std::span<const std::span<std::byte>> stored, std::uint32_t length) noexcept;
  void commit(const Placement& placement, const RxInfo& info, bool is_l4_bad) noexcept;
  [[nodiscard]] static bool finish_plain(const packet::FrameView& view, const RxInfo& info, std::byte* stored,
                                         const packet::Ahead& ahead) noexcept;

  [[nodiscard]] bool is_flexible() const noexcept { return state_.config.rxdid >= rxdid::flex_nic; }
  [[nodiscard]] WriteBack partial(std::uint32_t length) const noexcept;
  void stage(const WriteBack& words) noexcept;
  void publish() noexcept;
  [[nodiscard]] std::size_t publish_from(std::size_t done) noexcept;
  /// Descriptors from `first` on, `count` at most, where they lie; fewer if they are not all in the guest's memory.
  struct Pieces {
    static constexpr std::size_t kMost = 4;
    std::array<std::span<std::byte>, kMost> all;
    std::size_t used = 0, count = 0;
  };
  [[nodiscard]] Pieces find(std::uint32_t first, std::size_t count) noexcept;
  bool stop(Fault fault) noexcept;

  RxMemory own_cursors_{};  // of a queue that was given no other place
  RxMemory& cursors_;
  QueueState<RxQueueConfig>& state_{cursors_.state};
  RxJournal& journal_{cursors_.journal};
  QueueCounters counters_;
  const char* name_;
  unsigned index_;
  nic::Alarm* alarm_;
  memory::GuestMemory memory_;
  RateLimit log_limit_;
  bool has_pending_ = false;

  std::uint32_t tail_ = 0;        // of this call
  std::uint32_t size_ = kRxWide;  // bytes of a descriptor
  std::uint32_t next_ = 0;        // descriptor behind those staged; state_.head until publish()
  std::size_t staged_count_ = 0;  // of the journal's words: for descriptors from state_.head on
  Totals totals_;                 // of this call
  std::array<std::span<std::byte>, kMaxSpans + 4> spans_{};  // + 4: room for tags that are cut out
  std::array<std::uint16_t, kMaxBuffers> lengths_{};         // bytes in each buffer of a frame
};

}  // namespace vmux::intel

// SPDX-License-Identifier: BSD-3-Clause
// Transmit: descriptors -> frame views -> reports of completion. One poller owns a queue; queues share nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "intel/descriptors.hpp"
#include "intel/queue_config.hpp"
#include "intel/queue_journal.hpp"
#include "intel/tx_offload.hpp"
#include "nic/alarm.hpp"
#include "packet/frame.hpp"
#include "vmux/base/log.hpp"
#include "vmux/memory/guest_memory.hpp"

namespace vmux::intel {

/// The two words of a descriptor that programs Flow Director.
struct FlowProgram {
  std::uint64_t low = 0, high = 0;
};

class TxQueue {
 public:
  static constexpr std::size_t kBurst = 32;  ///< frames of one peek()

  /// `name` and `index` are for logs; what `name` points to must outlive the queue. `alarm`, if any, is raised when the
  /// queue stops. `cursors`, if any, is where the queue keeps what it goes by, in memory that outlives its process.
  TxQueue(const char* name, unsigned index, nic::Alarm* alarm = nullptr, TxMemory* cursors = nullptr) noexcept
      : cursors_(cursors == nullptr ? own_cursors_ : *cursors), name_(name), index_(index), alarm_(alarm) {}
  TxQueue(const TxQueue&) = delete;
  TxQueue& operator=(const TxQueue&) = delete;

  /// Attach this to the function: the queue's only access to guest memory.
  [[nodiscard]] memory::GuestMemory& memory() noexcept { return memory_; }

  /// While disabled. Control has checked the length (8 to kMaxRingLength) and that the ring lies on 128 bytes.
  void configure(const TxQueueConfig& config) noexcept { state_.config = config; }
  /// Starts at descriptor 0, whatever happened before.
  void enable() noexcept;
  void disable() noexcept;
  [[nodiscard]] bool is_enabled() const noexcept { return state_.enabled; }
  [[nodiscard]] bool is_stopped() const noexcept { return state_.fault != Fault::none; }

  /// The next frames, borrowed until complete(); at most into.size() and kBurst. One that could not be made is there as
  /// a view without bytes, which the switch counts as malformed. `tail`: the tail register, read with acquire. `vlan`:
  /// the port's rules, which are kept with it and not with each queue.
  [[nodiscard]] std::size_t peek(std::span<packet::FrameView> into, std::uint32_t tail,
                                 const VlanOffload& vlan) noexcept;
  /// What each of the peeked frames programs, of a queue that is configured for it: the frame tells the fields.
  [[nodiscard]] std::span<const FlowProgram> programs() const noexcept { return std::span{programs_}.first(count_); }
  /// The oldest `count` of those are done; the others will be peeked again. True when a report that the driver asked
  /// for was written: cause for an interrupt.
  [[nodiscard]] bool complete(std::size_t count) noexcept;

  [[nodiscard]] const QueueCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] const QueueState<TxQueueConfig>& state() const noexcept { return state_; }
  /// Goes on where a saved queue was.
  void restore(const QueueSnapshot<TxQueueConfig>& saved) noexcept;
  /// What lies in `cursors` is another's by now, which may have died while it wrote there: whether it can be; and then,
  /// its driver is told what that one may not have told. Behind that, restore() with the state that is there.
  [[nodiscard]] bool can_take_over() const noexcept;
  void take_over() noexcept;

 private:
  static constexpr std::size_t kFetch = 64;            // descriptors read at a time
  static constexpr std::size_t kMaxDescriptors = 256;  // of one frame: DPDK cuts a super-frame into 255 at most
  // Pieces of guest memory of one burst. A frame alone never needs all: a border of pages in each of its buffers and in
  // every 4 KiB of the longest super-frame, and a slice is kept for each other frame.
  static constexpr std::size_t kSliceRoom = 640;
  static constexpr std::size_t kReportRoom = kMaxDescriptors + kBurst;  // descriptors of one burst that ask for one
  static_assert(kReportRoom == TxJournal::kRoom);
  static constexpr std::size_t kLongHeaders = 4;  // frames of one burst that have them

  /// What has been peeked up to and with one frame.
  struct Peeked {
    std::uint16_t head = 0;                                             // the descriptor behind it
    std::uint16_t reports = 0;                                          // entries of the journal
    std::uint32_t frames = 0, bytes = 0, multicast = 0, broadcast = 0;  // on the wire, FCS not counted
    std::uint32_t errors = 0;
  };
  /// A frame whose descriptors are being read.
  struct Draft {
    TxRequest request;
    std::uint32_t length = 0, descriptors = 0;
    std::size_t first_slice = 0;
    bool has_data = false, is_done = false;
    FlowProgram program;
  };

  [[nodiscard]] std::span<const TxDescriptor> descriptors(std::uint32_t head, std::uint32_t tail) noexcept;
  [[nodiscard]] std::size_t take_plain(std::span<const TxDescriptor> raws, std::span<packet::FrameView> into) noexcept;
  [[nodiscard]] bool take_any(std::uint32_t tail, const VlanOffload& vlan, packet::FrameView& view) noexcept;
  [[nodiscard]] bool collect(std::uint32_t tail, Draft& draft) noexcept;
  [[nodiscard]] bool take(const TxDescriptor& raw, Draft& draft) noexcept;
  [[nodiscard]] bool add_buffer(Iova at, std::uint32_t length, Draft& draft) noexcept;
  [[nodiscard]] bool build(const Draft& draft, const VlanOffload& vlan, packet::FrameView& view) noexcept;
  [[nodiscard]] std::span<std::byte> header_room(std::uint32_t header_size) noexcept;
  void note_error(Outcome outcome) noexcept;
  void account(const packet::FrameView& view) noexcept;
  [[nodiscard]] bool report(std::size_t from, std::size_t end) noexcept;
  bool stop(Fault fault) noexcept;

  TxMemory own_cursors_{};  // of a queue that was given no other place
  TxMemory& cursors_;
  QueueState<TxQueueConfig>& state_{cursors_.state};
  TxJournal& journal_{cursors_.journal};
  QueueCounters counters_;
  const char* name_;
  unsigned index_;
  nic::Alarm* alarm_;
  memory::GuestMemory memory_;
  RateLimit log_limit_;

  std::size_t count_ = 0;        // frames of this burst
  std::size_t slice_count_ = 0;  // of slices_
  std::size_t long_count_ = 0;   // of long_headers_
  Peeked so_far_;                // of this burst
  std::uint32_t fetched_first_ = 0, fetched_count_ = 0;
  std::array<TxDescriptor, kFetch> fetched_{};
  std::array<Peeked, kBurst> peeked_{};
  std::array<FlowProgram, kBurst> programs_{};
  std::array<packet::Slice, kSliceRoom> slices_{};
  // The first bytes of each frame. Not cleared: written before they are read.
  std::array<std::array<std::byte, packet::kHeaderRoom>, kBurst> headers_;
  std::array<std::array<std::byte, packet::kLongestHeader>, kLongHeaders> long_headers_;
};

}  // namespace vmux::intel

// SPDX-License-Identifier: BSD-3-Clause
// The queue pairs that one poller owns, as its lane uses them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "device/iavf/interrupts.hpp"
#include "device/iavf/state.hpp"
#include "intel/queue_config.hpp"
#include "intel/rules/steer.hpp"
#include "intel/rx.hpp"
#include "intel/tx.hpp"
#include "nic/alarm.hpp"
#include "nic/lane.hpp"
#include "packet/frame.hpp"
#include "port/port.hpp"
#include "vmux/state/arena.hpp"

namespace vmux::device::iavf {

/// Where the news of a queue go.
struct VectorChoice {
  static constexpr std::uint16_t kNone = 0xffff;  ///< the driver looks for itself
  std::uint16_t vector = kNone;
  std::uint16_t itr = kNoItr;
};

struct QueuePair {
  QueuePair(const char* name, unsigned index, nic::Alarm& alarm, state::Arena& arena) noexcept
      : tx(name, index, &alarm, &arena.place<intel::TxMemory>(kTxTag + index)),
        rx(name, index, &alarm, &arena.place<intel::RxMemory>(kRxTag + index)) {}
  static constexpr std::uint32_t kTxTag = 0x100, kRxTag = 0x200;  // in the arena
  intel::TxQueue tx;
  intel::RxQueue rx;
  VectorChoice tx_vector, rx_vector;
  bool has_tx = false, has_rx = false;  // configured
};

/// What the queues of a lane share with those of all others.
struct Shared {
  Registers& registers;
  VectorStates& vectors;
  nic::Alarm& alarm;
  state::Arena& arena;
  bool is_mapped;  ///< doorbells are memory: pollers have to look
};

/// The queues of a nic::Lane. One thread at a time: the poller that owns them, or the home poller while that one is
/// kept out.
class LaneQueues {
 public:
  LaneQueues(const Shared& shared, runtime::Poller& poller, bool is_home)
      : registers_(shared.registers),
        interrupts_(shared.registers, shared.vectors, interrupt_counters_, poller, is_home),
        alarm_(shared.alarm),
        is_mapped_(shared.is_mapped),
        is_home_(is_home) {}

  // For control.
  void own(unsigned queue, QueuePair& pair) noexcept { pairs_[queue] = &pair; }
  void set_tx_enabled(unsigned queue, bool enabled) noexcept;
  void set_rx_enabled(unsigned queue, bool enabled) noexcept;
  [[nodiscard]] std::uint32_t tx_enabled() const noexcept { return tx_enabled_; }  ///< bit per queue
  [[nodiscard]] std::uint32_t rx_enabled() const noexcept { return rx_enabled_; }
  void set_rules(const std::shared_ptr<const intel::RxRules>& rules, const packet::Accepts& accepts) noexcept;
  void reset() noexcept;
  void pause() noexcept { interrupts_.pause(); }
  /// What was received is told; by a lane of another poller when that looks.
  void resume() noexcept;
  /// Both directions of a queue pair that has just been reset go on as they were.
  void restore(unsigned queue, const intel::QueueSnapshot<intel::TxQueueConfig>& tx,
               const intel::QueueSnapshot<intel::RxQueueConfig>& rx) noexcept;
  /// Both go on from where their states in the arena are, which are another's now.
  void cursors_taken_over(unsigned queue) noexcept;
  [[nodiscard]] InterruptUnit& interrupts() noexcept { return interrupts_; }
  [[nodiscard]] const InterruptUnit& interrupts() const noexcept { return interrupts_; }
  /// Readable by any thread.
  [[nodiscard]] const InterruptCounters& interrupt_counters() const noexcept { return interrupt_counters_; }

  // For the lane.
  template <class F>
  void for_each_memory(F&& visit) noexcept {
    for (QueuePair* const pair : pairs_) {
      if (pair == nullptr) continue;
      visit(pair->tx.memory());
      visit(pair->rx.memory());
    }
  }
  void set_memory(const std::shared_ptr<const memory::Table>& table) noexcept {
    for_each_memory([&](memory::GuestMemory& each) { each.adopt(table); });
  }
  void begin_round() noexcept {
    interrupts_.service();
    if (is_home_) alarm_.look();
  }
  void end_round() noexcept;
  std::size_t take(std::span<packet::FrameView> into) noexcept;
  void finish(std::span<const port::FrameResult> results) noexcept;
  port::Delivery deliver(std::span<const packet::FrameView> frames) noexcept;
  [[nodiscard]] const packet::Accepts& accepts() const noexcept { return accepts_; }
  [[nodiscard]] bool can_receive() const noexcept { return rx_enabled_ != 0; }
  [[nodiscard]] bool needs_polling() const noexcept { return is_mapped_ && (tx_enabled_ | rx_enabled_) != 0; }
  [[nodiscard]] std::uint16_t taken_from() const noexcept { return static_cast<std::uint16_t>(last_queue_); }
  [[nodiscard]] std::uint16_t given_to(std::size_t at) const noexcept {
    const std::uint16_t queue = infos_[at].queue;
    return queue == intel::RxInfo::kNobody ? port::kNoQueue : static_cast<std::uint16_t>(target_of(queue));
  }
  void released() noexcept {
    if (!is_home_) interrupts_.release_timer();
  }

 private:
  void raise_received() noexcept;
  /// Where frames for a queue go.
  [[nodiscard]] std::size_t target_of(std::uint16_t queue) const noexcept {
    return queue < pairs_.size() && (rx_enabled_ >> queue & 1) != 0 ? queue : fallback_queue_;
  }
  [[nodiscard]] std::uint32_t tail_of(std::uint32_t first, std::size_t queue) const noexcept {
    return registers_.get(first + static_cast<std::uint32_t>(queue) * 4) & 0x1fff;
  }

  Registers& registers_;
  InterruptCounters interrupt_counters_;
  InterruptUnit interrupts_;
  nic::Alarm& alarm_;
  const bool is_mapped_, is_home_;
  std::array<QueuePair*, kMaxQueuePairs> pairs_{};  // null: another lane's
  std::shared_ptr<const intel::RxRules> rules_;
  packet::Accepts accepts_;
  std::uint32_t tx_enabled_ = 0, rx_enabled_ = 0;  // bit per queue
  std::uint32_t received_ = 0;                     // queues with news since the last round ended
  std::uint32_t last_queue_ = 0;                   // the queue whose frames were taken last
  std::size_t fallback_queue_ = 0;                 // the queue for frames whose own does not run, or is not here
  std::array<intel::RxInfo, port::kMaxBurst> infos_{};
};

using Lane = nic::Lane<LaneQueues>;

}  // namespace vmux::device::iavf

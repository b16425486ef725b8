// SPDX-License-Identifier: BSD-3-Clause
// The queue pairs that one poller owns, as the switch uses them: all of a NIC's, or those of a lane of its port.
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
      : tx(name, index, &alarm, &arena.place<intel::QueueState<intel::TxQueueConfig>>(kTxTag + index)),
        rx(name, index, &alarm, &arena.place<intel::QueueState<intel::RxQueueConfig>>(kRxTag + index)) {}
  static constexpr std::uint32_t kTxTag = 0x100, kRxTag = 0x200;  // in the arena
  intel::TxQueue tx;
  intel::RxQueue rx;
  VectorChoice tx_vector, rx_vector;
  bool has_tx = false, has_rx = false;  // configured
};

/// One thread at a time: the poller that owns it, or the home poller while that one is kept out (side_lane.hpp).
class Lane {
 public:
  Lane(Registers& registers, InterruptUnit& interrupts) noexcept : registers_(registers), interrupts_(interrupts) {}

  // For control.
  void own(unsigned queue, QueuePair& pair) noexcept { pairs_[queue] = &pair; }
  void set_tx_enabled(unsigned queue, bool enabled) noexcept;
  void set_rx_enabled(unsigned queue, bool enabled) noexcept;
  void set_rules(const std::shared_ptr<const intel::RxRules>& rules, const packet::Accepts& accepts) noexcept;
  void set_memory(const std::shared_ptr<const memory::Table>& table) noexcept;
  void reset() noexcept;
  /// Both directions of a queue pair that has just been reset go on as they were.
  void restore(unsigned queue, const intel::QueueSnapshot<intel::TxQueueConfig>& tx,
               const intel::QueueSnapshot<intel::RxQueueConfig>& rx) noexcept;
  /// Both go on from where their states in the arena are, which are another's now.
  void cursors_taken_over(unsigned queue) noexcept;
  /// What flush() would tell, without telling it.
  void raise_received() noexcept;

  // For the port.
  [[nodiscard]] bool is_any_enabled() const noexcept { return tx_enabled_ != 0 || rx_enabled_ != 0; }
  [[nodiscard]] bool can_receive() const noexcept { return rx_enabled_ != 0; }
  std::size_t peek(std::span<packet::FrameView> into) noexcept;
  void complete(std::size_t count) noexcept;
  port::Delivery deliver(std::span<const packet::FrameView> frames) noexcept;
  void flush() noexcept;
  [[nodiscard]] const packet::Accepts& accepts() const noexcept { return accepts_; }

 private:
  [[nodiscard]] std::uint32_t tail_of(std::uint32_t first, std::size_t queue) const noexcept {
    return registers_.get(first + static_cast<std::uint32_t>(queue) * 4) & 0x1fff;
  }

  Registers& registers_;
  InterruptUnit& interrupts_;
  std::array<QueuePair*, kMaxQueuePairs> pairs_{};  // null: another lane's
  std::shared_ptr<const intel::RxRules> rules_;
  packet::Accepts accepts_;
  std::uint32_t tx_enabled_ = 0, rx_enabled_ = 0;  // bit per queue
  std::uint32_t received_ = 0;                     // queues with news since the last flush()
  std::uint32_t last_queue_ = 0;                   // the queue that was peeked last
  std::size_t fallback_queue_ = 0;                 // the queue for frames whose own does not run, or is not here
  std::array<intel::RxInfo, port::kMaxBurst> infos_{};
};

}  // namespace vmux::device::iavf

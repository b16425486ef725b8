// SPDX-License-Identifier: BSD-3-Clause
// The queues, and what decides about the frames that arrive. Home thread; what the switch asks comes through
// wire_port.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "device/e810/interrupts.hpp"
#include "device/e810/state.hpp"
#include "intel/queue_config.hpp"
#include "intel/rules/steer.hpp"
#include "intel/rx.hpp"
#include "intel/tx.hpp"
#include "packet/frame.hpp"
#include "port/port.hpp"
#include "vmux/pci/function.hpp"
#include "vmux/state/arena.hpp"

namespace vmux::device::e810 {

struct FrameStatistics {
  std::uint64_t rx_bytes = 0, rx_unicast = 0, rx_multicast = 0, rx_broadcast = 0, rx_discards = 0;
  std::uint64_t tx_bytes = 0, tx_unicast = 0, tx_multicast = 0, tx_broadcast = 0, tx_discards = 0, tx_errors = 0;
};

struct QueuePair {
  static constexpr std::uint32_t kTxTag = 0x100, kRxTag = 0x200;                              // in the arena
  static constexpr std::size_t kCursors = sizeof(intel::TxMemory) + sizeof(intel::RxMemory);  // bytes there
  QueuePair(const char* name, unsigned index, nic::Alarm& alarm, state::Arena& arena) noexcept
      : tx(name, index, &alarm, &arena.place<intel::TxMemory>(kTxTag + index)),
        rx(name, index, &alarm, &arena.place<intel::RxMemory>(kRxTag + index)) {}
  intel::TxQueue tx;
  intel::RxQueue rx;
};

class DataPath {
 public:
  /// `queues`: how many queue numbers there are.
  DataPath(Registers& registers, InterruptUnit& interrupts, NicCounters& counters, nic::Alarm& alarm,
           state::Arena& arena, const char* name, unsigned queues);
  void connect(pci::Function& function);
  void disconnect(pci::Function& function) noexcept;

  // For control.
  [[nodiscard]] unsigned queues() const noexcept { return static_cast<unsigned>(pairs_.size()); }
  /// "Add transmit queues": the queue runs from here on. `queue` is below queues(); false: no queue can be so.
  bool enable_tx(unsigned queue, const intel::TxQueueConfig& config) noexcept;
  void disable_tx(unsigned queue) noexcept;
  /// QRX_CTRL: by the context that stands in the registers at this moment. False: no queue can be so.
  bool enable_rx(unsigned queue) noexcept;
  void disable_rx(unsigned queue) noexcept;
  /// QRX_CTRL.QENA_STAT.
  [[nodiscard]] bool is_rx_enabled(unsigned queue) const noexcept {
    return pairs_[queue]->rx.is_enabled() || is_bufferless_[queue];
  }
  /// What decides about frames, to be edited; takes effect with publish().
  [[nodiscard]] intel::RxRules& rules() noexcept { return rules_; }
  [[nodiscard]] const intel::RxRules& rules() const noexcept { return rules_; }
  void publish() noexcept;
  /// All queues stop, and no frame is for this station.
  void reset() noexcept;
  [[nodiscard]] FrameStatistics statistics() const noexcept;
  [[nodiscard]] bool is_any_stopped() const noexcept;
  void save(SavedState& into) const;
  void load(const SavedState& from);
  /// The queues' states are another's now: whether they can be read at all, and then, what follows from them is made
  /// anew and their driver told.
  [[nodiscard]] bool are_cursors() const noexcept;
  void cursors_taken_over() noexcept;

  [[nodiscard]] const intel::TxQueue& tx(unsigned queue) const noexcept { return pairs_[queue]->tx; }
  [[nodiscard]] const intel::RxQueue& rx(unsigned queue) const noexcept { return pairs_[queue]->rx; }

  // For the port. What a queue has no room for while others get theirs is lost.
  [[nodiscard]] bool is_any_enabled() const noexcept { return !tx_running_.empty() || !rx_running_.empty(); }
  [[nodiscard]] bool can_receive() const noexcept { return !rx_running_.empty(); }
  [[nodiscard]] const packet::Accepts& accepts() const noexcept { return accepts_; }
  std::size_t peek(std::span<packet::FrameView> into) noexcept;
  void complete(std::size_t count) noexcept;
  [[nodiscard]] std::uint16_t peeked_queue() const noexcept { return peeked_queue_; }
  /// Where a frame of the last delivery went.
  [[nodiscard]] std::uint16_t given_to(std::size_t at) const noexcept {
    const std::uint16_t queue = infos_[at].queue;
    return queue == intel::RxInfo::kNobody || rx_running_.empty() ? port::kNoQueue : target_of(queue);
  }
  void deliver(std::span<const packet::FrameView> frames, port::Delivery& delivery) noexcept;
  void flush() noexcept;

 private:
  /// Where frames for a queue go, if any runs.
  [[nodiscard]] std::uint16_t target_of(std::uint16_t queue) const noexcept {
    return queue < pairs_.size() && pairs_[queue]->rx.is_enabled() ? queue : rx_running_.front();
  }
  void note_running() noexcept;
  void restore(std::size_t queue, const intel::QueueSnapshot<intel::TxQueueConfig>& tx,
               const intel::QueueSnapshot<intel::RxQueueConfig>& rx) noexcept;
  void program_flows(intel::TxQueue& queue, std::span<const packet::FrameView> frames) noexcept;

  Registers& registers_;
  InterruptUnit& interrupts_;
  NicCounters& counters_;
  std::vector<std::unique_ptr<QueuePair>> pairs_;
  std::vector<std::uint16_t> tx_running_, rx_running_;  // queue numbers, lowest first
  std::vector<bool> has_received_;                      // since the last flush(), by queue
  std::vector<bool> is_bufferless_;  // enabled without room for a frame: Linux 7's queue for Flow Director's reports
  bool has_any_received_ = false;
  intel::RxRules rules_;
  packet::Accepts accepts_;
  pci::Function* function_ = nullptr;
  std::size_t turn_ = 0;            // whose turn it is, of tx_running_
  std::uint16_t peeked_queue_ = 0;  // the queue that was peeked last
  std::vector<intel::RxInfo> infos_;
};

}  // namespace vmux::device::e810

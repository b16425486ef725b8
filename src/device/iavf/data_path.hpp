// SPDX-License-Identifier: BSD-3-Clause
// The queues and what they share, as control (virtchnl) sees them; the switch's side of them is lane.hpp. Home thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "device/iavf/interrupts.hpp"
#include "device/iavf/lane.hpp"
#include "device/iavf/side_lane.hpp"
#include "device/iavf/state.hpp"
#include "intel/queue_config.hpp"
#include "intel/rules/filter.hpp"
#include "intel/rules/rss.hpp"
#include "intel/rules/steer.hpp"
#include "intel/rx.hpp"
#include "intel/tx.hpp"
#include "packet/frame.hpp"
#include "port/port.hpp"
#include "vmux/pci/function.hpp"

namespace vmux::device::iavf {

struct FrameStatistics {
  std::uint64_t rx_bytes = 0, rx_unicast = 0, rx_multicast = 0, rx_broadcast = 0, rx_discards = 0;
  std::uint64_t tx_bytes = 0, tx_unicast = 0, tx_multicast = 0, tx_broadcast = 0, tx_discards = 0, tx_errors = 0;
};

class DataPath {
 public:
  /// `others`: the pollers beside the home one that own queues too. Queue i belongs to lane i modulo their number plus
  /// one; lane 0 is the home poller's.
  DataPath(Registers& registers, VectorStates& vectors, InterruptUnit& interrupts, nic::Alarm& alarm, const char* name,
           unsigned pairs, std::span<runtime::Poller* const> others, bool is_mapped, state::Arena& arena);
  void connect(pci::Function& function);
  void disconnect(pci::Function& function) noexcept;

  // For control. Queue numbers below queue_pairs() have been checked by the caller where nothing else is said.
  [[nodiscard]] unsigned queue_pairs() const noexcept { return static_cast<unsigned>(pairs_.size()); }
  /// A queue that runs is disabled first.
  void configure_tx(unsigned queue, const intel::TxQueueConfig& config) noexcept;
  void configure_rx(unsigned queue, const intel::RxQueueConfig& config) noexcept;
  void map_rx(unsigned queue, VectorChoice choice) noexcept;
  void map_tx(unsigned queue, VectorChoice choice) noexcept;
  /// Of all these queues (bit per queue) that have been configured; one that runs goes on. False: one has not been.
  bool set_enabled(std::uint32_t rx, std::uint32_t tx, bool enabled) noexcept;
  [[nodiscard]] FrameStatistics statistics() const noexcept;
  /// What decides about frames, to be edited; takes effect with publish().
  [[nodiscard]] intel::Filters& filters() noexcept { return draft_.filters; }
  [[nodiscard]] intel::Rss& rss() noexcept { return draft_.rss; }
  [[nodiscard]] intel::VlanOffload& vlan() noexcept { return draft_.vlan; }
  [[nodiscard]] intel::FlowTable& flows() noexcept { return draft_.flows; }
  [[nodiscard]] intel::Channels& channels() noexcept { return draft_.channels; }
  void publish() noexcept;
  void reset() noexcept;
  /// A reset, and the registers of the data path as it leaves them: for when the driver that wrote them is gone.
  void forget_driver() noexcept;
  void set_station_address(const intel::Mac& mac) noexcept;
  void set_link(bool up) noexcept;
  void set_dma(bool enabled) noexcept;
  /// By the driver: it knows of the last reset.
  void admin_queue_opened() noexcept;
  /// A register of the data pages was written by message: whose poller sleeps has to be told.
  void register_written(std::uint32_t offset) noexcept;
  /// Of the lanes beside the home one; resume() tells what the home lane has received, too.
  void pause() noexcept;
  void resume() noexcept;
  [[nodiscard]] bool is_any_stopped() const noexcept;  ///< a queue; while paused
  void save(SavedState& into) const;
  void load(const SavedState& from);
  /// The queues' states are another's now: whether they can be, and then, what follows from them is made anew.
  [[nodiscard]] bool are_cursors() const noexcept;
  void cursors_taken_over() noexcept;

  /// The lane of the home poller.
  [[nodiscard]] Lane& home() noexcept { return home_; }
  [[nodiscard]] const Lane& home() const noexcept { return home_; }
  [[nodiscard]] const std::vector<std::unique_ptr<SideLane>>& sides() const noexcept { return sides_; }
  /// How frames choose among several lanes, when that has changed since it was asked for last; else null.
  [[nodiscard]] std::shared_ptr<const port::Steering> take_steering() noexcept { return std::move(steering_); }

  [[nodiscard]] const intel::TxQueue& tx(unsigned queue) const noexcept { return pairs_[queue]->tx; }
  [[nodiscard]] const intel::RxQueue& rx(unsigned queue) const noexcept { return pairs_[queue]->rx; }

 private:
  [[nodiscard]] SideLane* side_of(std::size_t queue) const noexcept {
    const std::size_t lane = queue % (sides_.size() + 1);
    return lane == 0 ? nullptr : sides_[lane - 1].get();
  }
  template <class F>
  void change(std::size_t queue, F&& what) noexcept {
    SideLane* const side = side_of(queue);
    side == nullptr ? what(home_) : side->change(what);
  }
  template <class F>
  void change_all(F&& what) noexcept {
    what(home_);
    for (const auto& side : sides_)
      side->change(what);
  }
  void set_tx_enabled(unsigned queue, bool enabled) noexcept;
  void set_rx_enabled(unsigned queue, bool enabled) noexcept;
  [[nodiscard]] packet::Accepts accepts() const noexcept;
  void note_enabled() noexcept;

  Registers& registers_;
  std::vector<std::unique_ptr<QueuePair>> pairs_;
  Lane home_;
  std::vector<std::unique_ptr<SideLane>> sides_;
  intel::RxRules draft_;                           // what control edits
  std::uint32_t tx_enabled_ = 0, rx_enabled_ = 0;  // bit per queue
  std::shared_ptr<const port::Steering> steering_;
};

}  // namespace vmux::device::iavf

// SPDX-License-Identifier: BSD-3-Clause
// The queues and what they share, as control (virtchnl) sees them; the switch's side of them is lane_queues.hpp. Home
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/mac.hpp"
#include "device/iavf/interrupts.hpp"
#include "device/iavf/queues/lane_queues.hpp"
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
  DataPath(const Shared& shared, const nic::RunState& state, const char* name, unsigned pairs, runtime::Poller& home,
           std::span<runtime::Poller* const> others);
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
  /// What decides about frames.
  [[nodiscard]] const intel::RxRules& rules() const noexcept { return draft_; }
  /// The same, to be edited; takes effect with the next publish_changes().
  [[nodiscard]] intel::Filters& filters() noexcept { return edit().filters; }
  [[nodiscard]] intel::Rss& rss() noexcept { return edit().rss; }
  [[nodiscard]] intel::VlanOffload& vlan() noexcept { return edit().vlan; }
  [[nodiscard]] intel::FlowTable& flows() noexcept { return edit().flows; }
  [[nodiscard]] intel::Channels& channels() noexcept { return edit().channels; }
  /// After each message, and whatever else may have edited the rules: costs a test if nothing has.
  void publish_changes() noexcept {
    if (is_edited_) publish(rx_enabled());
  }
  void reset() noexcept;
  /// A reset, and the registers of the data path as it leaves them: for when the driver that wrote them is gone.
  void forget_driver() noexcept;
  void set_station_address(const MacAddress& mac) noexcept;
  /// RunState's link has changed.
  void link_changed() noexcept;
  /// By the driver: it knows of the last reset.
  void admin_queue_opened() noexcept;
  /// A register of the data pages was written by message: whose poller sleeps has to be told.
  void register_written(std::uint32_t offset) noexcept;
  void pause() noexcept;
  void resume() noexcept;
  [[nodiscard]] bool is_any_stopped() const noexcept;  ///< a queue; while paused
  void save(SavedState& into) const;
  void load(const SavedState& from);
  /// The queues' states are another's now: whether they can be, and then, what follows from them is made anew.
  [[nodiscard]] bool are_cursors() const noexcept;
  void cursors_taken_over() noexcept;

  /// The home poller's first.
  [[nodiscard]] const std::vector<std::unique_ptr<Lane>>& lanes() const noexcept { return lanes_; }
  /// Those of the home lane, which tell of the admin queue too.
  [[nodiscard]] InterruptUnit& interrupts() noexcept { return lanes_.front()->queues().interrupts(); }

  [[nodiscard]] const intel::TxQueue& tx(unsigned queue) const noexcept { return pairs_[queue]->tx; }
  [[nodiscard]] const intel::RxQueue& rx(unsigned queue) const noexcept { return pairs_[queue]->rx; }

 private:
  [[nodiscard]] Lane& lane_of(std::size_t queue) const noexcept { return *lanes_[queue % lanes_.size()]; }
  template <class F>
  void change(std::size_t queue, F&& what) noexcept {
    lane_of(queue).change(what);
  }
  template <class F>
  void change_all(F&& what) noexcept {
    for (const auto& lane : lanes_)
      lane->change(what);
  }
  [[nodiscard]] intel::RxRules& edit() noexcept {
    is_edited_ = true;
    return draft_;
  }
  [[nodiscard]] std::uint32_t tx_enabled() const noexcept;  // bit per queue
  [[nodiscard]] std::uint32_t rx_enabled() const noexcept;
  void set_tx_enabled(unsigned queue, bool enabled) noexcept;
  void set_rx_enabled(unsigned queue, bool enabled) noexcept;
  [[nodiscard]] packet::Accepts accepts(std::uint32_t rx_enabled) const noexcept;
  void publish(std::uint32_t rx_enabled) noexcept;

  Registers& registers_;
  std::vector<std::unique_ptr<QueuePair>> pairs_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  intel::RxRules draft_;  // what control edits
  bool is_edited_ = false;
};

}  // namespace vmux::device::iavf

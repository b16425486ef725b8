// SPDX-License-Identifier: BSD-3-Clause
// The queues and what they share, between control (virtchnl) and the switch (port). Home thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "device/iavf/filter.hpp"
#include "device/iavf/interrupts.hpp"
#include "device/iavf/queue_config.hpp"
#include "device/iavf/rss.hpp"
#include "device/iavf/rx.hpp"
#include "device/iavf/state.hpp"
#include "device/iavf/steer.hpp"
#include "device/iavf/tx.hpp"
#include "packet/frame.hpp"
#include "port/port.hpp"
#include "vmux/pci/function.hpp"

namespace vmux::device::iavf {

/// Where the news of a queue go.
struct VectorChoice {
  static constexpr std::uint16_t kNone = 0xffff;  ///< the driver looks for itself
  std::uint16_t vector = kNone;
  std::uint16_t itr = kNoItr;
};

struct FrameStatistics {
  std::uint64_t rx_bytes = 0, rx_unicast = 0, rx_multicast = 0, rx_broadcast = 0, rx_discards = 0;
  std::uint64_t tx_bytes = 0, tx_unicast = 0, tx_multicast = 0, tx_broadcast = 0, tx_discards = 0, tx_errors = 0;
};

class DataPath {
 public:
  DataPath(Registers& registers, InterruptUnit& interrupts, port::PortCounters& port, const char* name, unsigned pairs);
  void connect(pci::Function& function);
  void disconnect(pci::Function& function) noexcept;

  // For control. Queue numbers below queue_pairs() have been checked by the caller where nothing else is said.
  [[nodiscard]] unsigned queue_pairs() const noexcept { return static_cast<unsigned>(pairs_.size()); }
  /// A queue that runs cannot be configured.
  [[nodiscard]] bool may_configure(unsigned queue) const noexcept;
  bool configure_tx(unsigned queue, const TxQueueConfig& config) noexcept;
  bool configure_rx(unsigned queue, const RxQueueConfig& config) noexcept;
  void map_rx(unsigned queue, VectorChoice choice) noexcept { pairs_[queue]->rx_vector = choice; }
  void map_tx(unsigned queue, VectorChoice choice) noexcept { pairs_[queue]->tx_vector = choice; }
  /// False: the queue has not been configured.
  bool set_tx_enabled(unsigned queue, bool enabled) noexcept;
  bool set_rx_enabled(unsigned queue, bool enabled) noexcept;
  [[nodiscard]] FrameStatistics statistics() const noexcept;
  /// What decides about frames, to be edited; takes effect with publish().
  [[nodiscard]] Filters& filters() noexcept { return draft_.filters; }
  [[nodiscard]] Rss& rss() noexcept { return draft_.rss; }
  [[nodiscard]] VlanOffload& vlan() noexcept { return draft_.vlan; }
  [[nodiscard]] FlowTable& flows() noexcept { return draft_.flows; }
  void publish() noexcept;
  void reset() noexcept;
  void set_station_address(const Mac& mac) noexcept;

  // For the port.
  [[nodiscard]] bool is_any_enabled() const noexcept { return tx_enabled_ != 0 || rx_enabled_ != 0; }
  [[nodiscard]] bool can_receive() const noexcept { return rx_enabled_ != 0; }
  std::size_t peek(std::span<packet::FrameView> into) noexcept;
  void complete(std::size_t count) noexcept;
  std::size_t deliver(std::span<const packet::FrameView> frames) noexcept;
  void flush() noexcept;
  [[nodiscard]] packet::Accepts accepts() const noexcept { return accepts_; }

  [[nodiscard]] const TxQueue& tx(unsigned queue) const noexcept { return pairs_[queue]->tx; }
  [[nodiscard]] const RxQueue& rx(unsigned queue) const noexcept { return pairs_[queue]->rx; }

 private:
  struct Pair {
    Pair(const char* name, unsigned index) noexcept : tx(name, index), rx(name, index) {}
    TxQueue tx;
    RxQueue rx;
    VectorChoice tx_vector, rx_vector;
    bool has_tx = false, has_rx = false;  // configured
  };

  [[nodiscard]] std::uint32_t tail_of(std::uint32_t first, std::size_t queue) const noexcept {
    return registers_.get(first + static_cast<std::uint32_t>(queue) * 4) & 0x1fff;
  }
  void queues_changed() noexcept;

  Registers& registers_;
  InterruptUnit& interrupts_;
  port::PortCounters& port_;
  std::vector<std::unique_ptr<Pair>> pairs_;
  RxRules draft_;                         // what control edits
  std::shared_ptr<const RxRules> rules_;  // what is in force
  packet::Accepts accepts_;
  std::uint32_t tx_enabled_ = 0, rx_enabled_ = 0;  // bit per queue
  std::uint32_t received_ = 0;                     // queues with news since the last flush()
  std::uint32_t turn_ = 0;                         // the queue that was peeked last
  std::array<RxInfo, port::kMaxBurst> infos_{};
};

}  // namespace vmux::device::iavf

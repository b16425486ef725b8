// SPDX-License-Identifier: BSD-3-Clause
// A lane of the port on a poller that is not the device's home, and what keeps the two apart.
#pragma once

#include <cstdint>
#include <memory>

#include "device/iavf/interrupts.hpp"
#include "device/iavf/lane.hpp"
#include "port/port.hpp"
#include "runtime/gate.hpp"
#include "vmux/memory/address_space.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::device::iavf {

/// Its poller has it between enter() and leave() of the gate: in a round, and in calls beside one. The home thread
/// changes it with change(), at once and without a message: the guest's request that asked for it (an admin command, an
/// UNMAP, a reset, bus mastering off) can be answered right away, and the wait is for a burst at most. A change by
/// message would have every such answer wait, and two homes whose devices reset could not wait for each other.
class SideLane final : public port::Port, private memory::Observer {
 public:
  SideLane(Registers& registers, VectorStates& vectors, runtime::Poller& poller, bool is_mapped);

  // The home thread:
  void connect(pci::Interrupts& vectors, memory::AddressSpace& space);
  void disconnect() noexcept;
  template <class F>
  void change(F&& what) noexcept {
    gate_.close();
    what(lane_);
    gate_.open();
    poller_.wake();
  }
  void own(unsigned queue, QueuePair& pair) noexcept { lane_.own(queue, pair); }  ///< before connect()
  void set_dma(bool enabled) noexcept;
  void set_link(bool up) noexcept;
  void reset() noexcept;
  void wake() noexcept { poller_.wake(); }
  void pause() noexcept;
  void resume() noexcept;
  /// Reads what the lane's poller has, while that is kept out.
  template <class F>
  void look(F&& what) noexcept {
    gate_.close();
    what();
    gate_.open();
  }
  [[nodiscard]] const InterruptUnit& interrupts() const noexcept { return interrupts_; }
  [[nodiscard]] const NicCounters& nic_counters() const noexcept { return nic_counters_; }

  // port::Port
  void begin_round() noexcept override;
  void end_round() noexcept override;
  std::size_t take(std::span<packet::FrameView> into) noexcept override;
  void finish(std::span<const port::FrameResult> results) noexcept override;
  port::Delivery deliver(std::span<const packet::FrameView> frames) noexcept override;
  [[nodiscard]] packet::Accepts accepts() const noexcept override;
  [[nodiscard]] bool needs_polling() const noexcept override;
  [[nodiscard]] bool is_ready() const noexcept override;
  void released() noexcept override;

 private:
  void adopt(std::shared_ptr<const memory::Table> table, std::uint64_t generation) noexcept override;
  void hand_out_memory() noexcept;
  void timer_expired() noexcept;
  /// For a question that may be asked in a round or beside one.
  template <class F>
  auto inside(F&& what) const noexcept {
    if (is_in_round_) return what();
    gate_.enter();
    const auto answer = what();
    gate_.leave();
    return answer;
  }
  [[nodiscard]] bool is_open() const noexcept { return is_link_up_ && is_dma_on_ && !is_paused_; }

  runtime::Poller& poller_;
  const bool is_mapped_;  // doorbells are memory: the poller has to look
  mutable runtime::Gate gate_;
  NicCounters nic_counters_;  // of its interrupts
  InterruptUnit interrupts_;
  Lane lane_;
  bool is_dma_on_ = false, is_link_up_ = true, is_paused_ = false;
  bool is_in_round_ = false;  // its poller's

  // The home thread's:
  memory::AddressSpace* space_ = nullptr;
  std::shared_ptr<const memory::Table> table_;
};

}  // namespace vmux::device::iavf

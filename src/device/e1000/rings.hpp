// SPDX-License-Identifier: BSD-3-Clause
// Both rings of the card, as its one lane uses them. Home thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "device/e1000/interrupts.hpp"
#include "device/e1000/rx/rx.hpp"
#include "device/e1000/state.hpp"
#include "device/e1000/tx/tx.hpp"
#include "nic/lane.hpp"
#include "nic/run_state.hpp"
#include "port/port.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::device::e1000 {

class Rings {
 public:
  /// `is_mapped`: the ring registers are memory that the guest may map. `name` must outlive this.
  Rings(const nic::RunState& run_state, State& state, Journals& journals, Registers& registers, NicCounters& counters,
        InterruptUnit& interrupts, runtime::Poller& poller, bool is_mapped, const char* name)
      : tx(state, journals.tx, registers, counters, interrupts, name),
        rx(state, journals.rx, registers, counters, interrupts, name),
        run_state_(run_state),
        state_(state),
        registers_(registers),
        poller_(poller),
        is_mapped_(is_mapped),
        look_again_(poller, [] {}) {}  // being awake is all that it is for

  Transmitter tx;
  Receiver rx;

  // For the card.
  [[nodiscard]] bool transmits() const noexcept;
  [[nodiscard]] bool receives() const noexcept;  ///< from the cable, or what loops back
  /// Frames may wait that no doorbell will tell of.
  void look_for_more() noexcept { has_more_to_send_ = true; }
  /// A ring register was written by message, and mapped memory will be looked at again at `mapped_again_ns` at latest.
  void doorbell_trapped(std::uint64_t mapped_again_ns) noexcept;

  // For the lane.
  template <class F>
  void for_each_memory(F&& visit) noexcept {
    visit(tx.memory());
    visit(rx.memory());
  }
  void set_memory(const std::shared_ptr<const memory::Table>& table) noexcept {
    for_each_memory([&](memory::GuestMemory& each) { each.adopt(table); });
  }
  void begin_round() noexcept;
  void end_round() noexcept { rx.flush(); }
  std::size_t take(std::span<packet::FrameView> into) noexcept;
  void finish(std::span<const port::FrameResult> results) noexcept { tx.complete(results.size()); }
  port::Delivery deliver(std::span<const packet::FrameView> frames) noexcept { return {.taken = rx.deliver(frames)}; }
  [[nodiscard]] packet::Accepts accepts() const noexcept { return rx.accepts(); }
  [[nodiscard]] bool can_receive() const noexcept { return receives() && !is_loopback(); }
  [[nodiscard]] bool needs_polling() const noexcept;
  void released() noexcept {}

 private:
  [[nodiscard]] bool is_loopback() const noexcept;
  void loop_back() noexcept;

  const nic::RunState& run_state_;
  State& state_;
  Registers& registers_;
  runtime::Poller& poller_;
  const bool is_mapped_;
  bool has_more_to_send_ = false;  // what no doorbell tells of again, nor a full burst
  // While the client has its mapping turned off: see Nic::note_trapped_doorbell().
  std::uint64_t trapped_since_ns_ = 0, quiet_until_ns_ = 0;
  runtime::Timer look_again_;
};

using Lane = nic::Lane<Rings>;

}  // namespace vmux::device::e1000

// SPDX-License-Identifier: BSD-3-Clause
// Cause -> moderation -> the INTx line. Home thread.
#pragma once

#include <cstdint>

#include "device/e1000/state.hpp"
#include "vmux/pci/interrupts.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::device::e1000 {

struct SavedState;

class InterruptUnit {
 public:
  InterruptUnit(State& state, Registers& registers, NicCounters& counters, runtime::Poller& poller);
  /// The line exists once the function does; it outlives this object's use.
  void connect(pci::Interrupts& line) noexcept { line_ = connected_ = &line; }

  /// Sets causes now, and asserts the line when one of them is enabled and ITR allows.
  void raise(std::uint32_t causes) noexcept;
  /// Transmit descriptors were written back: to be told at once, or with a delay (TIDV and TADV, 3.4.3.2; at least
  /// report_delay(), see there).
  void transmit_done(bool immediate, bool delayed) noexcept;
  /// True while a delayed report of transmission has not been told.
  [[nodiscard]] bool is_transmit_waiting() const noexcept { return tx_due_ns_ != 0; }
  /// Frames were stored: RXT0 at once, or delayed by RDTR and RADV (3.2.7.1).
  void receive_done() noexcept;

  [[nodiscard]] std::uint32_t read_icr() noexcept;  ///< clears
  void write_icr(std::uint32_t clear) noexcept;
  void write_ims(std::uint32_t set) noexcept;
  void write_imc(std::uint32_t clear) noexcept;
  void itr_changed() noexcept { update(); }
  void reset() noexcept;
  [[nodiscard]] std::uint64_t last_asserted_ns() const noexcept { return asserted_ns_; }
  /// Rises and falls without a cause: see Nic::device_reset().
  void pulse() noexcept;

  /// From here to resume() causes are collected, the line stays as it is and no time passes.
  void pause() noexcept;
  /// The causes are another's: whether their driver has heard of them nobody knows, so it does once more.
  void causes_taken_over(std::uint32_t due) noexcept {
    is_asserted_ = false;
    state_.icr |= due & state_.ims;
  }
  /// For save() of a card that runs.
  void note_time() noexcept;
  void resume() noexcept;
  /// Both while paused.
  void save(SavedState& into) const;
  void load(const SavedState& from) noexcept;
  [[nodiscard]] static bool can_be(const SavedState& saved) noexcept;

 private:
  void update() noexcept;
  void expired() noexcept;
  void take_delayed() noexcept;
  void arm(std::uint64_t line_allowed_ns) noexcept;
  [[nodiscard]] std::uint64_t report_delay() const noexcept;
  void learn_from_answer(std::uint64_t now) noexcept;

  State& state_;
  Registers& registers_;
  NicCounters& counters_;
  pci::Interrupts* connected_ = nullptr;
  pci::Interrupts* line_ = nullptr;  // connected_, but for while paused
  runtime::Timer timer_;
  std::uint64_t asserted_ns_ = 0;                  // when the line last rose
  std::uint64_t tx_due_ns_ = 0, tx_first_ns_ = 0;  // 0: nothing delayed
  std::uint64_t rx_due_ns_ = 0, rx_first_ns_ = 0;
  std::uint64_t unanswered_ns_ = 0;  // first frame of the reports since the last receive interrupt
  bool is_answered_ = false;         // frames came soon after those that were sent last
  bool is_asserted_ = false;
  std::uint64_t paused_ns_ = 0;  // since when
};

}  // namespace vmux::device::e1000

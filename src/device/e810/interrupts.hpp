// SPDX-License-Identifier: BSD-3-Clause
// Cause -> moderation -> MSI-X vector. Home thread.
//
// A vector fires when a cause of it is pending, its GLINT_DYN_CTL has INTENA, and its ITR has passed since it last
// fired; firing clears INTENA (GLINT_CTL's automatic masking). What is pending while it is off fires when it is set.
#pragma once

#include <array>
#include <cstdint>

#include "device/e810/state.hpp"
#include "vmux/pci/interrupts.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::device::e810 {

struct SavedState;

class InterruptUnit {
 public:
  static constexpr std::uint64_t kLongestInterval = 0xfffull * 2000;  ///< ns

  InterruptUnit(Registers& registers, NicCounters& counters, runtime::Poller& poller);
  /// The vectors exist once the function does; they outlive this object's use.
  void connect(pci::Interrupts& vectors) noexcept { sinks_ = &vectors; }

  /// Of a queue or of a control queue: `control` is its QINT_TQCTL, QINT_RQCTL, PFINT_FW_CTL, ...
  void raise(std::uint32_t control) noexcept {
    if (!cause::cause_ena::is_set(control)) return;
    raise(cause::msix_indx::get(control), cause::itr_indx::get(control));
  }
  /// Bits of PFINT_OICR; those that PFINT_OICR_ENA has fire.
  void raise_other(std::uint32_t causes) noexcept;
  /// Fires what may fire; arms the timer for the rest. Costs one test when nothing is pending.
  void service() noexcept {
    if (is_any_pending_) fire_pending();
  }

  void control_written(unsigned vector, std::uint32_t value) noexcept;
  [[nodiscard]] std::uint32_t read_other() noexcept;  ///< PFINT_OICR: clears
  void other_enabled(std::uint32_t value) noexcept;   ///< PFINT_OICR_ENA
  /// As a reset of the function leaves it; PFINT_OICR is among the registers.
  void reset() noexcept;

  /// From here to resume() nothing fires; what is pending is remembered.
  [[nodiscard]] bool is_paused() const noexcept { return is_paused_; }
  void pause() noexcept;
  void resume(std::uint64_t passed_ns) noexcept;
  /// `now`: when it was paused.
  void save(SavedState& into, std::uint64_t now) const;
  void load(const SavedState& from, std::uint64_t now) noexcept;
  /// The registers are another's now: what may have been due without that it is known is told once more.
  void registers_taken_over() noexcept;

 private:
  struct Vector {
    std::uint64_t fired_ns = 0;
    std::uint8_t causes = 0;  // bit per ITR index
  };

  void raise(unsigned vector, std::uint32_t itr) noexcept;
  void fire_pending() noexcept;
  [[nodiscard]] std::uint64_t fire(unsigned vector, std::uint64_t now) noexcept;
  [[nodiscard]] std::uint64_t interval_ns(unsigned vector) const noexcept;

  Registers& registers_;
  NicCounters& counters_;
  runtime::Poller& poller_;
  pci::Interrupts* sinks_ = nullptr;
  runtime::Timer timer_;
  bool is_paused_ = false, is_any_pending_ = false;
  std::uint64_t armed_for_ns_ = 0;  // when the timer fires, if it is armed
  std::array<Vector, kMaxVectors> vectors_{};
};

}  // namespace vmux::device::e810

// SPDX-License-Identifier: BSD-3-Clause
// Cause -> moderation -> MSI-X vector. Home thread.
//
// A vector fires when it has news, its DYN_CTL has INTENA, and its ITR has passed since it last fired; firing clears
// INTENA. In poll mode the guest arms a vector by writing to memory, so "armed" is only looked at while there is news:
// nobody is told of a re-arm, and nobody needs to be.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "device/iavf/state.hpp"
#include "vmux/pci/interrupts.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::device::iavf {

class InterruptUnit {
 public:
  /// What brings back what had to wait: a timer, for which the unit must be made on its poller (or while that does not
  /// run) and destroyed there; or service() in every round, which has_news() asks for.
  enum class Clock : std::uint8_t { timer, rounds };
  InterruptUnit(Registers& registers, NicCounters& counters, runtime::Poller& poller, Clock clock = Clock::timer);
  /// The vectors exist once the function does; they outlive this object's use.
  void connect(pci::Interrupts& vectors) noexcept { vectors_ = &vectors; }

  /// The admin vector: sets a cause in ICR01 and tells the driver at once when ICR0_ENA1 allows.
  void raise_admin(std::uint32_t cause) noexcept;
  /// A queue's vector has news that `itr` (0 to 2, kNoItr) moderates. Vector 0 is allowed: some drivers map queues to
  /// it.
  void raise(unsigned vector, std::uint32_t itr) noexcept {
    pending_ |= 1u << vector;
    causes_[vector] = static_cast<std::uint8_t>(causes_[vector] | (1u << itr));
  }
  /// Fires what may fire; arms the timer for the rest. Once per round and per burst: costs one test when nothing waits.
  void service() noexcept {
    if (pending_ != 0) fire_pending();
    if (++rounds_ % kLookForSoftware == 0) look_for_software_triggers();
  }

  [[nodiscard]] bool has_news() const noexcept { return pending_ != 0; }

  /// DYN_CTL of a vector was written by message.
  void control_written(unsigned vector, std::uint32_t value) noexcept;
  /// A write by message to the mapped pages: the value stands in the register already.
  void control_changed(unsigned vector) noexcept;
  [[nodiscard]] std::uint32_t read_icr01() noexcept;  ///< clears
  void write_icr0_ena(std::uint32_t value) noexcept;
  void reset() noexcept;

  [[nodiscard]] static constexpr std::uint32_t control_register(unsigned vector) noexcept {
    return vector == 0 ? reg::VFINT_DYN_CTL01 : reg::VFINT_DYN_CTLN1 + (vector - 1) * 4;
  }

 private:
  static constexpr std::uint32_t kLookForSoftware = 64;  // rounds

  void fire_pending() noexcept;
  void expired() noexcept;
  [[nodiscard]] std::uint64_t fire(unsigned vector, std::uint64_t now) noexcept;
  void absorb(unsigned vector, std::uint32_t control) noexcept;
  [[nodiscard]] std::uint64_t interval_ns(unsigned vector) const noexcept;
  void look_for_software_triggers() noexcept;

  Registers& registers_;
  NicCounters& counters_;
  runtime::Poller& poller_;
  pci::Interrupts* vectors_ = nullptr;
  std::optional<runtime::Timer> timer_;  // none: Clock::rounds
  std::uint32_t pending_ = 0;            // bit per vector
  std::uint32_t untold_ = 0;             // causes of the admin vector since it last fired
  std::uint32_t rounds_ = 0;
  std::uint64_t patience_ns_ = 0;                // until an unarmed vector is looked at again
  std::uint64_t armed_for_ns_ = 0;               // when the timer will fire, if it is armed
  std::array<std::uint8_t, kVectors> causes_{};  // bit per ITR index
  std::array<std::uint32_t, kVectors> seen_{};   // DYN_CTL as it was last looked at
  std::array<std::uint64_t, kVectors> fired_ns_{};
};

}  // namespace vmux::device::iavf

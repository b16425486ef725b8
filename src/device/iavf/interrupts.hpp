// SPDX-License-Identifier: BSD-3-Clause
// Cause -> moderation -> MSI-X vector: one unit for the home poller's queues and one for each other lane's, on its
// poller.
//
// A vector fires when it has news, its DYN_CTL has INTENA, and its ITR has passed since it last fired; firing clears
// INTENA. In poll mode the guest arms a vector by writing to memory, so "armed" is only looked at while there is news:
// nobody is told of a re-arm, and nobody needs to be.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "device/iavf/state.hpp"
#include "vmux/pci/interrupts.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::device::iavf {

struct SavedState;

/// Written by the poller of the unit.
struct InterruptCounters {
  Counter sent;        ///< messages
  Counter suppressed;  ///< causes that made none of their own, as another of their vector waited already
};

class InterruptUnit {
 public:
  static constexpr std::uint64_t kLongestInterval = 0xfffull * 2000;  ///< ns

  /// Of the home poller's queues, where it is told of registers that are written by message, or of another lane's. It
  /// makes its timer when it first needs one, so on its poller, where release_timer() takes it away again.
  InterruptUnit(Registers& registers, VectorStates& vectors, InterruptCounters& counters, runtime::Poller& poller,
                bool is_home)
      : registers_(registers), states_(vectors), counters_(counters), poller_(poller), is_home_(is_home) {}
  /// What the timer calls: expired(), with whatever else that takes. Before any other call.
  void on_timer(std::function<void()> call) { on_timer_ = std::move(call); }
  /// The vectors exist once the function does; they outlive this object's use.
  void connect(pci::Interrupts& vectors) noexcept { vectors_ = &vectors; }

  /// The admin vector: sets a cause in ICR01 and tells the driver at once when ICR0_ENA1 allows.
  void raise_admin(std::uint32_t cause) noexcept;
  /// A queue's vector has news that `itr` (0 to 2, kNoItr) moderates. Vector 0 is allowed: some drivers map queues to
  /// it.
  void raise(unsigned vector, std::uint32_t itr) noexcept {
    if ((pending_ >> vector & 1) != 0) counters_.suppressed.add();
    pending_ |= 1u << vector;
    causes_[vector] = static_cast<std::uint8_t>(causes_[vector] | (1u << itr));
  }
  /// Fires what may fire; arms the timer for the rest. Once per round and per burst: costs one test when nothing waits.
  void service() noexcept {
    if (pending_ != 0) fire_pending();
    if (++rounds_ % kLookForSoftware == 0) look_for_software_triggers();
  }

  /// What had to wait may be due.
  void expired() noexcept;
  void release_timer() noexcept { timer_.reset(); }

  /// DYN_CTL of a vector was written by message.
  void control_written(unsigned vector, std::uint32_t value) noexcept;
  /// A write by message to the mapped pages: the value stands in the register already.
  void control_changed(unsigned vector) noexcept;
  [[nodiscard]] std::uint32_t read_icr01() noexcept;  ///< clears
  void write_icr0_ena(std::uint32_t value) noexcept;
  void reset() noexcept;

  /// From here to resume() nothing fires; what is to be told is remembered.
  void pause() noexcept;
  void resume() noexcept;
  void save(SavedState& into) const noexcept;
  void load(const SavedState& from) noexcept;

  [[nodiscard]] static constexpr std::uint32_t control_register(unsigned vector) noexcept {
    return vector == 0 ? reg::VFINT_DYN_CTL01 : reg::VFINT_DYN_CTLN1 + (vector - 1) * 4;
  }

 private:
  static constexpr std::uint32_t kLookForSoftware = 64;        // rounds
  static constexpr std::uint64_t kFirstRearmPoll_ns = 30'000;  // ns, see interrupts.cpp

  void fire_pending() noexcept;
  void wake_at(std::uint64_t when) noexcept;
  [[nodiscard]] std::uint64_t fire(unsigned vector, std::uint64_t now) noexcept;
  void consume_control_write(unsigned vector, std::uint32_t control) noexcept;
  [[nodiscard]] std::uint64_t interval_ns(unsigned vector) const noexcept;
  void look_for_software_triggers() noexcept;

  Registers& registers_;
  VectorStates& states_;
  InterruptCounters& counters_;
  runtime::Poller& poller_;
  const bool is_home_;
  std::function<void()> on_timer_;
  pci::Interrupts* vectors_ = nullptr;
  std::optional<runtime::Timer> timer_;
  bool is_paused_ = false;
  std::uint32_t pending_ = 0;     // bit per vector
  std::uint32_t unreported_ = 0;  // causes of the admin vector since it last fired
  std::uint32_t rounds_ = 0;
  std::uint64_t rearm_poll_ns_ = 0;              // until an unarmed vector is looked at again
  std::uint64_t armed_for_ns_ = 0;               // when the timer will fire, if it is armed
  std::array<std::uint8_t, kVectors> causes_{};  // bit per ITR index
};

}  // namespace vmux::device::iavf

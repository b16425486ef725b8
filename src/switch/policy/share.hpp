// SPDX-License-Identifier: BSD-3-Clause
// A limit that several ports share by their weights: what they send to a port whose limit_out it is.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "packet/frame.hpp"
#include "switch/member.hpp"
#include "switch/policy/meter.hpp"

namespace vmux::switching {

/// Guarantee and loan: a sender may send what is its part of the rate among those that send now, whatever others do;
/// and more, as long as the limit is not half used up: the more, the less it has borrowed lately. So nobody's part is
/// lost to the others, and nobody is held while there is room. What may not go yet is left with its sender, who is
/// asked again: nothing waits in here, and nothing is lost.
///
/// Any thread, at the same time as others; neither a lock nor an allocation.
class SharedLimit {
 public:
  /// A sender that sent nothing for so long has no part of the rate.
  static constexpr std::uint64_t kActive_ns = 20'000'000;

  explicit SharedLimit(const Limit& limit) noexcept;

  /// How many of these frames, from the front, the port in `slot` may send now. They are charged. `weight`: 1 to
  /// kMaxWeight.
  [[nodiscard]] std::size_t pass(std::uint32_t slot, std::uint32_t weight, std::span<const packet::FrameView> frames,
                                 std::uint64_t now_ns) noexcept;
  /// For how long it is of no use to ask again, after pass() has let fewer pass than it was asked for.
  [[nodiscard]] std::uint64_t wait_ns(std::uint32_t slot, std::uint64_t now_ns) const noexcept;
  /// Of those that send now, together.
  [[nodiscard]] std::uint32_t active_weight() const noexcept { return active_weight_.load(std::memory_order_relaxed); }

 private:
  struct alignas(64) Sender {
    Lead lead;                              // of its part
    std::atomic<std::uint64_t> last_ns{0};  // it sent, or wanted to
    std::atomic<std::uint32_t> weight{0};   // while it is counted in active_weight_
  };
  /// Units of the limit that a frame costs, in time of all of the rate: bits or frames, whichever takes longer.
  [[nodiscard]] double ticks_of(const packet::FrameView& view) const noexcept;
  void note_activity(Sender& sender, std::uint32_t weight, std::uint64_t now_ns) noexcept;
  void forget_silent(std::uint64_t now_ns) noexcept;

  double ticks_per_bit_, ticks_per_frame_;
  double depth_;  // of all of it, in ticks
  Lead lead_;     // of all senders together
  std::atomic<std::uint32_t> active_weight_{0};
  std::atomic<std::uint64_t> next_look_ns_{0};
  std::array<Sender, kMaxPorts> senders_;  // by slot
};

}  // namespace vmux::switching

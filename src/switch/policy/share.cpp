// SPDX-License-Identifier: BSD-3-Clause
#include "switch/policy/share.hpp"

#include <algorithm>

namespace vmux::switching {
namespace {

constexpr double kTicks = Lead::kTicks, kTicksPerSecond = Lead::kTicksPerSecond;
constexpr double kLongestDebt = 2 * SharedLimit::kActive_ns * kTicks;
constexpr double kUsualBurst = 10e6 * kTicks, kLeastBits = 8 * 64.0 * 1024;

double ticks_per(std::uint64_t rate) noexcept { return rate == 0 ? 0 : kTicksPerSecond / static_cast<double>(rate); }

}  // namespace

// Of its own part a sender may use a quarter of the depth at once, all of them together as much: so half of it is
// enough for what is guaranteed, and half is for loans.
SharedLimit::SharedLimit(const Limit& limit) noexcept
    : ticks_per_bit_(ticks_per(limit.bits_per_s)),
      ticks_per_frame_(ticks_per(limit.frames_per_s)),
      depth_(limit.burst_bytes == 0 ? std::max(kUsualBurst, kLeastBits * ticks_per_bit_)
                                    : std::max(Meter::kShortestBurst_s * kTicksPerSecond,
                                               8 * static_cast<double>(limit.burst_bytes) * ticks_per_bit_)) {}

double SharedLimit::ticks_of(const packet::FrameView& view) const noexcept {
  const OnWire wire = on_wire(view);
  return std::max(8 * static_cast<double>(wire.bytes) * ticks_per_bit_, wire.frames * ticks_per_frame_);
}

// The weight that is counted is the one that is taken off again, whatever it is then.
void SharedLimit::note_activity(Sender& sender, std::uint32_t weight, std::uint64_t now_ns) noexcept {
  sender.last_ns.store(now_ns, std::memory_order_relaxed);
  if (sender.weight.load(std::memory_order_relaxed) != weight) {
    const std::uint32_t before = sender.weight.exchange(weight, std::memory_order_relaxed);
    active_weight_.fetch_add(weight - before, std::memory_order_relaxed);
  }
  std::uint64_t due_ns = next_look_ns_.load(std::memory_order_relaxed);
  if (now_ns < due_ns) return;
  const bool is_mine =
      next_look_ns_.compare_exchange_strong(due_ns, now_ns + kActive_ns / 2, std::memory_order_relaxed);
  if (is_mine) forget_silent(now_ns);
}

void SharedLimit::forget_silent(std::uint64_t now_ns) noexcept {
  for (Sender& sender : senders_) {
    if (sender.weight.load(std::memory_order_relaxed) == 0) continue;
    const std::uint64_t last_ns = sender.last_ns.load(std::memory_order_relaxed);
    if (now_ns < last_ns + kActive_ns) continue;
    active_weight_.fetch_sub(sender.weight.exchange(0, std::memory_order_relaxed), std::memory_order_relaxed);
  }
}

std::size_t SharedLimit::pass(std::uint32_t slot, std::uint32_t weight, std::span<const packet::FrameView> frames,
                              std::uint64_t now_ns) noexcept {
  Sender& sender = senders_[slot];
  note_activity(sender, weight, now_ns);
  const double part = static_cast<double>(std::max(active_weight(), weight)) / weight;
  const double own_before = sender.lead.ahead(now_ns), all_before = lead_.ahead(now_ns);
  const double most = depth_ / 4 + std::min(depth_ * part, kLongestDebt);
  // Who owes the least may borrow the most, so that loans do not all go to who is asked first.
  const double for_loans = depth_ / 2 * (1 - 0.75 * std::min(1.0, own_before / most));
  double own = 0, all = 0;
  std::size_t passed = 0;
  for (; passed < frames.size() && all_before + all < depth_; ++passed) {
    const bool is_guaranteed = own_before + own < depth_ / 4;
    if (!is_guaranteed && all_before + all >= for_loans) break;
    const double ticks = ticks_of(frames[passed]);
    all += ticks;
    own += ticks * part;
  }
  if (passed == 0) return 0;
  lead_.charge(now_ns, all);
  // A loan is paid back as far as all of the limit at once: so who is asked first after a pause has no more than
  // others, and who had what nobody wanted for long is not held for long.
  const double owed = std::min(own, std::max(0.0, most - own_before));
  if (owed > 0) sender.lead.charge(now_ns, owed);
  return passed;
}

std::uint64_t SharedLimit::wait_ns(std::uint32_t slot, std::uint64_t now_ns) const noexcept {
  const double own = depth_ / 4, step = std::min(own / 4, kLongestWait);
  const double until_part = senders_[slot].lead.ahead(now_ns) - own, until_loan = lead_.ahead(now_ns) - depth_ / 2;
  const double until_room = lead_.ahead(now_ns) - depth_;
  const double wait = std::max(until_room, std::min(until_part, until_loan)) + step;
  return static_cast<std::uint64_t>(std::clamp(wait, 1 * kTicks, kLongestWait) / kTicks);
}

}  // namespace vmux::switching

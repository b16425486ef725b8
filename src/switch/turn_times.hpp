// SPDX-License-Identifier: BSD-3-Clause
// How long the switch takes for what a port sends: a histogram of some of the turns.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "vmux/base/counter.hpp"

namespace vmux::switching {

/// One turn in so many is timed: a prime, so that ports whose turns follow each other are all met.
inline constexpr std::uint32_t kTurnsPerSample = 61;
/// Bucket i counts what took less than 256 ns << i, and not less than the one before; the last what took longer.
inline constexpr std::size_t kTurnBuckets = 16;
[[nodiscard]] constexpr std::uint64_t turn_bound_ns(std::size_t bucket) noexcept { return 256ull << bucket; }

/// Sums of the shards of a switch.
struct TurnReport {
  std::array<std::uint64_t, kTurnBuckets> counts{};
  std::uint64_t sum_ns = 0;
};

/// Written by a shard's poller, read by any thread.
class TurnTimes {
 public:
  /// True of the turn that is to be timed.
  [[nodiscard]] bool is_due() noexcept {
    if (--left_ != 0) [[likely]]
      return false;
    left_ = kTurnsPerSample;
    return true;
  }
  void add(std::uint64_t ns) noexcept {
    counts_[bucket_of(ns)].add();
    sum_ns_.add(ns);
  }
  void add_to(TurnReport& into) const noexcept {
    for (std::size_t i = 0; i < kTurnBuckets; ++i)
      into.counts[i] += counts_[i].get();
    into.sum_ns += sum_ns_.get();
  }
  [[nodiscard]] static constexpr std::size_t bucket_of(std::uint64_t ns) noexcept {
    const auto bucket = static_cast<std::size_t>(std::bit_width(ns >> 8));
    return bucket < kTurnBuckets ? bucket : kTurnBuckets - 1;
  }

 private:
  std::uint32_t left_ = kTurnsPerSample;
  std::array<Counter, kTurnBuckets> counts_;
  Counter sum_ns_;
};

}  // namespace vmux::switching

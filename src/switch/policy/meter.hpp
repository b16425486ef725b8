// SPDX-License-Identifier: BSD-3-Clause
// How much of a port's frames may pass in a time, one way: a bucket of bits and one of frames.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "packet/frame.hpp"
#include "switch/switch.hpp"

namespace vmux::switching {

/// What a frame is on a wire: of a super-frame, its pieces with their headers.
struct OnWire {
  std::uint64_t bytes = 0;  ///< without FCS, preamble and gap; with a tag that is beside the bytes
  std::uint32_t frames = 0;
};
[[nodiscard]] OnWire on_wire(const packet::FrameView& view) noexcept;

/// How far the time that everything that passed takes at a rate is ahead of the clock, in ticks: 1/64 ns, so that a
/// frame of 64 bytes at 400 Gbit/s is right within a percent. Any thread.
class Lead {
 public:
  static constexpr double kTicks = 64;  ///< per nanosecond
  static constexpr double kTicksPerSecond = 1e9 * kTicks;

  /// Never less than 0.
  [[nodiscard]] double ahead(std::uint64_t now_ns) const noexcept {
    const std::int64_t by = lead(until_.load(std::memory_order_relaxed), clock_of(now_ns));
    return static_cast<double>(std::max<std::int64_t>(0, by));
  }
  void charge(std::uint64_t now_ns, double by) noexcept {
    const std::uint64_t now = clock_of(now_ns);
    const auto ticks = static_cast<std::uint64_t>(by);
    std::uint64_t until = until_.load(std::memory_order_relaxed), then = 0;
    do {
      then = (lead(until, now) > 0 ? until : now) + ticks;
    } while (!until_.compare_exchange_weak(until, then, std::memory_order_relaxed));
  }
  /// Of what was charged, and then did not go.
  void give_back(double ticks) noexcept {
    until_.fetch_sub(static_cast<std::uint64_t>(ticks), std::memory_order_relaxed);
  }

 private:
  static constexpr std::uint64_t kNever = 0;
  [[nodiscard]] static std::uint64_t clock_of(std::uint64_t now_ns) noexcept {
    return now_ns * static_cast<std::uint64_t>(kTicks);
  }
  [[nodiscard]] static std::int64_t lead(std::uint64_t until, std::uint64_t now) noexcept {
    return until == kNever ? 0 : static_cast<std::int64_t>(until - now);
  }
  std::atomic<std::uint64_t> until_{kNever};  // differences count, and silences of less than four years
};
/// Whoever waits need not look for each frame; nor does it wait for more than this much to be free.
inline constexpr double kLongestWait = 50'000 * Lead::kTicks;

/// The generic cell rate algorithm (ITU-T I.371, annex A), which is a token bucket in one word. A frame may pass while
/// its lead is less than the depth; so one frame may be as long as it likes, and those behind it wait the longer.
class Bucket {
 public:
  /// In `rate` units per second, `depth` of them at once. A rate of 0: no limit.
  Bucket(std::uint64_t rate, double depth) noexcept;

  [[nodiscard]] double ahead(std::uint64_t now_ns) const noexcept { return lead_.ahead(now_ns); }
  [[nodiscard]] bool has_room(double ahead_by) const noexcept { return ahead_by < depth_; }
  [[nodiscard]] double ticks(double units) const noexcept { return units * ticks_per_unit_; }
  void charge(std::uint64_t now_ns, double by) noexcept {
    if (ticks_per_unit_ != 0) lead_.charge(now_ns, by);
  }
  void give_back(double ticks) noexcept {
    if (ticks_per_unit_ != 0) lead_.give_back(ticks);
  }
  /// Until a quarter of its depth is free, or kLongestWait of it if that is less.
  [[nodiscard]] std::uint64_t wait_ns(std::uint64_t now_ns) const noexcept;

 private:
  double ticks_per_unit_, depth_;
  Lead lead_;
};

/// Any thread may use it at the same time as others: lanes of one port share one. Of what passes at one moment on
/// several, a burst each may be too early; all of it is charged, so that the rate holds.
class Meter {
 public:
  static constexpr double kShortestBurst_s = 2e-3;  ///< a poller may sleep for a millisecond

  explicit Meter(const Limit& limit) noexcept;

  /// How many of these frames, from the front, may pass now. They are charged.
  [[nodiscard]] std::size_t pass(std::span<const packet::FrameView> frames, std::uint64_t now_ns) noexcept;
  /// These passed, and have not gone: they will be asked for again.
  void give_back(std::span<const packet::FrameView> frames) noexcept;
  /// For how long it is of no use to ask again, after pass() has let fewer pass than it was asked for.
  [[nodiscard]] std::uint64_t wait_ns(std::uint64_t now_ns) const noexcept;

 private:
  Bucket bits_, frames_;
};

}  // namespace vmux::switching

// SPDX-License-Identifier: BSD-3-Clause
// What somebody traces of a port, from its poller to the control thread: bounded, and never waited for.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

#include "vmux/base/clock.hpp"
#include "vmux/base/counter.hpp"
#include "vmux/base/trace.hpp"
#include "vmux/runtime/spsc_ring.hpp"

namespace vmux::control {

/// The port's poller writes; the control thread reads. What finds no room is counted and gone.
class TraceRing final : public Tracer {
 public:
  static constexpr std::size_t kRecords = 16'384;                   ///< 56 bytes each
  static constexpr std::uint64_t kPatience_ns = 30'000'000'000ull;  ///< a reader that takes longer is gone

  /// `give_up` is called on the poller, when the ring is full and nobody has read for that long: it stops the tracing.
  explicit TraceRing(std::function<void()> give_up, std::size_t records = kRecords,
                     std::uint64_t patience_ns = kPatience_ns)
      : give_up_(std::move(give_up)), patience_ns_(patience_ns), ring_(records), read_ns_(monotonic_ns()) {}

  void record(const TraceRecord& record) noexcept override {
    TraceRecord timed = record;
    timed.time_ns = monotonic_ns();
    if (ring_.push(timed)) return;
    missed_.add();
    if (!is_later(timed.time_ns)) return;
    has_given_up_.store(true, std::memory_order_relaxed);
    give_up_();
  }

  /// The control thread: the oldest record; false: there is none.
  [[nodiscard]] bool take(TraceRecord& into) noexcept { return ring_.pop(into); }
  /// Somebody reads still.
  void note_reader(std::uint64_t now_ns = monotonic_ns()) noexcept {
    read_ns_.store(now_ns, std::memory_order_relaxed);
  }
  [[nodiscard]] bool is_abandoned() const noexcept { return is_later(monotonic_ns()); }
  /// `give_up` has been called: nothing comes any more. Any thread.
  [[nodiscard]] bool has_given_up() const noexcept { return has_given_up_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t missed() const noexcept { return missed_.get(); }

 private:
  /// Than a reader's patience ends, which may have begun anew since `now_ns` was taken.
  [[nodiscard]] bool is_later(std::uint64_t now_ns) const noexcept {
    return now_ns > read_ns_.load(std::memory_order_relaxed) + patience_ns_;
  }

  const std::function<void()> give_up_;
  const std::uint64_t patience_ns_;
  runtime::SpscRing<TraceRecord> ring_;
  std::atomic<std::uint64_t> read_ns_;
  std::atomic<bool> has_given_up_{false};
  Counter missed_;
};

}  // namespace vmux::control

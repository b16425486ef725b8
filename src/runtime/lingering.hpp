// SPDX-License-Identifier: BSD-3-Clause
// How long a poller that waits for events alone keeps looking before it sleeps: as KVM does it for halted VCPUs
// (Documentation/virt/kvm/halt-polling.rst). It pays where a request follows within microseconds of the last reply, and
// nobody else wants the CPU; where either is not so it costs next to nothing, because it is not done for long.
#pragma once

#include <algorithm>
#include <cstdint>

namespace vmux::runtime {

class Lingering {
 public:
  explicit Lingering(std::uint64_t max_ns) noexcept : max_(max_ns) {}

  [[nodiscard]] std::uint64_t window_ns() const noexcept { return window_; }

  /// An event came so long after the last work. One that a longer look would have found makes the next look longer.
  void found(std::uint64_t after_ns) noexcept {
    if (after_ns > max_) {
      window_ = 0;
    } else if (after_ns > window_) {
      if (wait_ > 0) {
        --wait_;
      } else {
        window_ = std::min(max_, std::max(kFirst, 2 * window_));
      }
    } else if (window_ > 0) {
      backoff_ = 1;
    }
  }

  /// Another thread ran on this CPU instead: it is needed there. The next attempt comes after so many events that a
  /// look would have found, twice as many each time.
  void crowded() noexcept {
    window_ = 0;
    wait_ = backoff_;
    backoff_ = std::min(2 * backoff_, kMaxBackoff);
  }

 private:
  static constexpr std::uint64_t kFirst = 10'000;  // ns
  static constexpr unsigned kMaxBackoff = 1024;
  std::uint64_t max_;
  std::uint64_t window_ = 0;
  unsigned wait_ = 0, backoff_ = 1;
};

}  // namespace vmux::runtime

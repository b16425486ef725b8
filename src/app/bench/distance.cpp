// SPDX-License-Identifier: BSD-3-Clause
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "app/bench/benches.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::bench {
namespace {

constexpr unsigned kTrips = 100;  // between two looks at the clock
constexpr std::uint64_t kTime_ns = 10'000'000;

bool pin_to(int cpu) noexcept {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(cpu, &only);
  return ::sched_setaffinity(0, sizeof only, &only) == 0;
}

// Two lines: the one that is asked on, and the one that is answered on.
struct Lines {
  alignas(128) std::atomic<unsigned> question{0};
  alignas(128) std::atomic<unsigned> answer{0};
};

constexpr unsigned kEnd = ~0u;

void answer_until_the_end(Lines& lines) noexcept {
  for (unsigned last = 0; last != kEnd;) {
    const unsigned seen = lines.question.load(std::memory_order_acquire);
    if (seen == last) continue;
    lines.answer.store(seen, std::memory_order_release);
    last = seen;
  }
}

void ask(Lines& lines, unsigned number) noexcept {
  lines.question.store(number, std::memory_order_release);
  while (lines.answer.load(std::memory_order_acquire) != number) {
  }
}

}  // namespace

Result<double> measure_distance(int from, int to) {
  cpu_set_t before;
  CPU_ZERO(&before);
  ::sched_getaffinity(0, sizeof before, &before);
  Lines lines;
  bool is_there = false;
  std::thread other{[&] {
    is_there = pin_to(to);
    answer_until_the_end(lines);
  }};
  const bool is_here = pin_to(from);
  unsigned number = 0;
  ask(lines, ++number);
  double least = 1e9;
  for (const std::uint64_t end = monotonic_ns() + kTime_ns; monotonic_ns() < end;) {
    const std::uint64_t start = monotonic_ns();
    for (unsigned trip = 0; trip < kTrips; ++trip)
      ask(lines, ++number);
    least = std::min(least, static_cast<double>(monotonic_ns() - start) / kTrips);
  }
  ask(lines, kEnd);
  other.join();
  ::sched_setaffinity(0, sizeof before, &before);
  if (!is_here || !is_there) return fail(Errc::invalid_argument, "no such CPU");
  return least;
}

}  // namespace vmux::bench

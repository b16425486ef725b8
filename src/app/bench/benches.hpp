// SPDX-License-Identifier: BSD-3-Clause
// The benchmarks, each from options to a report.
#pragma once

#include <functional>
#include <string>

#include "app/bench/report.hpp"
#include "vmux/base/result.hpp"

namespace vmux::bench {

struct Options {
  unsigned rounds = 0;  ///< interleaved: one sample of each side in every round
  std::function<void(const std::string& what, unsigned round)> progress;
};

[[nodiscard]] Result<Report> run_rtt(const Options& options);
[[nodiscard]] Result<Report> run_dma(const Options& options);
[[nodiscard]] Result<Report> run_forward(const Options& options);
[[nodiscard]] Result<Report> run_rules(const Options& options);

/// What a cache line takes from one CPU to another and back, nanoseconds, the least of 10 ms. In a virtual machine it
/// changes when its host moves a CPU: to the other half of a core, to another core, to another cache.
[[nodiscard]] Result<double> measure_distance(int from, int to);

}  // namespace vmux::bench

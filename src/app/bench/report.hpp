// SPDX-License-Identifier: BSD-3-Clause
// What a benchmark found: both sides and their ratio, for people and for programs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vmux::bench {

/// Interleaved samples of one comparison, one value a round and side. Its ratio is the median of the rounds' ratios:
/// the two samples of a round met the same machine, those of different rounds need not have.
struct Row {
  std::string name;         ///< what is measured, e.g. "blocking"
  std::uint64_t bytes = 0;  ///< size of the message or frame, 0: does not apply
  std::string direction;    ///< e.g. "round trip", "vm0 to vm1"
  std::string unit;         ///< of both sides, e.g. "ns", "frames/s"
  std::string goal;         ///< what the ratio is to be, for people, e.g. "<= 1.15"
  std::vector<double> ours;
  std::vector<double> reference;
};

[[nodiscard]] double median(std::vector<double> samples);

struct Report {
  std::string benchmark;
  std::string ours;       ///< what stands on our side, one line
  std::string reference;  ///< what stands on the other
  std::vector<Row> rows;

  [[nodiscard]] std::string to_json() const;
  [[nodiscard]] std::string to_table() const;
};

}  // namespace vmux::bench

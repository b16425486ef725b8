// SPDX-License-Identifier: BSD-3-Clause
// What the test and the servers that it kills have in common: which of them counts, and where it keeps its record.
#pragma once

#include <atomic>
#include <cstdint>

namespace vmux::survival {

/// In memory that all of them share. The one that counts is the last that has stored its number here, as its last act
/// before it serves.
struct Stage {
  static constexpr std::uint32_t kMost = 4096;
  std::atomic<std::uint32_t> serving;  ///< number of the process, from 1 on; 0: none yet
  struct Record {
    std::int32_t image, stream;  ///< numbers of its descriptors
  } records[kMost];
};

/// Descriptors that each process is started with.
inline constexpr int kStageFd = 3, kConnectionFd = 4, kTwinFd = 5, kBeforeFd = 6;  ///< the last: the twin before

}  // namespace vmux::survival

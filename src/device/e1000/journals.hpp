// SPDX-License-Identifier: BSD-3-Clause
// What the rings are about to tell their driver, beside the heads, in memory that outlives the process. A process may
// die between any two stores: before a head moves, nothing has been taken; behind that, what the driver has to see is
// done again, unless the driver has seen it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "device/e1000/state.hpp"

namespace vmux::device::e1000 {

/// The written halves of descriptors: all but DD comes first, so that one tells whether its driver has seen DD.
struct RxJournal {
  static constexpr std::size_t kRoom = 128;
  enum Phase : std::uint8_t { none, taking, telling };
  std::uint16_t before;        ///< the head, as it was
  std::uint16_t first, count;  ///< descriptors
  std::uint16_t told;          ///< of them, so many surely
  std::uint8_t phase;
  std::array<std::uint64_t, kRoom> halves;  ///< without DD
};

/// Descriptors whose driver wants to hear that they are done. The last that it has heard of is one that it has not used
/// anew, for a ring is never full.
struct TxJournal {
  static constexpr std::size_t kRoom = 1024;
  std::uint16_t before;  ///< TDH, as it was
  std::uint16_t count, told;
  std::uint8_t is_open;
  TxContext checksum, segment;  ///< that are remembered behind it
  std::array<std::uint16_t, kRoom> reports;
};

struct Journals {
  RxJournal rx;
  TxJournal tx;
};

}  // namespace vmux::device::e1000

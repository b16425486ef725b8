// SPDX-License-Identifier: BSD-3-Clause
// What a queue is about to tell its driver, beside what it goes by, in memory that outlives its process
// (state/arena.hpp). A process may die between any two stores:
//   - before the head moves, nothing has been taken: whoever goes on takes it again;
//   - behind that, what the driver has to see is done again, unless the driver has seen it and used the place anew.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "intel/queue_config.hpp"
#include "intel/rx_words.hpp"

namespace vmux::intel {

/// Of a receive queue: all of all descriptors but DD comes first, so that a descriptor tells whether its driver has
/// seen DD, and used the place anew.
struct RxJournal {
  static constexpr std::size_t kRoom = 160;  ///< descriptors that are told together
  enum Phase : std::uint8_t { none, taking, telling };
  std::uint16_t first, count;  ///< descriptors, from the one that was the head
  std::uint16_t from;          ///< where their words begin
  std::uint8_t phase;
  std::array<RxWriteBack, kRoom> words;
};

/// Of a transmit queue: descriptors whose driver wants to hear that they are done. The last that it has heard of is one
/// that it has not used anew, for a ring is never full.
struct TxJournal {
  static constexpr std::size_t kRoom = 288;
  std::uint16_t before;  ///< the head, as it was
  std::uint16_t count, told;
  std::uint8_t is_open;
  std::array<std::uint16_t, kRoom> reports;
};

struct TxMemory {
  QueueState<TxQueueConfig> state;
  TxJournal journal;
};
struct RxMemory {
  QueueState<RxQueueConfig> state;
  RxJournal journal;
};

}  // namespace vmux::intel

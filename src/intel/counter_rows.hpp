// SPDX-License-Identifier: BSD-3-Clause
// The tables of a queue's counters, whichever card has it.
#pragma once

#include <array>

#include "base/counter_row.hpp"
#include "intel/queue_config.hpp"

namespace vmux::intel {

inline constexpr auto kTxCounterRows = std::to_array<CounterRow<QueueCounters>>({
    {{"frames", "frames", "sent by this queue, as they would be on a wire"}, count_of<&QueueCounters::frames>},
    {{"errors", "frames", "that asked for what cannot be done: sent without, or not at all"},
     count_of<&QueueCounters::errors>},
});
inline constexpr auto kRxCounterRows = std::to_array<CounterRow<QueueCounters>>({
    {{"frames", "frames", "received by this queue"}, count_of<&QueueCounters::frames>},
    {{"dropped", "frames", "without a descriptor, or too long"}, count_of<&QueueCounters::dropped>},
});

}  // namespace vmux::intel

// SPDX-License-Identifier: BSD-3-Clause
// The table of what a poller counts.
#pragma once

#include <array>

#include "base/counter_row.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::runtime {

/// The times are of poller threads that start() has begun: a caller's own loop knows better what it does.
inline constexpr auto kPollerCounterRows = std::to_array<CounterRow<PollerStats>>({
    {{"rounds", "rounds", "that were made"}, count_of<&PollerStats::rounds>},
    {{"busy_rounds", "rounds", "of these, that found something to do"}, count_of<&PollerStats::busy_rounds>},
    {{"events", "events", "of watched descriptors: sockets, doorbells"}, count_of<&PollerStats::events>},
    {{"messages", "messages", "from other threads"}, count_of<&PollerStats::messages>},
    {{"sleeps", "times", "that it waited in the kernel for something to do"}, count_of<&PollerStats::sleeps>},
    {{"work", "frames", "or other work that was found by looking"}, count_of<&PollerStats::work>},
    {{"keeps_awake", "times", "that the kernel was asked to keep idle CPUs awake"},
     count_of<&PollerStats::keeps_awake>},
    {{"busy_ns", "nanoseconds", "in rounds that found something to do"}, count_of<&PollerStats::busy_ns>},
    {{"looking_ns", "nanoseconds", "in rounds that found nothing"}, count_of<&PollerStats::looking_ns>},
    {{"asleep_ns", "nanoseconds", "of waiting in the kernel"}, count_of<&PollerStats::asleep_ns>},
});

}  // namespace vmux::runtime

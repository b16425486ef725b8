// SPDX-License-Identifier: BSD-3-Clause
// The table of a physical function's counters.
#pragma once

#include <array>

#include "base/counter_row.hpp"
#include "passthrough/physical_function.hpp"

namespace vmux::passthrough {

inline constexpr auto kCounterRows = std::to_array<CounterRow<PhysicalCounters>>({
    {{"config.reads", "accesses", "of configuration space, by message"}, count_of<&PhysicalCounters::config_reads>},
    {{"config.writes", "accesses", "of configuration space, by message"}, count_of<&PhysicalCounters::config_writes>},
    {{"bar.reads", "accesses", "by message; what a VM maps is not seen"}, count_of<&PhysicalCounters::bar_reads>},
    {{"bar.writes", "accesses", "by message; what a VM maps is not seen"}, count_of<&PhysicalCounters::bar_writes>},
    {{"unanswered", "accesses", "that read as ones or went nowhere"}, count_of<&PhysicalCounters::unanswered>},
    {{"irq.requests", "requests", "to set up interrupts"}, count_of<&PhysicalCounters::irq_requests>},
    {{"resets", "resets", "of the device"}, count_of<&PhysicalCounters::resets>},
    {{"resets.function_level", "resets", "of these, by the guest in configuration space"},
     count_of<&PhysicalCounters::function_level_resets>},
    {{"errors", "errors", "fatal ones that the device reported"}, count_of<&PhysicalCounters::errors>},
    {{"release_requests", "requests", "of the host, which wants the device back"},
     count_of<&PhysicalCounters::release_requests>},
    {{"dma.without_fd", "ranges", "of memory that no device can reach, as they came without a descriptor"},
     count_of<&PhysicalCounters::memory_without_fd>},
});

}  // namespace vmux::passthrough

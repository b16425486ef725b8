// SPDX-License-Identifier: BSD-3-Clause
// The table of what an accelerated device counts.
#pragma once

#include <array>

#include "base/counter_row.hpp"
#include "vdpa/accelerated_device.hpp"

namespace vmux::vdpa {

template <auto Member>
[[nodiscard]] std::uint64_t accelerated(const AcceleratedDevice& device) noexcept {
  return (device.counters().*Member).get();
}

inline constexpr auto kCounterRows = std::to_array<CounterRow<AcceleratedDevice>>({
    {{"vf.direct", "0 or 1", "the function serves the guest's rings by itself", CounterKind::now},
     [](const AcceleratedDevice& device) noexcept -> std::uint64_t { return device.mode() == Mode::direct ? 1 : 0; }},
    {{"vf.shadow", "0 or 1", "the function serves them through rings of vMux's", CounterKind::now},
     [](const AcceleratedDevice& device) noexcept -> std::uint64_t { return device.mode() == Mode::shadow ? 1 : 0; }},
    {{"vf.software", "0 or 1", "software serves them in its place", CounterKind::now},
     [](const AcceleratedDevice& device) noexcept -> std::uint64_t { return device.mode() == Mode::software ? 1 : 0; }},
    {{"vf.waiting", "0 or 1", "nobody serves them: memory is being pinned, or the disk is away", CounterKind::now},
     [](const AcceleratedDevice& device) noexcept -> std::uint64_t { return device.mode() == Mode::waiting ? 1 : 0; }},
    {{"vf.link", "0 or 1", "the function's link is up, as far as it tells", CounterKind::now},
     [](const AcceleratedDevice& device) noexcept -> std::uint64_t { return device.is_link_up() ? 1 : 0; }},
    {{"vf.starts", "starts", "of the function with queues of a guest"}, accelerated<&AcceleratedCounters::starts>},
    {{"vf.direct_starts", "starts", "of these, on the guest's own rings"}, accelerated<&AcceleratedCounters::direct>},
    {{"vf.failures", "failures", "of the function while it served queues"},
     accelerated<&AcceleratedCounters::failures>},
    {{"vf.withdrawals", "requests", "of the host that wants the function back"},
     accelerated<&AcceleratedCounters::withdrawals>},
    {{"vf.stand_ins", "times", "that software took over"}, accelerated<&AcceleratedCounters::stand_ins>},
    {{"vf.lost_order", "queues", "that stand still, as the function had used chains in another order than the guest's"},
     accelerated<&AcceleratedCounters::lost_order>},
    {{"vf.kicks", "signals", "of guests that were passed on to the function"},
     accelerated<&AcceleratedCounters::kicks>},
    {{"vf.interrupts", "signals", "of the function that were passed on to guests; in direct mode none are"},
     accelerated<&AcceleratedCounters::interrupts>},
    {{"vf.shadow_chains", "chains", "that went through rings of vMux's"},
     [](const AcceleratedDevice& device) noexcept { return device.shadowed_chains(); }},
});

}  // namespace vmux::vdpa

// SPDX-License-Identifier: BSD-3-Clause
// The tables of a virtio network card's counters: of the card, and of each of its queues.
#pragma once

#include <array>

#include "base/counter_row.hpp"
#include "device/virtio_net/nic.hpp"

namespace vmux::device::virtio_net {

/// Times that any queue stopped for what the guest gave it.
[[nodiscard]] inline std::uint64_t guest_faults(const Nic& nic) noexcept {
  std::uint64_t sum = nic.control().guest_fault.get();
  for (unsigned pair = 0; pair < nic.pairs(); ++pair)
    sum += nic.tx(pair).guest_fault.get() + nic.rx(pair).guest_fault.get();
  return sum;
}
/// Of all data queues.
template <Counter QueueCounters::*Member>
[[nodiscard]] std::uint64_t sum_of(const Nic& nic) noexcept {
  std::uint64_t sum = 0;
  for (unsigned pair = 0; pair < nic.pairs(); ++pair)
    sum += (nic.tx(pair).*Member).get() + (nic.rx(pair).*Member).get();
  return sum;
}

inline constexpr auto kCounterRows = std::to_array<CounterRow<Nic>>({
    {{"commands", "commands", "of the control queue that were taken"},
     [](const Nic& nic) noexcept { return nic.nic_counters().commands.get(); }},
    {{"refused", "commands", "of these, answered with an error"},
     [](const Nic& nic) noexcept { return nic.nic_counters().refused.get(); }},
    {{"interrupts", "interrupts", "sent for data queues"}, sum_of<&QueueCounters::interrupts>},
    {{"interrupts_suppressed", "bursts", "of used chains of which the driver did not want to hear"},
     sum_of<&QueueCounters::interrupts_suppressed>},
    {{"resets", "resets", "of the card, whoever asked"},
     [](const Nic& nic) noexcept { return nic.nic_counters().resets.get(); }},
    {{"guest_fault", "faults", "times that any queue stopped for what the guest gave it"}, guest_faults},
});

inline constexpr auto kTxCounterRows = std::to_array<CounterRow<QueueCounters>>({
    {{"frames", "frames", "sent by this queue, a super-frame as one"}, count_of<&QueueCounters::frames>},
    {{"errors", "frames", "lost, because they are not what their headers say"}, count_of<&QueueCounters::errors>},
});
inline constexpr auto kRxCounterRows = std::to_array<CounterRow<QueueCounters>>({
    {{"frames", "frames", "received by this queue, a super-frame as one"}, count_of<&QueueCounters::frames>},
    {{"dropped", "frames", "without a chain, or too long for one"}, count_of<&QueueCounters::dropped>},
});

}  // namespace vmux::device::virtio_net

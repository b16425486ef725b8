// SPDX-License-Identifier: BSD-3-Clause
// The tables of an E810's counters: of the function, and of each of its queues.
#pragma once

#include <array>

#include "base/counter_row.hpp"
#include "device/e810/nic.hpp"
#include "intel/counter_rows.hpp"

namespace vmux::device::e810 {

namespace detail {

template <auto Member>
[[nodiscard]] std::uint64_t nic_count_of(const Nic& nic) noexcept {
  return count_of<Member>(nic.nic_counters());
}

}  // namespace detail

/// Times that any queue stopped for what the guest gave it.
[[nodiscard]] inline std::uint64_t guest_faults(const Nic& nic) noexcept {
  std::uint64_t sum = 0;
  for (unsigned queue = 0; queue < nic.data_path().queues(); ++queue) {
    sum += nic.data_path().tx(queue).counters().guest_fault.get();
    sum += nic.data_path().rx(queue).counters().guest_fault.get();
  }
  return sum;
}

inline constexpr auto kCounterRows = std::to_array<CounterRow<Nic>>({
    {{"commands", "commands", "of all control queues"}, detail::nic_count_of<&NicCounters::commands>},
    {{"refused", "commands", "of these, answered with an error"}, detail::nic_count_of<&NicCounters::refused>},
    {{"unknown_commands", "commands", "of these, of opcodes that are not there"},
     [](const Nic& nic) noexcept { return nic.nic_counters().unknown_commands.total(); }},
    {{"unknown_registers", "accesses", "to offsets where no register is"},
     [](const Nic& nic) noexcept { return nic.nic_counters().unknown_registers.total(); }},
    {{"admin_faults", "faults", "a control queue outside guest memory, or with an index beyond its end"},
     detail::nic_count_of<&NicCounters::admin_faults>},
    {{"lost_events", "events", "for which there was no receive descriptor of the guest's"},
     detail::nic_count_of<&NicCounters::lost_events>},
    {{"queue_refused", "queues", "with a context that no queue can have"},
     detail::nic_count_of<&NicCounters::queue_refused>},
    {{"flows_refused", "rules", "of Flow Director that cannot be understood, or found no room"},
     detail::nic_count_of<&NicCounters::flows_refused>},
    {{"interrupts", "interrupts", "sent, of all vectors"}, detail::nic_count_of<&NicCounters::interrupts>},
    {{"interrupts_suppressed", "causes", "that made none of their own, as another of their vector waited already"},
     detail::nic_count_of<&NicCounters::interrupts_suppressed>},
    {{"resets", "resets", "of the function and of the device, whoever asked"},
     detail::nic_count_of<&NicCounters::resets>},
    {{"guest_fault", "faults", "times that any queue stopped for what the guest gave it"}, guest_faults},
});

using intel::kRxCounterRows;
using intel::kTxCounterRows;

}  // namespace vmux::device::e810

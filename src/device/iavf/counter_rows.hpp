// SPDX-License-Identifier: BSD-3-Clause
// The tables of an iavf's counters: of the function, and of each of its queues.
#pragma once

#include <array>

#include "base/counter_row.hpp"
#include "device/iavf/nic.hpp"
#include "intel/counter_rows.hpp"

namespace vmux::device::iavf {

namespace detail {

template <auto Member>
[[nodiscard]] std::uint64_t nic_count_of(const Nic& nic) noexcept {
  return count_of<Member>(nic.nic_counters());
}

}  // namespace detail

/// Times that any queue stopped for what the guest gave it.
[[nodiscard]] inline std::uint64_t guest_faults(const Nic& nic) noexcept {
  std::uint64_t sum = 0;
  for (unsigned queue = 0; queue < nic.data_path().queue_pairs(); ++queue)
    sum +=
        nic.data_path().tx(queue).counters().guest_fault.get() + nic.data_path().rx(queue).counters().guest_fault.get();
  return sum;
}

inline constexpr auto kCounterRows = std::to_array<CounterRow<Nic>>({
    {{"messages", "messages", "of virtchnl that were taken"}, detail::nic_count_of<&NicCounters::messages>},
    {{"refused", "messages", "of these, answered with an error"}, detail::nic_count_of<&NicCounters::refused>},
    {{"admin_faults", "faults", "an admin queue outside guest memory, or with an index beyond its end"},
     detail::nic_count_of<&NicCounters::admin_faults>},
    {{"lost_replies", "messages", "for which there was no receive queue of the guest's"},
     detail::nic_count_of<&NicCounters::lost_replies>},
    {{"interrupts", "interrupts", "sent, of all vectors"},
     [](const Nic& nic) noexcept { return nic.interrupts(&InterruptCounters::sent); }},
    {{"interrupts_suppressed", "causes", "that made none of their own, as another of their vector waited already"},
     [](const Nic& nic) noexcept { return nic.interrupts(&InterruptCounters::suppressed); }},
    {{"resets", "resets", "of the function, whoever asked"}, detail::nic_count_of<&NicCounters::resets>},
    {{"all_groups", "events", "times that a group found no room in its table, so that all are received"},
     detail::nic_count_of<&NicCounters::all_groups>},
    {{"addresses_refused", "addresses", "of stations for which the table had no room"},
     detail::nic_count_of<&NicCounters::addresses_refused>},
    {{"guest_fault", "faults", "times that any queue stopped for what the guest gave it"}, guest_faults},
});

using intel::kRxCounterRows;
using intel::kTxCounterRows;

}  // namespace vmux::device::iavf

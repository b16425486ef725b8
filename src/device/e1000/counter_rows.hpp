// SPDX-License-Identifier: BSD-3-Clause
// The table of an e1000's counters.
#pragma once

#include <array>

#include "base/counter_row.hpp"
#include "device/e1000/state.hpp"

namespace vmux::device::e1000 {

inline constexpr auto kCounterRows = std::to_array<CounterRow<NicCounters>>({
    {{"tx.frames", "frames", "sent by the guest"}, count_of<&NicCounters::tx_frames>},
    {{"tx.bytes", "bytes", "of these frames"}, count_of<&NicCounters::tx_bytes>},
    {{"tx.guest_fault", "faults", "times that the transmit queue stopped for what the guest gave it"},
     count_of<&NicCounters::tx_guest_fault>},
    {{"tx.unsupported", "frames", "sent without a checksum that has no place in them"},
     count_of<&NicCounters::tx_unsupported>},
    {{"tx.lost", "frames", "too long for the part, or not fit for their segmentation context"},
     count_of<&NicCounters::tx_lost>},
    {{"rx.frames", "frames", "received by the guest"}, count_of<&NicCounters::rx_frames>},
    {{"rx.bytes", "bytes", "of these frames"}, count_of<&NicCounters::rx_bytes>},
    {{"rx.guest_fault", "faults", "times that the receive queue stopped for what the guest gave it"},
     count_of<&NicCounters::rx_guest_fault>},
    {{"rx.filtered", "frames", "not for this station"}, count_of<&NicCounters::rx_filtered>},
    {{"rx.missed", "frames", "for which there was neither a descriptor nor room in the FIFO"},
     count_of<&NicCounters::rx_missed>},
    {{"rx.buffered", "frames", "that waited in the FIFO"}, count_of<&NicCounters::rx_buffered>},
    {{"interrupts", "interrupts", "rising edges of INTx"}, count_of<&NicCounters::interrupts>},
    {{"interrupts_suppressed", "causes",
      "that made none when they came: masked, held back by ITR, or the driver had yet to see another"},
     count_of<&NicCounters::interrupts_suppressed>},
    {{"resets", "resets", "of the device, whoever asked"}, count_of<&NicCounters::resets>},
});

}  // namespace vmux::device::e1000

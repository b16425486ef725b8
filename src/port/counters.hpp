// SPDX-License-Identifier: BSD-3-Clause
// What the switch counts of each port, and the table by which it is told: statistics, their users and their
// documentation walk kPortCounters.
#pragma once

#include <array>
#include <cstddef>

#include "port/drop_reason.hpp"
#include "vmux/base/counter.hpp"

namespace vmux::port {

/// Seen from the switch: rx = frames that entered the switch from this port, tx = frames delivered to it.
/// Written by the port's poller.
class PortCounters {
 public:
  Counter rx_frames, rx_bytes, tx_frames, tx_bytes;
  [[nodiscard]] Counter& drops(DropReason why) noexcept { return drops_[index_of(why)]; }
  [[nodiscard]] const Counter& drops(DropReason why) const noexcept { return drops_[index_of(why)]; }

 private:
  std::array<Counter, kDropReasons.size()> drops_;
};

struct CounterRow {
  const char *name, *unit, *help;
  Counter PortCounters::*member = nullptr;  ///< null: the frames that were dropped for `why`
  DropReason why = DropReason::none;

  [[nodiscard]] const Counter& of(const PortCounters& counters) const noexcept {
    return member != nullptr ? counters.*member : counters.drops(why);
  }
};

inline constexpr auto kPortCounters = [] {
  constexpr auto kTraffic = std::to_array<CounterRow>({
      {"rx_frames", "frames", "came from the port", &PortCounters::rx_frames},
      {"rx_bytes", "bytes", "came from the port, FCS not counted", &PortCounters::rx_bytes},
      {"tx_frames", "frames", "went to the port", &PortCounters::tx_frames},
      {"tx_bytes", "bytes", "went to the port, FCS not counted", &PortCounters::tx_bytes},
  });
  std::array<CounterRow, kTraffic.size() + kDropReasons.size()> rows{};
  std::size_t count = 0;
  for (const CounterRow& row : kTraffic)
    rows[count++] = row;
  for (const DropReasonRow& row : kDropReasons)
    rows[count++] = {row.counter, "frames", row.help, nullptr, row.reason};
  return rows;
}();

}  // namespace vmux::port

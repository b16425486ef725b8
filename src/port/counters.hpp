// SPDX-License-Identifier: BSD-3-Clause
// What the switch counts of each port, and the table by which it is told: statistics, their users and their
// documentation walk kPortCounters.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/counter_row.hpp"
#include "port/drop_reason.hpp"
#include "vmux/base/counter.hpp"

namespace vmux::port {

/// Seen from the switch: rx = frames that entered the switch from this port, tx = frames delivered to it.
/// Written by the port's poller.
class PortCounters {
 public:
  Counter rx_frames, rx_bytes, tx_frames, tx_bytes;
  Counter held;      ///< times that its limit made it wait with what it has
  Counter cut;       ///< super-frames for it that are cut in software, as it does not take them
  Counter mirrored;  ///< copies of its frames that went on their way to its mirror; lost ones are counted there
  [[nodiscard]] Counter& drops(DropReason why) noexcept { return drops_[index_of(why)]; }
  [[nodiscard]] const Counter& drops(DropReason why) const noexcept { return drops_[index_of(why)]; }

 private:
  std::array<Counter, kDropReasons.size()> drops_;
};

namespace detail {

template <DropReason Why>
[[nodiscard]] std::uint64_t drops_of(const PortCounters& counters) noexcept {
  return counters.drops(Why).get();
}

template <std::size_t... Reason>
[[nodiscard]] constexpr auto counter_rows(std::index_sequence<Reason...> /*of kDropReasons*/) noexcept {
  return std::to_array<CounterRow<PortCounters>>({
      {{"rx_frames", "frames", "came from the port"}, count_of<&PortCounters::rx_frames>},
      {{"rx_bytes", "bytes", "came from the port, FCS not counted"}, count_of<&PortCounters::rx_bytes>},
      {{"tx_frames", "frames", "went to the port"}, count_of<&PortCounters::tx_frames>},
      {{"tx_bytes", "bytes", "went to the port, FCS not counted"}, count_of<&PortCounters::tx_bytes>},
      {{"rx_held", "times",
        "the port's limit_in, or its part of an uplink's limit, made it wait with frames that it has"},
       count_of<&PortCounters::held>},
      {{"tx_cut", "frames", "super-frames for the port, which does not take them: they are cut in software"},
       count_of<&PortCounters::cut>},
      {{"mirrored", "frames", "copies of the port's frames that were sent to its mirror"},
       count_of<&PortCounters::mirrored>},
      {{kDropReasons[Reason].counter, "frames", kDropReasons[Reason].help}, drops_of<kDropReasons[Reason].reason>}...,
  });
}

}  // namespace detail

inline constexpr auto kPortCounters = detail::counter_rows(std::make_index_sequence<kDropReasons.size()>{});

}  // namespace vmux::port

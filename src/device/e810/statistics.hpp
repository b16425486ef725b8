// SPDX-License-Identifier: BSD-3-Clause
// Which registers count what. A VSI's registers count for the one that gets frames; all others, and the statistics that
// nothing here can cause (checksum errors of the wire, pause frames), are 0.
#pragma once

#include <array>
#include <cstdint>

#include "device/e810/queues/data_path.hpp"

namespace vmux::device::e810 {

struct StatisticRow {
  std::uint32_t at;
  std::uint64_t FrameStatistics::*member;
  std::uint8_t stride;  ///< bytes to the next VSI's or port's; 4: only the low half is there
};

/// By VSI.
inline constexpr auto kVsiStatistics = std::to_array<StatisticRow>({
    {0x3b0000, &FrameStatistics::rx_bytes, 8},      // GLV_GORC
    {0x3b2000, &FrameStatistics::rx_unicast, 8},    // GLV_UPRC
    {0x3b4000, &FrameStatistics::rx_multicast, 8},  // GLV_MPRC
    {0x3b6000, &FrameStatistics::rx_broadcast, 8},  // GLV_BPRC
    {0x300000, &FrameStatistics::tx_bytes, 8},      // GLV_GOTC
    {0x30a000, &FrameStatistics::tx_unicast, 8},    // GLV_UPTC
    {0x30c000, &FrameStatistics::tx_multicast, 8},  // GLV_MPTC
    {0x30e000, &FrameStatistics::tx_broadcast, 8},  // GLV_BPTC
    {0x294c04, &FrameStatistics::rx_discards, 4},   // GLV_RDPC
    {0x312000, &FrameStatistics::tx_errors, 4},     // GLV_TEPC
});
/// By port: of ours, which is the first.
inline constexpr auto kPortStatistics = std::to_array<StatisticRow>({
    {0x380000, &FrameStatistics::rx_bytes, 8},      // GLPRT_GORC
    {0x381300, &FrameStatistics::rx_unicast, 8},    // GLPRT_UPRC
    {0x381340, &FrameStatistics::rx_multicast, 8},  // GLPRT_MPRC
    {0x381380, &FrameStatistics::rx_broadcast, 8},  // GLPRT_BPRC
    {0x380b40, &FrameStatistics::tx_bytes, 8},      // GLPRT_GOTC
    {0x3811c0, &FrameStatistics::tx_unicast, 8},    // GLPRT_UPTC
    {0x381200, &FrameStatistics::tx_multicast, 8},  // GLPRT_MPTC
    {0x381240, &FrameStatistics::tx_broadcast, 8},  // GLPRT_BPTC
    {0x0ac260, &FrameStatistics::rx_discards, 4},   // PRTRPB_RDPC
});

/// The statistic at `offset` and its half (bits 39:32 of the upper are there), for the VSI that gets frames.
[[nodiscard]] inline std::uint32_t read_statistic(std::uint32_t offset, std::uint16_t vsi,
                                                  const FrameStatistics& counted) noexcept {
  const auto half_of = [&](const StatisticRow& row, std::uint32_t index, std::uint32_t& value) {
    const std::uint32_t low = row.at + index * row.stride;
    if (offset != low && (row.stride != 8 || offset != low + 4)) return false;
    value = static_cast<std::uint32_t>(offset == low ? counted.*row.member : counted.*row.member >> 32 & 0xff);
    return true;
  };
  std::uint32_t value = 0;
  for (const StatisticRow& row : kVsiStatistics) {
    if (half_of(row, vsi, value)) return value;
  }
  for (const StatisticRow& row : kPortStatistics) {
    if (half_of(row, 0, value)) return value;
  }
  return 0;
}

}  // namespace vmux::device::e810

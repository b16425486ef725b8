// SPDX-License-Identifier: BSD-3-Clause
// What the benchmarks' own drivers of an 82540EM need of its datasheet.
#pragma once

#include <cstdint>

namespace vmux::bench {

// 8254x manual, table 13-2, and the bits that a receive-all, send-all driver sets.
inline constexpr std::uint32_t kRctl = 0x0100, kTctl = 0x0400;
inline constexpr std::uint32_t kIcr = 0x00c0, kIcs = 0x00c8;
inline constexpr std::uint32_t kRdbal = 0x2800, kRdlen = 0x2808, kRdh = 0x2810, kRdt = 0x2818;
inline constexpr std::uint32_t kTdbal = 0x3800, kTdlen = 0x3808, kTdh = 0x3810, kTdt = 0x3818;
inline constexpr std::uint32_t kRctlEnablePromiscuousStripCrc = 0x0400'801a;
inline constexpr std::uint32_t kRctlEnableOwnStripCrc =
    0x0400'8002;  // its own address and broadcasts, as a VM's driver
inline constexpr std::uint32_t kTctlEnablePad = 0x0000'000a;
inline constexpr std::uint8_t kCommandEop = 0x01, kCommandIfcs = 0x02, kCommandRs = 0x08;
inline constexpr std::uint8_t kStatusDone = 0x01;

}  // namespace vmux::bench

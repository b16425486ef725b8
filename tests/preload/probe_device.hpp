// SPDX-License-Identifier: BSD-3-Clause
// What server and program of the interposer's tests agree on: a PCI function whose registers do what a test asks for.
#pragma once

#include <cstdint>

namespace vmux::tests::probe {

inline constexpr std::uint16_t kVendor = 0x1234, kDevice = 0x11e9;
inline constexpr std::uint64_t kBarSize = 0x10000, kSharedAt = 0x2000, kSharedSize = 0x1000;
inline constexpr unsigned kVectors = 4, kMsiVectors = 2;

// Registers of BAR 0, 32 bits unless noted. Everything outside [kSharedAt, kSharedAt + kSharedSize) traps.
inline constexpr std::uint64_t kScratch = 0x00;   // 64 bits: what was written last
inline constexpr std::uint64_t kAccesses = 0x08;  // read-only: how many accesses came by message
inline constexpr std::uint64_t kAddress = 0x10;   // 64 bits: where in the program's memory
inline constexpr std::uint64_t kLength = 0x18;    // at most 4096
inline constexpr std::uint64_t kCommand = 0x1c;   // one of the below
inline constexpr std::uint64_t kStatus = 0x20;    // 0 busy, 1 done, 2 failed
inline constexpr std::uint64_t kSum = 0x24;       // of the bytes that the last kSumUp read
inline constexpr std::uint64_t kLevel = 0x28;     // INTx level
inline constexpr std::uint64_t kTrigger = 0x2c;   // write: signal this vector of MSI-X or MSI
inline constexpr std::uint64_t kRequest = 0x30;   // write 1: ERR, write 2: REQ
inline constexpr std::uint64_t kHeap = 0x38;      // read-only, 64 bits: bytes that the server has allocated

inline constexpr std::uint64_t kStateSize = 8;  // of a migration

inline constexpr std::uint32_t kSumUp = 1;  // read memory
inline constexpr std::uint32_t kFill = 2;   // write memory with kFillByte
inline constexpr std::uint32_t kLeave = 3;  // end the server's process
inline constexpr std::uint8_t kFillByte = 0xa5;

}  // namespace vmux::tests::probe

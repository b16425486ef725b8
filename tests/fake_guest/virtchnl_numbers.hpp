// SPDX-License-Identifier: BSD-3-Clause
// virtchnl's numbers as a driver has them: read from the interface's definition once more and not taken from the model,
// so that a wrong one is found.
#pragma once

#include <cstdint>

namespace vmux::fake_guest::virtchnl {

// Operations.
inline constexpr std::uint32_t kVersion = 1, kReset = 2, kResources = 3, kConfigTx = 4, kConfigRx = 5,
                               kConfigQueues = 6, kIrqMap = 7, kEnable = 8, kDisable = 9, kAddMac = 10, kDelMac = 11,
                               kAddVlan = 12, kDelVlan = 13, kPromisc = 14, kStats = 15, kEvent = 17,
                               kHashFunction = 18, kKey = 23, kLut = 24, kHenaCaps = 25, kSetHena = 26, kStrip = 27,
                               kDontStrip = 28, kRequestQueues = 29, kEnableChannels = 30, kDisableChannels = 31,
                               kAddFilter = 32, kDelFilter = 33, kRxdids = 44, kAddConfig = 45, kDelConfig = 46,
                               kVlanCaps = 51, kAddVlanV2 = 52, kDelVlanV2 = 53, kStripV2 = 54, kDontStripV2 = 55,
                               kInsertV2 = 56, kDontInsertV2 = 57, kFilterV2 = 58, kEnableV2 = 107, kMapVector = 111;
// Statuses.
inline constexpr std::int32_t kOk = 0, kParam = -5, kNoMemory = -18, kNotSupported = -64;
// Capabilities (VIRTCHNL_VF_OFFLOAD_*).
inline constexpr std::uint32_t kL2 = 1, kReqQueues = 1 << 6, kAdvSpeed = 1 << 7, kLarge = 1 << 9, kVlanV2 = 1 << 15,
                               kVlan = 1 << 16, kRssPf = 1 << 19, kAdq = 1 << 23, kFlex = 1 << 26, kAdvRss = 1 << 27;
// Registers.
inline constexpr std::uint32_t kArqlen = 0x8000, kRstat = 0x8800;

}  // namespace vmux::fake_guest::virtchnl

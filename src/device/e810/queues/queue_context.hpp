// SPDX-License-Identifier: BSD-3-Clause
// The contexts by which a driver describes its queues to the device: bits in a string of bytes, lowest first. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "intel/queue_config.hpp"

namespace vmux::device::e810 {

inline constexpr std::size_t kRxContextWords = 8, kTxContextSize = 22;  // of four bytes; bytes

/// QRX_CONTEXT(0 to 7) and the layout number of QRXFLXP_CNTXT. The result may be no queue that can be: see
/// intel::can_be().
[[nodiscard]] intel::RxQueueConfig rx_config_of(const std::array<std::uint32_t, kRxContextWords>& context,
                                                std::uint8_t rxdid) noexcept;
/// Whether the context asks for what is not there (the header apart from the payload).
[[nodiscard]] bool wants_header_split(const std::array<std::uint32_t, kRxContextWords>& context) noexcept;

/// The context in an "add transmit queues" command, and the station that it is of.
[[nodiscard]] std::uint16_t vsi_of(std::span<const std::byte, kTxContextSize> context) noexcept;
[[nodiscard]] intel::TxQueueConfig tx_config_of(std::span<const std::byte, kTxContextSize> context) noexcept;

}  // namespace vmux::device::e810

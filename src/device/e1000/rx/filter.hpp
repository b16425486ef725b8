// SPDX-License-Identifier: BSD-3-Clause
// Which frames are for this station (manual 3.2.1 and 13.5.1-13.5.5). Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "device/e1000/state.hpp"
#include "packet/frame.hpp"

namespace vmux::device::e1000 {

enum class Match : std::uint8_t { none, exact, inexact, promiscuous };

/// `destination`: at least the 6 bytes of the address.
[[nodiscard]] Match match_address(const Registers& registers, std::uint32_t rctl, packet::Slice destination) noexcept;
/// VFTA: true when the VLAN is wanted or filtering is off.
[[nodiscard]] bool match_vlan(const Registers& registers, std::uint32_t rctl,
                              std::optional<std::uint16_t> tci) noexcept;
/// Bytes of one receive buffer (13.4.22, BSIZE and BSEX).
[[nodiscard]] std::uint32_t buffer_size(std::uint32_t rctl) noexcept;

}  // namespace vmux::device::e1000

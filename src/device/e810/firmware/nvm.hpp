// SPDX-License-Identifier: BSD-3-Clause
// The card's flash, as its driver reads it: the Shadow RAM, and behind it the banks of NVM, option ROM and netlist.
// Made at start-up and the same for every card: nothing in it is written by anyone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vmux::device::e810::nvm {

inline constexpr std::size_t kShadowRamSize = 64 * 1024, kFlashSize = 256 * 1024;  // bytes

/// All of it; the Shadow RAM are the first kShadowRamSize bytes.
[[nodiscard]] std::span<const std::byte> flash() noexcept;
/// Whether the words of the Shadow RAM sum up as its checksum word wants it.
[[nodiscard]] bool is_checksum_right() noexcept;

}  // namespace vmux::device::e810::nvm

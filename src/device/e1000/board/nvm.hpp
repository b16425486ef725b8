// SPDX-License-Identifier: BSD-3-Clause
// The Microwire EEPROM behind EERD and EECD (manual 5.2-5.6).
#pragma once

#include <cstdint>

#include "base/mac.hpp"
#include "device/e1000/state.hpp"

namespace vmux::device::e1000 {

/// Fills an EEPROM as the factory does for a station address: identity, defaults, checksum 0xBABA (5.6.35).
void program_nvm(Nvm& nvm, const MacAddress& mac) noexcept;
/// Another station address, beside whatever a guest has written there.
void program_station(Nvm& nvm, const MacAddress& mac) noexcept;
/// The station address in words 0 to 2.
[[nodiscard]] MacAddress mac_of(const Nvm& nvm) noexcept;
/// EERD: a write with START set answers with DONE and the word (13.4.4).
[[nodiscard]] std::uint32_t eerd_read(const Nvm& nvm, std::uint32_t written) noexcept;
/// EECD: the four wires of the part, driven by software (13.4.3).
void eecd_write(Nvm& nvm, std::uint32_t value) noexcept;
[[nodiscard]] std::uint32_t eecd_read(const Nvm& nvm) noexcept;

}  // namespace vmux::device::e1000

// SPDX-License-Identifier: BSD-3-Clause
// The ACCES PCI-IDIO-16: 16 FET outputs and 16 isolated inputs. Register names and meanings as in the board's reference
// manual and Linux drivers/gpio/gpio-idio-16.c (and, before Linux 6.4, gpio-pci-idio-16.c).
#pragma once

#include <array>
#include <cstdint>

#include "vmux/base/bits.hpp"

namespace vmux::device::gpio_idio16 {

inline constexpr std::uint16_t kVendorId = 0x494f;
inline constexpr std::uint16_t kDeviceId = 0x0dc8;
inline constexpr std::uint32_t kBarSize = 0x100;  // BAR 2, I/O

/// Byte offsets into BAR 2. Reading and writing one address are different things on this board.
enum class Reg : std::uint8_t {
  outputs_0_7 = 0,      // read: as driven        write: drive
  inputs_0_7 = 1,       // read: as sensed        write: clear the interrupt
  interrupt_ctl = 2,    // read: enable           write: disable
  filter_ctl = 3,       // read: filters on       write: filters off
  outputs_8_15 = 4,     // as outputs_0_7
  inputs_8_15 = 5,      // read: as sensed
  interrupt_status = 6  // read only
};

namespace interrupt_status {
using changed_0_7 = Bits<0>;
using changed_8_15 = Bits<1>;
using pending = Bits<2>;
}  // namespace interrupt_status

}  // namespace vmux::device::gpio_idio16

// SPDX-License-Identifier: BSD-3-Clause
// PCI configuration space. [PCI] PCI Local Bus 3.0, [PM] PCI Power Management 1.2, [PCIe] PCI Express Base 2.1.
#pragma once

#include <cstddef>
#include <cstdint>

#include "vmux/base/bits.hpp"
#include "vmux/base/le.hpp"

namespace vmux::wire::pci {

inline constexpr std::size_t kConfigSize = 256;           // [PCI] 6.1
inline constexpr std::size_t kExtendedConfigSize = 4096;  // [PCIe] 7.2.1
inline constexpr std::size_t kFirstCapability = 0x40;
inline constexpr std::size_t kFirstExtendedCapability = 0x100;

struct Type0Header {  // [PCI] figure 6-1
  Le<std::uint16_t> vendor_id, device_id, command, status;
  std::uint8_t revision_id;
  std::uint8_t class_code[3];  // programming interface, subclass, base class
  std::uint8_t cache_line_size, latency_timer, header_type, bist;
  Le<std::uint32_t> bar[6];
  Le<std::uint32_t> cardbus_cis;
  Le<std::uint16_t> subsystem_vendor_id, subsystem_id;
  Le<std::uint32_t> rom_bar;
  std::uint8_t capabilities;
  std::uint8_t reserved[7];
  std::uint8_t interrupt_line, interrupt_pin, min_gnt, max_lat;
};
static_assert(sizeof(Type0Header) == 0x40);
static_assert(offsetof(Type0Header, command) == 0x04 && offsetof(Type0Header, class_code) == 0x09);
static_assert(offsetof(Type0Header, bar) == 0x10 && offsetof(Type0Header, subsystem_vendor_id) == 0x2c);
static_assert(offsetof(Type0Header, rom_bar) == 0x30 && offsetof(Type0Header, capabilities) == 0x34);
static_assert(offsetof(Type0Header, interrupt_line) == 0x3c);

namespace command {  // [PCI] 6.2.2
using io_space = Bits<0>;
using memory_space = Bits<1>;
using bus_master = Bits<2>;
using parity_error_response = Bits<6>;
using serr_enable = Bits<8>;
using interrupt_disable = Bits<10>;
}  // namespace command
namespace status {  // [PCI] 6.2.3
using interrupt = Bits<3>;
using capabilities_list = Bits<4>;
inline constexpr std::uint16_t kWriteOneToClear = 0xf900;  // parity, aborts, system error
}  // namespace status
namespace bar {  // [PCI] 6.2.5.1
inline constexpr std::uint32_t kIo = 0x1, kMemory64 = 0x4, kPrefetchable = 0x8;
inline constexpr std::uint64_t kMinMemory = 16, kMinIo = 4;
inline constexpr std::uint64_t kMaxMemory32 = 1ull << 31, kMaxMemory64 = 1ull << 62, kMaxIo = 1ull << 16;
}  // namespace bar
namespace rom {  // [PCI] 6.2.5.2
using enable = Bits<0>;
inline constexpr std::uint32_t kMinSize = 2048, kMaxSize = 16u << 20;
}  // namespace rom

enum class CapabilityId : std::uint8_t {  // [PCI] appendix H
  power_management = 0x01,
  msi = 0x05,
  vendor_specific = 0x09,
  express = 0x10,
  msix = 0x11,
};
struct CapabilityHeader {  // [PCI] 6.7
  std::uint8_t id, next;
};

struct PowerManagement {  // [PM] 3.2
  CapabilityHeader header;
  Le<std::uint16_t> capabilities;
  Le<std::uint16_t> control;
  std::uint8_t bridge, data;
};
static_assert(sizeof(PowerManagement) == 8 && offsetof(PowerManagement, control) == 4);
namespace pmc {  // [PM] 3.2.3
inline constexpr std::uint16_t kVersion12 = 3;
}  // namespace pmc
namespace pmcsr {  // [PM] 3.2.4
using power_state = Bits<0, 2>;
inline constexpr std::uint16_t kD0 = 0, kD3hot = 3;
}  // namespace pmcsr

struct Msi {  // [PCI] 6.8.1, 64-bit message address
  CapabilityHeader header;
  Le<std::uint16_t> control;
  Le<std::uint32_t> address_low, address_high;
  Le<std::uint16_t> data, reserved;
  Le<std::uint32_t> mask, pending;  // only with per-vector masking
};
static_assert(sizeof(Msi) == 24 && offsetof(Msi, data) == 12 && offsetof(Msi, mask) == 16);
inline constexpr std::size_t kMsiSizeWithoutMask = 14;
namespace msi_control {  // [PCI] 6.8.1.3
using enable = Bits<0>;
using multiple_message_capable = Bits<1, 3>;
using multiple_message_enable = Bits<4, 3>;
using address64 = Bits<7>;
using per_vector_mask = Bits<8>;
}  // namespace msi_control

struct Msix {  // [PCI] 6.8.2
  CapabilityHeader header;
  Le<std::uint16_t> control;
  Le<std::uint32_t> table, pending;  // offset | BIR
};
static_assert(sizeof(Msix) == 12 && offsetof(Msix, table) == 4);
namespace msix_control {  // [PCI] 6.8.2.3
using table_size = Bits<0, 11>;
using function_mask = Bits<14>;
using enable = Bits<15>;
}  // namespace msix_control
struct MsixEntry {  // [PCI] 6.8.2.6 to 6.8.2.9
  Le<std::uint32_t> address_low, address_high, data, control;
};
static_assert(sizeof(MsixEntry) == 16 && offsetof(MsixEntry, control) == 12);
using msix_entry_mask = Bits<0>;

struct Express {  // [PCIe] 7.8, capability version 2
  CapabilityHeader header;
  Le<std::uint16_t> capabilities;
  Le<std::uint32_t> device_capabilities;
  Le<std::uint16_t> device_control, device_status;
  Le<std::uint32_t> link_capabilities;
  Le<std::uint16_t> link_control, link_status;
  Le<std::uint32_t> slot_capabilities;
  Le<std::uint16_t> slot_control, slot_status, root_control, root_capabilities;
  Le<std::uint32_t> root_status;
  Le<std::uint32_t> device_capabilities2;
  Le<std::uint16_t> device_control2, device_status2;
  Le<std::uint32_t> link_capabilities2;
  Le<std::uint16_t> link_control2, link_status2;
  Le<std::uint32_t> slot_capabilities2;
  Le<std::uint16_t> slot_control2, slot_status2;
};
static_assert(sizeof(Express) == 0x3c && offsetof(Express, device_control) == 0x08);
static_assert(offsetof(Express, link_capabilities) == 0x0c && offsetof(Express, device_capabilities2) == 0x24);
static_assert(offsetof(Express, link_control2) == 0x30);
namespace express {
using version = Bits<0, 4>;                              // 7.8.2
using port_type = Bits<4, 4>;                            // 7.8.2
using role_based_errors = Bits<15>;                      // 7.8.3
using function_level_reset = Bits<28>;                   // 7.8.3
inline constexpr std::uint16_t kDeviceControl = 0x2810;  // 7.8.4: relaxed ordering, no snoop, 512-byte reads
inline constexpr std::uint16_t kDeviceControlWritable = 0x781f;
using initiate_flr = Bits<15>;                                 // 7.8.4, reads as zero
inline constexpr std::uint16_t kDeviceStatusClear = 0x000f;    // 7.8.5, write one to clear
inline constexpr std::uint32_t kLink = 0x11;                   // 7.8.6, 7.8.8: 2.5 GT/s, one lane
inline constexpr std::uint16_t kLinkControlWritable = 0x00cb;  // 7.8.7
inline constexpr std::uint32_t kTimeoutDisable = 0x10;         // 7.8.15, 7.8.16
inline constexpr std::uint32_t kLinkSpeeds = 0x02;             // 7.8.18: 2.5 GT/s
inline constexpr std::uint16_t kTargetSpeed = 0x01;            // 7.8.19
inline constexpr std::uint8_t kEndpoint = 0, kRootComplexEndpoint = 9;
}  // namespace express

struct ExtendedHeader {  // [PCIe] 7.9.3
  Le<std::uint32_t> raw;
};
namespace extended {
using id = Bits<0, 16>;
using version = Bits<16, 4>;
using next = Bits<20, 12>;
inline constexpr std::uint16_t kDeviceSerialNumber = 0x0003;
}  // namespace extended
struct DeviceSerialNumber {  // [PCIe] 7.12
  ExtendedHeader header;
  Le<std::uint32_t> low, high;
};
static_assert(sizeof(DeviceSerialNumber) == 12);

}  // namespace vmux::wire::pci

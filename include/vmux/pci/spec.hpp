// SPDX-License-Identifier: BSD-3-Clause
// A PCI function, described: identity, BARs, capabilities, interrupts. Plain values; pci::Function makes it live.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "vmux/base/strong.hpp"

namespace vmux::pci {

/// Region numbers as VFIO counts them (linux/vfio.h, VFIO_PCI_*_REGION_INDEX).
enum class Region : std::uint32_t { bar0, bar1, bar2, bar3, bar4, bar5, rom, config, vga };
inline constexpr std::uint32_t kRegionCount = 9;

/// Interrupt kinds as VFIO counts them (VFIO_PCI_*_IRQ_INDEX).
enum class Irq : std::uint32_t { intx, msi, msix, err, req };
inline constexpr std::uint32_t kIrqCount = 5;

/// A page-aligned part of a BAR that clients may map: it is memory that device and guest share, without side effects.
struct SharedArea {
  std::uint64_t offset = 0;  ///< into the BAR; multiple of 4096
  std::uint64_t size = 0;    ///< bytes; multiple of 4096
};

/// Writes to a register that the client may tell of through an eventfd (KVM_IOEVENTFD) instead of a message. The model
/// sees Device::write_bar() all the same: of `value`, or of zeroes where none is named; once for what came together.
struct IoEvent {
  std::uint64_t offset = 0;            ///< into the BAR; multiple of `size`, in a part that traps
  std::uint32_t size = 0;              ///< bytes of the write: 1, 2, 4 or 8
  std::optional<std::uint64_t> value;  ///< only writes of this value; its low `size` bytes
};

enum class BarKind : std::uint8_t { memory32, memory64, io };

struct BarSpec {
  BarKind kind = BarKind::memory32;
  bool prefetchable = false;
  std::uint64_t size = 0;  ///< bytes; a power of two, at least 16 (memory) or 4 (I/O)
  /// Parts that clients may map. The rest of the BAR traps to Device::read_bar/write_bar. A shared part that is
  /// accessed through a message anyway is read and written in place, without a call to the device.
  std::vector<SharedArea> shared;
  std::vector<IoEvent> io_events;
};

/// Capabilities, in the order in which they are chained. PCI Local Bus 3.0 and PCI Express Base.
struct PowerManagement {};  ///< PCI PM 1.2, D0 and D3hot, no PME
struct Msi {
  unsigned vectors = 1;  ///< 1, 2, 4, 8, 16 or 32
  bool per_vector_mask = false;
};
struct Msix {
  unsigned vectors = 1;  ///< 1 to 2048
  Region table_bar = Region::bar0;
  std::uint32_t table_offset = 0;  ///< multiple of 8
  Region pba_bar = Region::bar0;
  std::uint32_t pba_offset = 0;  ///< multiple of 8
};
struct Express {
  bool function_level_reset = true;
  /// Device/port type of PCI Express Capabilities: 0 endpoint, 9 root complex integrated endpoint.
  std::uint8_t port_type = 0;
};
struct VendorSpecific {
  std::vector<std::uint8_t> body;  ///< bytes after the length field; read-only to the guest
};
struct DeviceSerialNumber {  ///< extended capability 0x0003
  std::uint64_t serial = 0;
};
using Capability = std::variant<PowerManagement, Msi, Msix, Express, VendorSpecific, DeviceSerialNumber>;

struct FunctionSpec {
  std::string name = "device";  ///< for logs
  std::uint16_t vendor_id = 0, device_id = 0, subsystem_vendor_id = 0, subsystem_id = 0;
  std::uint8_t revision_id = 0;
  std::uint32_t class_code = 0;  ///< 24 bits: base class, subclass, programming interface
  std::optional<BarSpec> bars[6];
  std::vector<std::uint8_t> rom;  ///< expansion ROM image; empty: none
  std::vector<Capability> capabilities;
  bool intx = false;  ///< pin INTA#
  bool err_irq = true, req_irq = true;
};

}  // namespace vmux::pci

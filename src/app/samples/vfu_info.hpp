// SPDX-License-Identifier: BSD-3-Clause
// What vfu-info finds out about a device, between reading and printing.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "vmux/vfio_user/client.hpp"

namespace vmux::samples {

struct FoundRegion {
  unsigned index = 0;
  std::string kind;  ///< "memory32", "io", "config", ... as far as it can be told
  bool prefetchable = false;
  vfio_user::RegionDescription description;
  std::vector<vfio_user::IoFd> io_fds;
};
struct FoundIrq {
  unsigned index = 0;
  pci::IrqInfo info;
};
struct FoundCapability {
  unsigned offset = 0, id = 0;
  bool is_extended = false;
  std::string name;
  std::string detail;
};
struct FoundDevice {
  vfio_user::ServerLimits limits;
  vfio_user::DeviceSummary summary;
  std::uint16_t vendor = 0, device = 0, subsystem_vendor = 0, subsystem = 0;
  std::uint8_t revision = 0;
  std::uint32_t class_code = 0;
  bool has_intx_pin = false;
  std::vector<FoundRegion> regions;
  std::vector<FoundIrq> irqs;
  std::vector<FoundCapability> capabilities;
};

[[nodiscard]] Result<FoundDevice> look_at(vfio_user::Client& client);
[[nodiscard]] const char* class_name(std::uint32_t class_code) noexcept;
[[nodiscard]] const char* irq_name(unsigned index) noexcept;
void print_text(const FoundDevice& device);
void print_json(const FoundDevice& device);

}  // namespace vmux::samples

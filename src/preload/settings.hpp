// SPDX-License-Identifier: BSD-3-Clause
// What the environment tells the interposer: which PCI functions to show, and where their servers listen.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "vmux/base/result.hpp"

namespace vmux::preload {

struct PciAddress {
  std::uint16_t domain = 0;
  std::uint8_t bus = 0, device = 0, function = 0;
  friend auto operator<=>(const PciAddress&, const PciAddress&) = default;
  [[nodiscard]] std::string text() const;      ///< "0000:40:00.0"
  [[nodiscard]] std::string bus_name() const;  ///< "pci0000:40", the host bridge's directory in sysfs
};
/// "0000:40:00.0" or, in domain 0, "40:00.0".
[[nodiscard]] Result<PciAddress> parse_pci_address(std::string_view text);

struct DeviceSetting {
  PciAddress address;
  std::string socket;
};
/// "BDF=SOCKET", several separated by commas.
[[nodiscard]] Result<std::vector<DeviceSetting>> parse_devices(std::string_view text);

inline constexpr const char* kEnvDevices = "VMUX_VFIO_DEVICES";
inline constexpr const char* kEnvTrace = "VMUX_VFIO_TRACE";
inline constexpr const char* kEnvShareAnonymous = "VMUX_VFIO_SHARE_ANONYMOUS";
inline constexpr const char* kEnvStrict = "VMUX_VFIO_STRICT_MMAP";
inline constexpr const char* kEnvWholeBars = "VMUX_VFIO_WHOLE_BARS";
inline constexpr const char* kEnvDirectory = "VMUX_VFIO_DIR";

struct Settings {
  std::vector<DeviceSetting> devices;
  bool trace = false;            ///< print each translated call
  bool share_anonymous = false;  ///< big private mappings become shareable memory
  bool strict_mmap = false;      ///< refuse to map trapping parts of a BAR instead of emulating accesses
  bool whole_bars = false;       ///< keep the sparse list from programs that would leave the rest of a BAR unmapped
  std::string directory;         ///< where the generated tree goes
};
/// The process's settings, read once. Bad ones are reported once and leave `devices` empty.
[[nodiscard]] const Settings& settings() noexcept;

}  // namespace vmux::preload

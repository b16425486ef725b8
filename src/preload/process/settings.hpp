// SPDX-License-Identifier: BSD-3-Clause
// What the environment tells the interposer: which PCI functions to show, and where their servers listen.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/text/text.hpp"
#include "vmux/base/result.hpp"

namespace vmux::preload {

/// "pci0000:40": the directory of the function's host bridge in sysfs.
[[nodiscard]] std::string bus_name(const PciAddress& address);

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

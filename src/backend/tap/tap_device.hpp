// SPDX-License-Identifier: BSD-3-Clause
// The kernel's side of a tap interface: opening, features, link. Control threads only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::backend {

struct TapDevice {
  std::vector<UniqueFd> queues;
  std::size_t header_size = 12;  ///< bytes of the virtio-net header before each frame: 12 or 10
  bool has_udp_gso = false;      ///< the kernel cuts UDP super-frames (Linux 6.2)
  std::uint32_t mtu = 1500;
};

/// True for a name that the kernel takes for an interface, literally.
[[nodiscard]] bool is_interface_name(const std::string& name) noexcept;

/// Creates the interface or attaches to an existing one.
[[nodiscard]] Result<TapDevice> open_tap(const std::string& name, unsigned queues);
/// Queues of an interface that another process has opened.
[[nodiscard]] Result<TapDevice> adopt_tap(const std::vector<int>& queues);
/// Sets the MTU (unless 0) and the link up (if asked); returns the MTU.
[[nodiscard]] Result<std::uint32_t> set_up_link(const std::string& name, std::uint32_t mtu, bool up);

}  // namespace vmux::backend

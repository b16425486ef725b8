// SPDX-License-Identifier: BSD-3-Clause
// What to paste into a VMM so that its VM gets a port. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control/model/problem.hpp"

namespace vmux::control {

struct VmArgs {
  std::vector<std::string> lines;  ///< to paste
  std::vector<std::string> notes;  ///< to know
};

inline constexpr const char* kVmms = "qemu, libvirt or cloud-hypervisor";

/// `vmm` is one of kVmms; `transport` and `socket` the port's; `memory_mb` the VM's memory, which must be shared with
/// vMux. not_supported where that VMM does not have that transport.
[[nodiscard]] Outcome<VmArgs> vm_args(std::string_view vmm, std::string_view transport, const std::string& socket,
                                      unsigned memory_mb);

}  // namespace vmux::control

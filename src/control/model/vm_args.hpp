// SPDX-License-Identifier: BSD-3-Clause
// What to paste into a VMM so that its VM gets a port. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control/model/spec/problem.hpp"
#include "control/model/spec/values.hpp"

namespace vmux::control {

struct VmArgs {
  std::vector<std::string> lines;  ///< to paste
  std::vector<std::string> notes;  ///< to know
};

inline constexpr const char* kVmms = "qemu, libvirt or cloud-hypervisor";

/// What a VMM has to know of a port.
struct VmPort {
  std::string name, transport, socket;
  MacAddress mac{};
  unsigned queues = 1;               ///< pairs
  bool connects = false;             ///< the VMM listens at the socket
  bool is_disk = false;              ///< `queues` are its queues then
  unsigned ring_size = 1024;         ///< descriptors
  std::vector<std::string> options;  ///< that QEMU's device is to have besides
};

/// `vmm` is one of kVmms; `memory_mb` the VM's memory, which must be shared with vMux. not_supported where that VMM
/// does not have the port's transport.
[[nodiscard]] Outcome<VmArgs> vm_args(std::string_view vmm, const VmPort& port, unsigned memory_mb);

}  // namespace vmux::control

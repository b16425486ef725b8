// SPDX-License-Identifier: BSD-3-Clause
// What to give a VMM that a function goes to by the VMM's own VFIO, without a vMux in between.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "host/look/function.hpp"

namespace vmux::host {

struct VmArgsRequest {
  std::string function;      ///< PCI address or interface
  std::string vmm = "qemu";  ///< one of kVmArgsVmms
  unsigned vcpus = 2;
  unsigned memory_mb = 1024;
};
inline constexpr const char* kVmArgsVmms = "qemu, libvirt or cloud-hypervisor";

struct VmArgs {
  std::vector<std::string> lines;  ///< to paste
  std::vector<std::string> notes;  ///< for the operator: what else it needs
};

/// Memory and vCPUs come from the memory node of the function, CPUs that are set aside for VMs (isolcpus=) first.
[[nodiscard]] Outcome<VmArgs> vm_args(Machine& machine, const VmArgsRequest& request);

}  // namespace vmux::host

// SPDX-License-Identifier: BSD-3-Clause
// Why a physical function cannot be had, as sysfs and procfs tell it.
#pragma once

#include <string>
#include <vector>

#include "vmux/base/result.hpp"

namespace vmux::passthrough {

/// Where the kernel's file systems are; a test has its own.
struct Machine {
  std::string sys = "/sys";
  std::string dev = "/dev";
  std::string proc = "/proc";
};

/// The number of the IOMMU group of a function; not_found without such a device, not_supported without an IOMMU.
[[nodiscard]] Result<unsigned> group_of(const Machine& machine, const std::string& address);

enum class Obstacle : unsigned char {
  none,  ///< nothing that shows
  no_such_device,
  no_iommu,          ///< the kernel uses no IOMMU for it
  not_bound,         ///< a host driver has it, or none
  group_not_viable,  ///< others of its group are with host drivers
  no_vfio,           ///< the kernel's VFIO is not there
  no_permission,
  held,  ///< by another process
};

/// A device of the same group that has a host driver.
struct Spoiler {
  std::string address, driver;
};

struct Diagnosis {
  Obstacle obstacle = Obstacle::none;
  unsigned group = 0;
  std::string driver;                ///< what the device is bound to; empty: nothing
  std::vector<Spoiler> spoilers;     ///< for group_not_viable
  std::vector<std::string> holders;  ///< for held: "PID NAME"
  std::string file;                  ///< for no_permission
};

/// Looks for the first thing that stands in the way. `error` is what the kernel said, for what files do not tell.
[[nodiscard]] Diagnosis diagnose(const Machine& machine, const std::string& address, const Error& error);

}  // namespace vmux::passthrough

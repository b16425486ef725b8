// SPDX-License-Identifier: BSD-3-Clause
// Who uses the disks of a function: those below it in sysfs and the heads of NVMe multipath beside it, with their
// partitions and all that is built from them.
#pragma once

#include "host/look/function.hpp"
#include "host/machine/openers.hpp"

namespace vmux::host {

/// Adds to `usage` who uses them, and the claims of those that nobody uses; to `openers` their files.
void disk_users(Machine& machine, const PciFunction& function, Openers& openers, Usage& usage);

}  // namespace vmux::host

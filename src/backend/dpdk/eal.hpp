// SPDX-License-Identifier: BSD-3-Clause
// DPDK's environment abstraction layer: one per process, started when the first uplink needs it. Control threads only.
#pragma once

#include <string>

#include "vmux/base/result.hpp"

namespace vmux::backend::dpdk {

/// True for `0000:08:00.0` or `08:00.0`, with or without options behind a comma.
[[nodiscard]] bool is_pci(const std::string& device) noexcept;

/// Starts the EAL unless it runs. Without hugepages (a PCI device gets them where the host has some free), shared
/// files, telemetry and, unless `device` is a PCI device, PCI. The calling thread keeps its CPU affinity; log lines go
/// to ours.
[[nodiscard]] Result<void> start_eal(const std::string& device);

}  // namespace vmux::backend::dpdk

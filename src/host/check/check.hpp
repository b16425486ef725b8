// SPDX-License-Identifier: BSD-3-Clause
// Is this machine ready to give devices to VMs? One finding per question: what there is, how good that is, what mends
// it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "host/failure.hpp"
#include "host/machine/machine.hpp"
#include "host/machine/values.hpp"

namespace vmux::host {

enum class Verdict : unsigned char {
  good,
  warn,     ///< works, and costs something or works for some only
  bad,      ///< giving a device to a VM will not work, or not safely
  unknown,  ///< this process may not see it
};
[[nodiscard]] const char* name_of(Verdict verdict) noexcept;

struct Finding {
  std::string check;  ///< "iommu groups"; several findings may have the same
  Verdict verdict = Verdict::unknown;
  std::string found;
  std::string mend;  ///< command to run or line for a file; may be there for a good one, too: how to have it otherwise
};

struct CheckRequest {
  std::string nic;             ///< PCI address or interface; "" for none
  std::optional<CpuSet> cpus;  ///< where the VM's and vMux's threads will run
};

/// In the order of the table in check.cpp. Fails only if what was asked for makes no sense on this machine.
[[nodiscard]] Outcome<std::vector<Finding>> check(Machine& machine, const CheckRequest& request);
/// The worst, with unknown counting as good.
[[nodiscard]] Verdict worst(const std::vector<Finding>& findings) noexcept;

}  // namespace vmux::host

// SPDX-License-Identifier: BSD-3-Clause
// What to paste into a VMM and a guest so that the guest has an IOMMU in front of its NIC. Pure.
#pragma once

#include <string_view>

#include "control/model/vm_args.hpp"

namespace vmux::control {

inline constexpr const char* kViommus = "none, strict, shadow or pt";

/// `args` with an IOMMU for the VM, whose lines stand before those of the NIC. `mode` is one of kViommus: what the
/// guest does with its IOMMU (docs/iommu.md). not_supported where that VMM or that transport has none.
[[nodiscard]] Outcome<VmArgs> with_viommu(VmArgs args, std::string_view vmm, std::string_view transport,
                                          std::string_view mode);

}  // namespace vmux::control

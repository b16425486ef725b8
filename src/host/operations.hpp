// SPDX-License-Identifier: BSD-3-Clause
// The commands of the toolkit that change a host. Each is steps of one Session, which finishes or undoes them.
#pragma once

#include <string>
#include <vector>

#include "host/session.hpp"

namespace vmux::host {

struct BindRequest {
  std::string function;             ///< PCI address or interface
  std::string driver = "vfio-pci";  ///< "none": no driver at all
  bool with_group = false;          ///< and the rest of its IOMMU group
};
[[nodiscard]] Outcome<> bind(Session& session, const BindRequest& request);
/// Back to the driver that it had before bind, or, if nobody remembers, to the one that the kernel chooses.
[[nodiscard]] Outcome<> unbind(Session& session, const std::string& function);

}  // namespace vmux::host

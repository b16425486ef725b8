// SPDX-License-Identifier: BSD-3-Clause
// VFIO by containers and groups (Documentation/driver-api/vfio.rst), as every kernel with VFIO has it.
#pragma once

#include "kvfio/kernel.hpp"

namespace vmux::kvfio {

class GroupKernel final : public Kernel {
 public:
  [[nodiscard]] Result<std::unique_ptr<KernelDomain>> open_domain(unsigned group) override;
};

}  // namespace vmux::kvfio

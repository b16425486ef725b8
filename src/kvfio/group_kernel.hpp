// SPDX-License-Identifier: BSD-3-Clause
// VFIO by containers and groups (Documentation/driver-api/vfio.rst), as every kernel with VFIO has it.
#pragma once

#include "kvfio/kernel.hpp"

namespace vmux::kvfio {

/// True for "6.0" and what is newer: since then VFIO's type 1 driver lets any process unmap what another one has mapped
/// (drivers/vfio/vfio_iommu_type1.c, vfio_dma_do_unmap()). `release` as uname(2) has it.
[[nodiscard]] bool lets_others_unmap(const char* release) noexcept;

class GroupKernel final : public Kernel {
 public:
  [[nodiscard]] Result<std::unique_ptr<KernelDomain>> open_domain(unsigned group) override;
  [[nodiscard]] Result<std::unique_ptr<KernelDomain>> adopt_domain(unsigned group, const state::FdBag& from) override;
  [[nodiscard]] bool can_adopt() const noexcept override;
};

}  // namespace vmux::kvfio

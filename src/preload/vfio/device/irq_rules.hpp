// SPDX-License-Identifier: BSD-3-Clause
// What the kernel refuses of VFIO_DEVICE_SET_IRQS by itself, whatever the device (vfio_pci_intrs.c): which action a
// kind of interrupt knows, and what depends on what is enabled. Servers are more lenient; programs go by the kernel.
#pragma once

#include <linux/vfio.h>

#include <cstdint>
#include <optional>

namespace vmux::preload {

class IrqRules {
 public:
  /// 0, or the negated errno. The request is well formed (vfio_set_irqs_validate_and_prepare). `is_fixed`: no vectors
  /// can be added while some are enabled (VFIO_IRQ_INFO_NORESIZE).
  [[nodiscard]] int check(const vfio_irq_set& request, bool is_fixed) const noexcept;
  /// It has been carried out. `first`: its first descriptor, if it has descriptors.
  void follow(const vfio_irq_set& request, std::int32_t first) noexcept;

 private:
  [[nodiscard]] int check_mask(const vfio_irq_set& request) const noexcept;
  [[nodiscard]] int check_device(const vfio_irq_set& request, bool is_fixed) const noexcept;
  [[nodiscard]] int check_notice(const vfio_irq_set& request) const noexcept;

  std::optional<std::uint32_t> enabled_;  // INTx, MSI or MSI-X
  std::uint32_t vectors_ = 0;             // of it
  bool has_sink_[2] = {};                 // ERR, REQ
};

}  // namespace vmux::preload

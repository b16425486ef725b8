// SPDX-License-Identifier: BSD-3-Clause
#include "preload/vfio/device/irq_rules.hpp"

#include <algorithm>
#include <cerrno>

namespace vmux::preload {
namespace {

constexpr std::uint32_t kIntx = VFIO_PCI_INTX_IRQ_INDEX, kErr = VFIO_PCI_ERR_IRQ_INDEX, kReq = VFIO_PCI_REQ_IRQ_INDEX;

bool has(const vfio_irq_set& request, std::uint32_t flag) { return (request.flags & flag) != 0; }
bool is_disable(const vfio_irq_set& request) { return has(request, VFIO_IRQ_SET_DATA_NONE) && request.count == 0; }

}  // namespace

int IrqRules::check(const vfio_irq_set& request, bool is_fixed) const noexcept {
  if (!has(request, VFIO_IRQ_SET_ACTION_TRIGGER)) return check_mask(request);
  if (request.index == kErr || request.index == kReq) return check_notice(request);
  return check_device(request, is_fixed);
}

/// vfio_pci_set_intx_mask, vfio_pci_set_intx_unmask; the other kinds have none.
int IrqRules::check_mask(const vfio_irq_set& request) const noexcept {
  if (request.index != kIntx) return -ENOTTY;
  if (enabled_ != kIntx || request.start != 0 || request.count != 1) return -EINVAL;
  const bool masks_by_eventfd = has(request, VFIO_IRQ_SET_ACTION_MASK) && has(request, VFIO_IRQ_SET_DATA_EVENTFD);
  return masks_by_eventfd ? -ENOTTY : 0;
}

/// vfio_pci_set_intx_trigger, vfio_pci_set_msi_trigger
int IrqRules::check_device(const vfio_irq_set& request, bool is_fixed) const noexcept {
  const bool is_enabled = enabled_ == request.index;
  if (is_enabled && is_disable(request)) return 0;
  if (enabled_ && !is_enabled) return -EINVAL;
  if (request.index == kIntx && (request.start != 0 || request.count != 1)) return -EINVAL;
  const std::uint32_t end = request.start + request.count;
  if (has(request, VFIO_IRQ_SET_DATA_EVENTFD)) {
    if (is_enabled && !is_fixed) return 0;
    if (end == 0 && !is_enabled) return -ERANGE;  // pci_alloc_irq_vectors() of none
    const std::uint32_t limit = is_enabled ? vectors_ : end;
    return request.start >= limit || end > limit ? -EINVAL : 0;
  }
  return is_enabled && end <= vectors_ ? 0 : -EINVAL;
}

/// vfio_pci_set_ctx_trigger_single: ERR and REQ
int IrqRules::check_notice(const vfio_irq_set& request) const noexcept {
  if (request.start != 0 || request.count > 1) return -EINVAL;
  if (has(request, VFIO_IRQ_SET_DATA_NONE)) return has_sink_[request.index - kErr] ? 0 : -EINVAL;
  return request.count == 0 ? -EINVAL : 0;
}

void IrqRules::follow(const vfio_irq_set& request, std::int32_t first) noexcept {
  if (!has(request, VFIO_IRQ_SET_ACTION_TRIGGER)) return;
  const bool is_notice = request.index == kErr || request.index == kReq;
  if (is_notice && is_disable(request)) has_sink_[request.index - kErr] = false;
  if (!is_notice && is_disable(request)) enabled_.reset();
  if (!has(request, VFIO_IRQ_SET_DATA_EVENTFD)) return;
  if (is_notice) {
    has_sink_[request.index - kErr] = first >= 0;
    return;
  }
  vectors_ =
      enabled_ == request.index ? std::max(vectors_, request.start + request.count) : request.start + request.count;
  enabled_ = request.index;
}

}  // namespace vmux::preload

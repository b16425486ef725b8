// SPDX-License-Identifier: BSD-3-Clause
// What Interrupts is made of; shared by interrupts.cpp (the device's side) and irq_request.cpp (the client's side).
#pragma once

#include <atomic>
#include <memory>

#include "pci/interrupts/irq_vector.hpp"
#include "vmux/pci/interrupts.hpp"

namespace vmux::pci {

/// MSI or MSI-X.
struct MessageGroup {
  std::unique_ptr<MessageVector[]> vectors;
  std::uint32_t count = 0;
  std::atomic<bool> is_enabled{false};  // a client has set at least one vector up (with or without a sink)

  void allocate(std::uint32_t size) {
    vectors = std::make_unique<MessageVector[]>(size);
    count = size;
  }
  void set_mask(MessageVector::Mask mask, bool is_masked) noexcept {
    for (std::uint32_t i = 0; i < count; ++i)
      vectors[i].set_mask(mask, is_masked);
  }
  /// Disables all, as a client does with count 0.
  void detach_all() noexcept;
};

struct Interrupts::Impl {
  bool has_intx = false;
  bool has_error = false, has_request = false;
  LevelVector intx;
  MessageGroup msi, msix;
  IrqSink error_sink, request_sink;
  UniqueFd unmask_fd;
  std::atomic<bool> is_bus_master{false};

  [[nodiscard]] std::uint32_t count_of(Irq irq) const noexcept;
  [[nodiscard]] MessageGroup& group(Irq irq) noexcept { return irq == Irq::msi ? msi : msix; }
  [[nodiscard]] const MessageGroup& group(Irq irq) const noexcept { return irq == Irq::msi ? msi : msix; }

  // irq_request.cpp: each changes something only when nothing can fail any more.
  [[nodiscard]] Result<void> validate(const IrqRequest& request) const noexcept;
  [[nodiscard]] Result<void> validate_action(const IrqRequest& request) const noexcept;
  [[nodiscard]] Result<void> configure_intx(const IrqRequest& request) noexcept;
  [[nodiscard]] Result<void> configure_messages(const IrqRequest& request) noexcept;
  [[nodiscard]] Result<void> configure_single(const IrqRequest& request, IrqSink& sink) noexcept;
};

}  // namespace vmux::pci

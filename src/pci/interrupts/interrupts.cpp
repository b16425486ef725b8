// SPDX-License-Identifier: BSD-3-Clause
// The device's and config space's side of interrupts. The client's side is irq_request.cpp.
#include "vmux/pci/interrupts.hpp"

#include <utility>

#include "pci/interrupts/interrupts_impl.hpp"

namespace vmux::pci {

void MessageGroup::detach_all() noexcept {
  is_enabled.store(false, std::memory_order_release);
  for (std::uint32_t i = 0; i < count; ++i) {
    vectors[i].detach();
    vectors[i].set_mask(MessageVector::by_client, false);
    vectors[i].clear_pending();
  }
}

Interrupts::Interrupts(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Interrupts::~Interrupts() = default;

Result<std::unique_ptr<Interrupts>> Interrupts::create(const FunctionSpec& spec) {
  auto impl = std::make_unique<Impl>();
  impl->has_intx = spec.intx;
  impl->has_error = spec.err_irq;
  impl->has_request = spec.req_irq;
  for (const Capability& capability : spec.capabilities) {
    if (const auto* msi = std::get_if<Msi>(&capability)) impl->msi.allocate(msi->vectors);
    if (const auto* msix = std::get_if<Msix>(&capability)) impl->msix.allocate(msix->vectors);
  }
  if (impl->msi.count > 32 || impl->msix.count > 2048) return fail(Errc::invalid_argument, "too many vectors");
  return std::unique_ptr<Interrupts>{new Interrupts(std::move(impl))};
}

bool Interrupts::trigger(std::uint32_t vector) noexcept {
  MessageGroup* group = &impl_->msix;
  if (!group->is_enabled.load(std::memory_order_acquire)) {
    group = &impl_->msi;
    if (!group->is_enabled.load(std::memory_order_acquire)) return false;
  }
  // A message is a memory write by the device: without bus mastering there is none (PCI 3.0, 6.2.2).
  const bool is_sent = vector < group->count && impl_->is_bus_master.load(std::memory_order_acquire);
  if (is_sent) group->vectors[vector].trigger();
  return true;
}

void Interrupts::set_level(bool asserted) noexcept {
  if (impl_->has_intx) impl_->intx.set_level(asserted);
}

void Interrupts::signal_error() noexcept { impl_->error_sink.signal(); }
bool Interrupts::request_release() noexcept {
  impl_->request_sink.signal();
  return impl_->request_sink.has_listener();
}

bool Interrupts::is_message_signalled() const noexcept {
  return impl_->msix.is_enabled.load(std::memory_order_acquire) ||
         impl_->msi.is_enabled.load(std::memory_order_acquire);
}

bool Interrupts::is_pending(std::uint32_t vector) const noexcept {
  const bool is_msix = impl_->msix.is_enabled.load(std::memory_order_acquire);
  const MessageGroup& group = is_msix || impl_->msi.count == 0 ? impl_->msix : impl_->msi;
  return vector < group.count && group.vectors[vector].is_pending();
}

bool Interrupts::intx_level() const noexcept { return impl_->intx.level(); }

std::uint64_t Interrupts::pending_word(Irq irq, std::uint32_t first) const noexcept {
  const MessageGroup& group = impl_->group(irq);
  std::uint64_t word = 0;
  for (std::uint32_t bit = 0; bit < 64 && first + bit < group.count; ++bit) {
    if (group.vectors[first + bit].is_pending()) word |= 1ull << bit;
  }
  return word;
}

std::uint64_t Interrupts::table_mask_word(std::uint32_t first) const noexcept {
  std::uint64_t word = 0;
  for (std::uint32_t bit = 0; bit < 64 && first + bit < impl_->msix.count; ++bit) {
    if (impl_->msix.vectors[first + bit].is_masked(MessageVector::by_table)) word |= 1ull << bit;
  }
  return word;
}

void Interrupts::set_pending(Irq irq, std::uint32_t vector) noexcept {
  const MessageGroup& group = impl_->group(irq);
  if (vector < group.count) group.vectors[vector].trigger();
}

IrqInfo Interrupts::info(Irq irq) const noexcept {
  IrqInfo info;
  info.count = impl_->count_of(irq);
  // As the kernel's vfio-pci says, of kinds that there are: INTx masks itself, vectors of messages can be added while
  // others are live. vfio-pci says it of absent ones too, and DPDK, which takes the last kind that has the flag and not
  // the last that has vectors, then waits for interrupts of an MSI-X that the card does not have.
  info.eventfd = info.count != 0;
  info.maskable = info.automasked = irq == Irq::intx && info.count != 0;
  return info;
}

void Interrupts::unmask_intx() noexcept {
  if (impl_->unmask_fd) drain_peer_eventfd(impl_->unmask_fd.get());
  impl_->intx.unmask();
}

int Interrupts::intx_unmask_fd() const noexcept { return impl_->unmask_fd.get(); }

void Interrupts::set_bus_master(bool enabled) noexcept {
  impl_->is_bus_master.store(enabled, std::memory_order_release);
}

void Interrupts::set_intx_disabled(bool disabled) noexcept { impl_->intx.set_disabled(disabled); }

void Interrupts::set_msi_mask(std::uint32_t mask_bits) noexcept {
  for (std::uint32_t i = 0; i < impl_->msi.count; ++i) {
    impl_->msi.vectors[i].set_mask(MessageVector::by_table, ((mask_bits >> i) & 1) != 0);
  }
}

void Interrupts::set_msix_function_mask(bool masked) noexcept {
  impl_->msix.set_mask(MessageVector::by_function, masked);
}

void Interrupts::set_msix_vector_mask(std::uint32_t vector, bool masked) noexcept {
  if (vector < impl_->msix.count) impl_->msix.vectors[vector].set_mask(MessageVector::by_table, masked);
}

void Interrupts::reset(bool drop_sinks) noexcept {
  impl_->intx.reset();
  for (MessageGroup* group : {&impl_->msi, &impl_->msix}) {
    for (std::uint32_t i = 0; i < group->count; ++i)
      group->vectors[i].clear_masks_and_pending();
    if (drop_sinks) group->detach_all();
  }
  if (!drop_sinks) return;
  impl_->intx.detach();
  impl_->error_sink.drop();
  impl_->request_sink.drop();
  impl_->unmask_fd.reset();
}

}  // namespace vmux::pci

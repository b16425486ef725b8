// SPDX-License-Identifier: BSD-3-Clause
// The kernel's side of this is drivers/vfio/pci/vfio_pci_intrs.c.
#include "kvfio/irq_relay.hpp"

#include <poll.h>

#include <cerrno>

#include "base/logf.hpp"
#include "pci/interrupts/irq_vector.hpp"

namespace vmux::kvfio {
namespace {

using pci::Irq;
using pci::IrqAction;
using pci::IrqData;
using pci::IrqRequest;
using pci::is_message;

bool is_disable(const IrqRequest& request) noexcept {
  return request.action == IrqAction::trigger && request.data == IrqData::none && request.count == 0;
}

bool is_selected(const IrqRequest& request, std::uint32_t index) noexcept {
  return request.data == IrqData::none || request.booleans[index] != 0;
}

int fd_of(const IrqRequest& request, std::uint32_t index) noexcept {
  return index < request.eventfds.size() ? request.eventfds[index].get() : -1;
}

bool is_signalled(const UniqueFd& eventfd) noexcept {
  pollfd look{eventfd.get(), POLLIN, 0};
  return eventfd && ::poll(&look, 1, 0) == 1;
}

}  // namespace

IrqRelay::IrqRelay(KernelDevice& device) : device_(device) {
  for (const Irq irq : {Irq::intx, Irq::msi, Irq::msix}) {
    group(irq).info = device.irq(irq);
    group(irq).vectors.resize(group(irq).info.count);
  }
}

pci::IrqInfo IrqRelay::info(Irq irq) const noexcept {
  const auto index = static_cast<std::size_t>(irq);
  return index < groups_.size() ? groups_[index].info : pci::IrqInfo{};
}

Result<void> IrqRelay::validate(const IrqRequest& request) const noexcept {
  if (is_disable(request)) return {};
  const std::uint32_t vectors = info(request.irq).count;
  const bool is_trigger = request.action == IrqAction::trigger;
  if (is_message(request.irq) && !is_trigger && request.data == IrqData::eventfd) {
    return fail(Errc::not_supported, "masking by eventfd is offered for INTx only", ENOTTY);
  }
  const bool may_be_none = is_message(request.irq) && is_trigger && group(request.irq).enabled != 0;
  if (request.count == 0 && !may_be_none) {
    return fail(Errc::invalid_argument, "an interrupt request without vectors");
  }
  if (!fits(request.start, request.count, vectors)) {
    return fail(Errc::out_of_range, "an interrupt request beyond the last vector");
  }
  if (request.data == IrqData::boolean && request.booleans.size() < request.count) {
    return fail(Errc::invalid_argument, "an interrupt request with too few booleans");
  }
  if (request.data != IrqData::eventfd) return {};
  if (request.eventfds.size() > request.count) {
    return fail(Errc::invalid_argument, "an interrupt request with more descriptors than vectors");
  }
  for (const UniqueFd& fd : request.eventfds) {
    if (!fd) continue;
    if (auto checked = pci::check_sink(fd); !checked) return checked;
  }
  return {};
}

Result<void> IrqRelay::configure(IrqRequest request) noexcept {
  if (!is_message(request.irq) && request.irq != Irq::intx) return fail(Errc::invalid_argument, "no such interrupt");
  if (auto valid = validate(request); !valid) return valid;
  if (is_disable(request)) {
    disable(request.irq);
    return {};
  }
  if (request.count == 0) return {};  // vectors that are live stay as they are
  return request.irq == Irq::intx ? configure_intx(request) : configure_messages(request);
}

// The kernel has all of INTx: it masks the line when it fires, and unmasks on the client's eventfd by itself.
Result<void> IrqRelay::configure_intx(const IrqRequest& request) noexcept {
  const int fd = fd_of(request, 0);
  const bool is_attach = request.data == IrqData::eventfd && request.action == IrqAction::trigger;
  if (is_attach && fd < 0) {
    disable(Irq::intx);
    return {};
  }
  if (is_attach) disable_others(Irq::intx);
  IrqCall call{Irq::intx, request.action, request.data, 0, 1, {}, request.booleans};
  if (request.data == IrqData::eventfd) call.eventfds = {&fd, 1};
  auto done = device_.set_irqs(call);
  if (done && is_attach) group(Irq::intx).enabled = 1;
  return done;
}

Result<void> IrqRelay::configure_messages(const IrqRequest& request) noexcept {
  Group& target = group(request.irq);
  if (request.data == IrqData::eventfd) {
    disable_others(request.irq);
    for (std::uint32_t i = 0; i < request.count; ++i) {
      Vector& vector = target.vectors[request.start + i];
      let_go(vector.sink);
      if (i < request.eventfds.size()) vector.sink = std::move(request.eventfds[i]);
    }
    return apply(request.irq, request.start, request.count);
  }
  for (std::uint32_t i = 0; i < request.count; ++i) {
    const std::uint32_t index = request.start + i;
    if (!is_selected(request, i)) continue;
    if (request.action != IrqAction::trigger) {
      set_mask(request.irq, index, by_client, request.action == IrqAction::mask);
    } else if (target.vectors[index].sink) {
      signal_peer_eventfd(target.vectors[index].sink.get());  // a client tests its wiring, whatever the masks
    }
  }
  return {};
}

Result<void> IrqRelay::park(Vector& vector) noexcept {
  if (vector.parked) return {};
  auto made = make_eventfd();
  if (!made) return tl::unexpected(made.error());
  vector.parked = std::move(*made);
  return {};
}

/// Tells the kernel which descriptors these vectors signal now.
Result<void> IrqRelay::apply(Irq irq, std::uint32_t start, std::uint32_t count) noexcept {
  Group& target = group(irq);
  const std::uint32_t end = start + count;
  if (target.enabled != 0 && end > target.enabled && target.info.noresize) {
    // This kernel sets all of a device's messages up at once: off, and on again with those that were there before.
    turn_off(irq);
  }
  if (target.enabled == 0) start = 0;
  std::vector<int> fds;
  for (std::uint32_t i = start; i < end; ++i) {
    Vector& vector = target.vectors[i];
    if (vector.masks != 0) {
      if (auto parked = park(vector); !parked) return parked;
    }
    fds.push_back(vector.masks != 0 ? vector.parked.get() : vector.sink.get());
  }
  auto done = device_.set_irqs({irq, IrqAction::trigger, IrqData::eventfd, start, end - start, fds, {}});
  if (done) target.enabled = std::max(target.enabled, end);
  return done;
}

void IrqRelay::set_mask(Irq irq, std::uint32_t index, Mask mask, bool is_masked) noexcept {
  Group& target = group(irq);
  if (index >= target.vectors.size()) return;
  Vector& vector = target.vectors[index];
  const bool was_masked = vector.masks != 0;
  vector.masks = static_cast<std::uint8_t>(is_masked ? vector.masks | mask : vector.masks & ~mask);
  if ((vector.masks != 0) == was_masked || index >= target.enabled) return;
  if (auto applied = apply(irq, index, 1); !applied) {
    logf(LogLevel::warning, "vector {} cannot be {}: {}", index, is_masked ? "masked" : "unmasked",
         applied.error().text());
    return;
  }
  // What came between the kernel's change and here was signalled to the sink itself; what came before waits here.
  if (was_masked && drain_eventfd(vector.parked.get()) != 0 && vector.sink) signal_peer_eventfd(vector.sink.get());
}

void IrqRelay::set_table_mask(std::uint32_t vector, bool is_masked) noexcept {
  set_mask(Irq::msix, vector, by_table, is_masked);
}

void IrqRelay::set_function_mask(bool is_masked) noexcept {
  for (std::uint32_t i = 0; i < group(Irq::msix).vectors.size(); ++i)
    set_mask(Irq::msix, i, by_function, is_masked);
}

void IrqRelay::clear_masks() noexcept {
  for (std::uint32_t i = 0; i < group(Irq::msix).vectors.size(); ++i) {
    if (group(Irq::msix).vectors[i].parked) drain_eventfd(group(Irq::msix).vectors[i].parked.get());
    set_mask(Irq::msix, i, by_table, false);
    set_mask(Irq::msix, i, by_function, false);
  }
}

std::uint64_t IrqRelay::pending_word(std::uint32_t first) const noexcept {
  const auto& vectors = groups_[static_cast<std::size_t>(Irq::msix)].vectors;
  std::uint64_t word = 0;
  for (std::uint32_t bit = 0; bit < 64 && first + bit < vectors.size(); ++bit) {
    if (is_signalled(vectors[first + bit].parked)) word |= 1ull << bit;
  }
  return word;
}

/// As the client's own: it gives its descriptors anew when it wants the interrupts back.
void IrqRelay::disable(Irq irq) noexcept {
  turn_off(irq);
  for (Vector& vector : group(irq).vectors) {
    let_go(vector.sink);
    vector.masks = static_cast<std::uint8_t>(vector.masks & ~by_client);
  }
}

void IrqRelay::let_go(UniqueFd& fd) noexcept {
  if (keeps_departed_ && fd) departed_.push_back(std::move(fd));
  fd.reset();
}

void IrqRelay::turn_off(Irq irq) noexcept {
  Group& target = group(irq);
  if (std::exchange(target.enabled, 0) == 0) return;
  const auto done = device_.set_irqs({irq, IrqAction::trigger, IrqData::none, 0, 0, {}, {}});
  if (!done) logf(LogLevel::warning, "interrupts stay enabled: {}", done.error().text());
}

void IrqRelay::disable_others(Irq irq) noexcept {
  for (const Irq other : {Irq::intx, Irq::msi, Irq::msix}) {
    if (other != irq) disable(other);
  }
}

void IrqRelay::drop() noexcept {
  for (const Irq irq : {Irq::intx, Irq::msi, Irq::msix}) {
    disable(irq);
    for (Vector& vector : group(irq).vectors) {
      let_go(vector.parked);
      vector.masks = 0;
    }
  }
}

}  // namespace vmux::kvfio

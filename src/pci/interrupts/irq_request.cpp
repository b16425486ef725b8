// SPDX-License-Identifier: BSD-3-Clause
// SET_IRQS: what linux/vfio.h says of VFIO_DEVICE_SET_IRQS, and the leniency that clients rely on.
#include <algorithm>
#include <cerrno>

#include "pci/interrupts/interrupts_impl.hpp"

namespace vmux::pci {
namespace {

bool is_disable(const IrqRequest& request) noexcept {
  return request.action == IrqAction::trigger && request.data == IrqData::none && request.count == 0;
}

/// DATA_NONE acts on every vector of the request, DATA_BOOL on those whose byte is not zero.
bool is_selected(const IrqRequest& request, std::uint32_t index) noexcept {
  return request.data == IrqData::none || request.booleans[index] != 0;
}

/// The descriptor for the request's vector `index`: clients send fewer than `count`, or holes among them.
const UniqueFd& sink_of(const IrqRequest& request, std::uint32_t index) noexcept {
  static const UniqueFd kNone;
  return index < request.eventfds.size() ? request.eventfds[index] : kNone;
}

tl::unexpected<Error> no_mask_by_eventfd() noexcept {
  return fail(Errc::not_supported, "masking by eventfd is offered for unmasking INTx only", ENOTTY);
}

/// What was sent is used up: descriptors live on as their duplicates only.
void close_all(const IrqRequest& request) noexcept {
  for (UniqueFd& fd : request.eventfds)
    fd.reset();
}

}  // namespace

std::uint32_t Interrupts::Impl::count_of(Irq irq) const noexcept {
  switch (irq) {
    case Irq::intx:
      return has_intx ? 1 : 0;
    case Irq::msi:
      return msi.count;
    case Irq::msix:
      return msix.count;
    case Irq::err:
      return has_error ? 1 : 0;
    case Irq::req:
      return has_request ? 1 : 0;
  }
  return 0;
}

/// In the kernel's order: first what the kind knows at all, then how many. None is none of those that are enabled.
Result<void> Interrupts::Impl::validate_action(const IrqRequest& request) const noexcept {
  const bool is_trigger = request.action == IrqAction::trigger, is_messages = is_message(request.irq);
  if (!is_trigger && !is_messages && request.irq != Irq::intx) {
    return fail(Errc::not_supported, "ERR and REQ cannot be masked", ENOTTY);
  }
  if (!is_trigger && is_messages && request.data == IrqData::eventfd) return no_mask_by_eventfd();
  const bool may_be_none = is_trigger && is_messages && group(request.irq).is_enabled.load(std::memory_order_relaxed);
  if (request.count != 0 || may_be_none) return {};
  return fail(Errc::invalid_argument, "an interrupt request without vectors");
}

Result<void> Interrupts::Impl::validate(const IrqRequest& request) const noexcept {
  if (static_cast<std::uint32_t>(request.irq) >= kIrqCount)
    return fail(Errc::invalid_argument, "no such interrupt kind");
  if (is_disable(request)) return {};  // of whatever, enabled or not, there or not
  if (auto valid = validate_action(request); !valid) return valid;
  if (!fits(request.start, request.count, count_of(request.irq))) {
    return fail(Errc::out_of_range, "an interrupt request beyond the last vector");
  }
  if (request.data == IrqData::boolean && request.booleans.size() < request.count) {
    return fail(Errc::invalid_argument, "an interrupt request with too few booleans");
  }
  if (request.data != IrqData::eventfd) return {};
  if (request.eventfds.size() > request.count) {
    return fail(Errc::invalid_argument, "an interrupt request with more descriptors than vectors");
  }
  if (request.action == IrqAction::mask) return no_mask_by_eventfd();
  for (const UniqueFd& fd : request.eventfds) {
    if (!fd) continue;
    if (auto checked = check_sink(fd); !checked) return checked;
  }
  return {};
}

Result<void> Interrupts::configure(IrqRequest request) noexcept {
  if (auto valid = impl_->validate(request); !valid) return valid;
  switch (request.irq) {
    case Irq::intx:
      return impl_->configure_intx(request);
    case Irq::msi:
    case Irq::msix:
      return impl_->configure_messages(request);
    case Irq::err:
      return impl_->configure_single(request, impl_->error_sink);
    case Irq::req:
      return impl_->configure_single(request, impl_->request_sink);
  }
  return fail(Errc::invalid_argument, "no such interrupt kind");
}

Result<void> Interrupts::Impl::configure_intx(const IrqRequest& request) noexcept {
  if (is_disable(request)) {
    intx.detach();
    unmask_fd.reset();
    return {};
  }
  if (request.data != IrqData::eventfd) {
    if (!is_selected(request, 0)) return {};
    if (request.action == IrqAction::mask) intx.mask();
    if (request.action == IrqAction::unmask) intx.unmask();
    if (request.action == IrqAction::trigger) intx.loop_back();
    return {};
  }
  if (request.action == IrqAction::unmask) {
    unmask_fd = request.eventfds.empty() ? UniqueFd{} : std::move(request.eventfds[0]);
    return {};
  }
  if (!sink_of(request, 0)) {
    intx.detach();
    return {};
  }
  if (auto prepared = intx.prepare(); !prepared) return prepared;
  intx.attach(sink_of(request, 0));
  close_all(request);
  return {};
}

Result<void> Interrupts::Impl::configure_messages(const IrqRequest& request) noexcept {
  MessageGroup& target = group(request.irq);
  if (is_disable(request)) {
    target.detach_all();
    return {};
  }
  MessageVector* const vectors = target.vectors.get() + request.start;
  if (request.data != IrqData::eventfd) {
    for (std::uint32_t i = 0; i < request.count; ++i) {
      if (!is_selected(request, i)) continue;
      if (request.action == IrqAction::trigger) {
        vectors[i].loop_back();
      } else {
        vectors[i].set_mask(MessageVector::by_client, request.action == IrqAction::mask);
      }
    }
    return {};
  }
  for (std::uint32_t i = 0; i < request.count; ++i) {
    if (!sink_of(request, i)) continue;
    if (auto prepared = vectors[i].prepare(); !prepared) return prepared;
  }
  for (std::uint32_t i = 0; i < request.count; ++i) {
    if (const UniqueFd& sink = sink_of(request, i)) {
      vectors[i].attach(sink);
    } else {
      vectors[i].detach();
    }
  }
  target.is_enabled.store(true, std::memory_order_release);
  close_all(request);
  return {};
}

Result<void> Interrupts::Impl::configure_single(const IrqRequest& request, IrqSink& sink) noexcept {
  if (is_disable(request)) {
    sink.drop();
    return {};
  }
  if (request.data != IrqData::eventfd) {
    if (is_selected(request, 0)) sink.signal();
    return {};
  }
  if (!sink_of(request, 0)) {
    sink.drop();
    return {};
  }
  if (auto prepared = sink.prepare(); !prepared) return prepared;
  sink.replace(sink_of(request, 0));
  close_all(request);
  return {};
}

}  // namespace vmux::pci

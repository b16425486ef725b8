// SPDX-License-Identifier: BSD-3-Clause
// Accesses to regions, reset, and the wiring of interrupts.
#include <sys/epoll.h>

#include <bit>
#include <cerrno>

#include "base/logf.hpp"
#include "vfio_user/session/session.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::vfio_user {
namespace {

using wire::vfio_user::put;
using wire::vfio_user::RegionAccess;
using wire::vfio_user::RegionRequest;

RegionAccess echo_of(const RegionRequest& request) noexcept { return {request.offset, request.region, request.count}; }

/// With the errno of the kernel's pread() and pwrite(): EINVAL of what is not there, read-only or behind a region's end
/// (vfio_pci_rw, vfio_pci_bar_rw), but EFAULT behind the end of configuration space (vfio_config_do_rw).
Result<void> as_kernel(pci::Region region, Result<void> done) noexcept {
  if (done) return done;
  Error& error = done.error();
  const bool is_behind_config = error.code == Errc::out_of_range && region == pci::Region::config;
  const bool is_refused = error.code == Errc::not_supported || error.code == Errc::permission;
  if (is_behind_config || is_refused) error.sys = is_behind_config ? EFAULT : EINVAL;
  return done;
}

}  // namespace

/// Nothing is written even where there is no region, as with pwrite().
Result<void> Session::write_region(const RegionRequest& request) noexcept {
  if (request.data.empty()) return {};
  if (request.region >= pci::kRegionCount) return fail(Errc::invalid_argument, "no such region");
  if (context_.endpoint.tracer() != nullptr) [[unlikely]]
    trace(TraceRecord::What::write, request.region, request.offset, request.data);
  const auto region = static_cast<pci::Region>(request.region);
  return as_kernel(region, context_.endpoint.write(region, RegionOffset{request.offset}, request.data));
}

Result<Session::Outcome> Session::handle_region_read(const Request& request) {
  const auto access = wire::vfio_user::decode_region_read(request.payload, context_.options.max_transfer);
  if (!access) return tl::unexpected(access.error());
  if (access->count != 0 && access->region >= pci::kRegionCount) return fail(Errc::invalid_argument, "no such region");
  const auto data = put(reply(request.header, sizeof(RegionAccess) + access->count), echo_of(*access));
  if (data.empty()) return Outcome::replied;
  context_.counters.region_reads.add();
  const auto region = static_cast<pci::Region>(access->region);
  const auto done = as_kernel(region, context_.endpoint.read(region, RegionOffset{access->offset}, data));
  if (!done) return tl::unexpected(done.error());
  if (context_.endpoint.tracer() != nullptr) [[unlikely]]
    trace(TraceRecord::What::read, access->region, access->offset, data);
  return Outcome::replied;
}

Result<Session::Outcome> Session::handle_region_write(const Request& request) {
  const auto access = wire::vfio_user::decode_region_write(request.payload, context_.options.max_transfer);
  if (!access) return tl::unexpected(access.error());
  context_.counters.region_writes.add();
  if (auto done = write_region(*access); !done) return tl::unexpected(done.error());
  if (access->region == static_cast<std::uint32_t>(pci::Region::config)) watch_intx_unmask();
  put(reply(request.header, sizeof(RegionAccess)), echo_of(*access));
  return Outcome::replied;
}

Result<Session::Outcome> Session::handle_write_multi(const Request& request) {
  if (!write_multiple_) return fail(Errc::not_supported, "write_multiple was not agreed on");
  const auto count = wire::vfio_user::decode_write_multi(request.payload);
  if (!count) return tl::unexpected(count.error());
  wire::vfio_user::WriteMulti completed;
  for (std::uint64_t i = 0; i < *count; ++i) {
    const auto access = wire::vfio_user::single_write(request.payload, i);
    context_.counters.region_writes.add();
    const auto done = access ? write_region(*access) : tl::unexpected(access.error());
    if (!done && i == 0) return tl::unexpected(done.error());
    if (!done) break;  // the reply tells how far it went
    completed.wr_cnt = i + 1;
  }
  watch_intx_unmask();
  put(reply(request.header, sizeof completed), completed);
  return Outcome::replied;
}

Result<Session::Outcome> Session::handle_reset(const Request& request) {
  context_.endpoint.reset(pci::ResetKind::client_request);
  migration_.reset();
  watch_intx_unmask();
  reply(request.header, 0);
  return Outcome::replied;
}

Result<Session::Outcome> Session::handle_set_irqs(const Request& request) {
  namespace sf = wire::vfio_user::set_irqs_flags;
  const auto wanted = wire::vfio_user::decode_set_irqs(request.payload);
  if (!wanted) return tl::unexpected(wanted.error());
  if (wanted->index >= pci::kIrqCount) return fail(Errc::invalid_argument, "no such interrupt");
  const auto irq = static_cast<pci::Irq>(wanted->index);
  const std::uint32_t vectors = context_.endpoint.irq_info(irq).count;
  // Even if nothing is selected; but a kind that is not there may be turned off, as QEMU does.
  const bool is_disable =
      wanted->action == sf::kTrigger && wanted->data == sf::kDataNone && wanted->start == 0 && wanted->count == 0;
  if (!is_disable && (wanted->start >= vectors || wanted->count > vectors - wanted->start)) {
    return fail(Errc::out_of_range, "start and count are beyond the vectors of that interrupt");
  }
  if (!std::has_single_bit(wanted->action)) {
    return fail(Errc::not_supported, "not one action: to trigger, to mask or to unmask", ENOTTY);
  }
  const bool with_eventfds = wanted->data == sf::kDataEventfd;
  if (request.fds.size() > (with_eventfds ? wanted->count : 0)) {
    return fail(Errc::invalid_argument, "more file descriptors than interrupts");
  }
  for (const auto& fd : request.fds) {
    // Anything else could keep this thread busy with an event that never goes.
    if (!is_eventfd(fd.get())) return fail(Errc::invalid_argument, "a file descriptor is not an eventfd");
  }
  // The watch goes first: its descriptor may be closed and its number reused while the interrupt is configured.
  unmask_watch_.reset();
  unmask_fd_ = -1;
  pci::IrqRequest what;
  what.irq = irq;
  what.action = wanted->action == sf::kMask     ? pci::IrqAction::mask
                : wanted->action == sf::kUnmask ? pci::IrqAction::unmask
                                                : pci::IrqAction::trigger;
  what.data = with_eventfds                   ? pci::IrqData::eventfd
              : wanted->data == sf::kDataBool ? pci::IrqData::boolean
                                              : pci::IrqData::none;
  what.start = wanted->start;
  what.count = wanted->count;
  what.booleans = {reinterpret_cast<const std::uint8_t*>(wanted->booleans.data()), wanted->booleans.size()};
  what.eventfds = request.fds;
  const auto done = context_.endpoint.configure_irq(what);
  watch_intx_unmask();
  if (!done) return tl::unexpected(done.error());
  reply(request.header, 0);
  return Outcome::replied;
}

// With KVM a client unmasks a level interrupt through an eventfd, without a message.
void Session::watch_intx_unmask() {
  const int fd = context_.endpoint.intx_unmask_fd();
  if (fd == unmask_fd_) return;
  unmask_watch_.reset();
  unmask_fd_ = fd;
  if (fd < 0) return;
  // On edges: one in semaphore mode would stay readable for as many rounds as the client likes.
  auto watch = context_.poller.watch(fd, EPOLLIN | EPOLLET, [this](std::uint32_t) { context_.endpoint.unmask_intx(); });
  if (watch) {
    unmask_watch_ = std::move(*watch);
  } else {
    logf(LogLevel::warning, "{}: {}", context_.endpoint.name(), watch.error().text());
  }
}

}  // namespace vmux::vfio_user

// SPDX-License-Identifier: BSD-3-Clause
#include "pci/interrupts/irq_vector.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmux/base/assert.hpp"

namespace vmux::pci {
namespace {

/// Takes writes and does nothing: what a vector's descriptor is while nobody listens. One for the process.
Result<int> nowhere() noexcept {
  static const int fd = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (fd >= 0) return fd;
  // No /dev in a confined process: an eventfd of our own that nobody reads (its counter fills in 584 years).
  static const int event = [] {
    auto made = make_eventfd();
    return made ? made->release() : -1;
  }();
  if (event < 0) return fail(Errc::no_space, "no descriptor for an interrupt");
  return event;
}

void duplicate_onto(int from, int to) noexcept {
  // EBUSY: another thread is between reserving and filling a number (a Linux race that is documented to be retried).
  while (::dup3(from, to, O_CLOEXEC) < 0)
    VMUX_ASSERT(errno == EINTR || errno == EBUSY);
}

}  // namespace

IrqSink::~IrqSink() {
  const int fd = fd_.load(std::memory_order_acquire);
  if (fd >= 0) ::close(fd);
}

Result<void> IrqSink::prepare() noexcept {
  if (fd_.load(std::memory_order_relaxed) >= 0) return {};
  const auto idle = nowhere();
  if (!idle) return tl::unexpected(idle.error());
  const int fd = ::fcntl(*idle, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return fail_errno("no descriptor for an interrupt");
  fd_.store(fd, std::memory_order_release);
  return {};
}

void IrqSink::replace(const UniqueFd& sink) noexcept {
  duplicate_onto(sink.get(), fd_.load(std::memory_order_relaxed));
  has_listener_.store(true, std::memory_order_relaxed);
}

void IrqSink::drop() noexcept {
  has_listener_.store(false, std::memory_order_relaxed);
  const int fd = fd_.load(std::memory_order_relaxed);
  if (fd < 0) return;
  const auto idle = nowhere();
  VMUX_ASSERT(idle.has_value());  // prepare() had it
  duplicate_onto(*idle, fd);
}

void IrqSink::signal() const noexcept {
  const int fd = fd_.load(std::memory_order_acquire);
  if (fd >= 0) signal_peer_eventfd(fd);
}

Result<void> check_sink(const UniqueFd& sink) noexcept {
  struct stat status {};
  if (::fstat(sink.get(), &status) != 0) return fail_errno("cannot identify an interrupt descriptor");
  // Eventfds have no file type. A pipe, socket or file could block a poller, or grow without end.
  if ((status.st_mode & S_IFMT) != 0) return fail(Errc::invalid_argument, "an interrupt descriptor is not an eventfd");
  const int flags = ::fcntl(sink.get(), F_GETFL);
  if (flags < 0) return fail_errno("cannot identify an interrupt descriptor");
  if ((flags & O_ACCMODE) == O_RDONLY) return fail(Errc::invalid_argument, "an interrupt descriptor is not writable");
  if ((flags & O_NONBLOCK) == 0 && ::fcntl(sink.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return fail_errno("cannot make an interrupt descriptor non-blocking");
  }
  return {};
}

void MessageVector::trigger() noexcept {
  std::uint32_t state = state_.load(std::memory_order_acquire);
  while ((state & kMasks) != 0 || (state & kSink) == 0) {
    if ((state & kPending) != 0) return;
    if (state_.compare_exchange_weak(state, state | kPending, std::memory_order_acq_rel)) return;
  }
  sink_.signal();
}

void MessageVector::deliver_if_open() noexcept {
  std::uint32_t state = state_.load(std::memory_order_acquire);
  while ((state & kPending) != 0 && (state & kMasks) == 0 && (state & kSink) != 0) {
    if (!state_.compare_exchange_weak(state, state & ~kPending, std::memory_order_acq_rel)) continue;
    sink_.signal();
    return;
  }
}

void MessageVector::attach(const UniqueFd& sink) noexcept {
  sink_.replace(sink);
  state_.fetch_or(kSink, std::memory_order_acq_rel);
  deliver_if_open();
}

void MessageVector::detach() noexcept {
  state_.fetch_and(~kSink, std::memory_order_acq_rel);
  sink_.drop();
}

void MessageVector::set_mask(Mask mask, bool is_masked) noexcept {
  if (is_masked) {
    state_.fetch_or(mask, std::memory_order_acq_rel);
    return;
  }
  state_.fetch_and(~static_cast<std::uint32_t>(mask), std::memory_order_acq_rel);
  deliver_if_open();
}

void MessageVector::clear_masks_and_pending() noexcept {
  state_.fetch_and(~(kMasks | kPending), std::memory_order_acq_rel);
}

void LevelVector::update(std::uint32_t set, std::uint32_t clear) noexcept {
  std::uint32_t state = state_.load(std::memory_order_acquire);
  for (;;) {
    std::uint32_t next = (state & ~clear) | set;
    const bool fires = (next & (kSink | kAsserted | kMasked | kDisabled)) == (kSink | kAsserted);
    if (fires) next |= kMasked;           // VFIO: a level-triggered interrupt masks itself
    if (next == state && !fires) return;  // an unmask that fires at once ends where it began
    if (!state_.compare_exchange_weak(state, next, std::memory_order_acq_rel)) continue;
    if (fires) sink_.signal();
    return;
  }
}

void LevelVector::attach(const UniqueFd& sink) noexcept {
  sink_.replace(sink);
  const bool is_new = (state_.load(std::memory_order_acquire) & kSink) == 0;
  update(kSink, is_new ? kMasked : 0);
}

void LevelVector::detach() noexcept {
  update(0, kSink | kMasked);
  sink_.drop();
}

}  // namespace vmux::pci

// SPDX-License-Identifier: BSD-3-Clause
// mmap and what belongs to it, and the library's own life.
#include <pthread.h>
#include <sys/mman.h>

#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include "preload/device.hpp"
#include "preload/fd_table.hpp"
#include "preload/hooks.hpp"
#include "preload/mmio_trap.hpp"
#include "preload/shared_memory.hpp"

namespace vmux::preload {
namespace {

/// Can there be records of ours about any address?
bool has_records() { return has_trapped() || settings().share_anonymous; }

/// Records of ours about addresses that now belong to something else.
void forget(void* address, std::size_t length) {
  const auto start = reinterpret_cast<std::uint64_t>(address);
  forget_trapped(start, length);
  forget_shareable(start, length);
}

template <class Real>
void* map(void* hint, size_t length, int protection, int flags, int fd, off64_t offset, Real real) {
  if (Inside::is()) return real();
  const bool is_ours = (flags & MAP_ANONYMOUS) == 0 && FdTable::instance().may_be_ours(fd);
  const bool is_shareable = is_worth_sharing(length, protection, flags);
  const bool replaces = (flags & MAP_FIXED) != 0 && has_records();
  if (!is_ours && !is_shareable && !replaces) return real();
  const Inside inside;
  const int before = errno;
  if (replaces) forget(hint, length);
  const auto object = is_ours ? FdTable::instance().find(fd) : nullptr;
  if (!object && !is_shareable) return real();
  const long result = object ? object->mmap(hint, length, protection, flags, static_cast<std::uint64_t>(offset))
                             : map_shareable(hint, length, protection, flags);
  errno = before;
  return reinterpret_cast<void*>(returned<long>(result));
}

std::unique_ptr<Inside> forking;  // all locks are held from before a fork until after it, so signals must wait

void before_fork() {
  auto inside = std::make_unique<Inside>();
  Device::before_fork();
  World::lock_making();
  state_mutex().lock();
  if (World* world = World::existing()) world->before_fork();
  lock_traps();
  lock_shareable();
  FdTable::instance().mutex().lock();
  forking = std::move(inside);
}
void after_fork(bool is_child) {
  const auto inside = std::move(forking);
  if (is_child) FdTable::instance().forked();
  FdTable::instance().mutex().unlock();
  unlock_shareable();
  unlock_traps();
  if (World* world = World::existing()) world->after_fork(is_child);
  // Its owner is a thread by number, and the child's has another: it would be locked for ever.
  if (is_child) {
    new (&state_mutex()) std::recursive_mutex;
  } else {
    state_mutex().unlock();
  }
  World::unlock_making();
}

__attribute__((constructor)) void start() {
  const Inside inside;
  if (settings().devices.empty()) return;
  (void)FdTable::instance();  // its owner is this process, not a child that happens to be the first to close something
  pthread_atfork(
      before_fork, [] { after_fork(false); }, [] { after_fork(true); });
}
__attribute__((destructor)) void end() {
  const Inside inside;
  if (World* world = World::existing()) world->leave();
}

}  // namespace
}  // namespace vmux::preload

using namespace vmux::preload;

VMUX_HOOK void* mmap(void* hint, size_t length, int protection, int flags, int fd, off_t offset) noexcept {
  return map(hint, length, protection, flags, fd, offset,
             [&] { return VMUX_REAL(mmap)(hint, length, protection, flags, fd, offset); });
}
VMUX_HOOK void* mmap64(void* hint, size_t length, int protection, int flags, int fd, off64_t offset) noexcept {
  return map(hint, length, protection, flags, fd, offset,
             [&] { return VMUX_REAL(mmap64)(hint, length, protection, flags, fd, offset); });
}
VMUX_HOOK int munmap(void* address, size_t length) noexcept {
  if (!Inside::is() && has_records()) {
    const Inside inside;
    forget(address, length);
  }
  return VMUX_REAL(munmap)(address, length);
}

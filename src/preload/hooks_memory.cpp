// SPDX-License-Identifier: BSD-3-Clause
// mmap and what belongs to it; SIGSEGV, which the emulation of trapping registers needs; and the library's own life.
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <mutex>
#include <new>

#include "preload/fd_table.hpp"
#include "preload/hooks.hpp"
#include "preload/mmio_trap.hpp"
#include "preload/shared_memory.hpp"

namespace vmux::preload {
namespace {

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
  if (!is_ours && !is_shareable && (flags & MAP_FIXED) == 0) return real();
  const Inside inside;
  const int before = errno;
  if ((flags & MAP_FIXED) != 0) forget(hint, length);
  const auto object = is_ours ? FdTable::instance().find(fd) : nullptr;
  if (!object && !is_shareable) return real();
  const long result = object ? object->mmap(hint, length, protection, flags, static_cast<std::uint64_t>(offset))
                             : map_shareable(hint, length, protection, flags);
  errno = before;
  return reinterpret_cast<void*>(returned<long>(result));
}

void before_fork() {
  const Inside inside;
  if (World* world = World::existing()) world->before_fork();
  state_mutex().lock();
  lock_traps();
  lock_shareable();
  FdTable::instance().mutex().lock();
}
void after_fork(bool is_child) {
  const Inside inside;
  FdTable::instance().mutex().unlock();
  unlock_shareable();
  unlock_traps();
  // Its owner is a thread by number, and the child's has another: it would be locked for ever.
  if (is_child) {
    new (&state_mutex()) std::recursive_mutex;
  } else {
    state_mutex().unlock();
  }
  if (World* world = World::existing()) world->after_fork(is_child);
}

__attribute__((constructor)) void start() {
  const Inside inside;
  if (settings().devices.empty()) return;
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
  if (!Inside::is()) {
    const Inside inside;
    forget(address, length);
  }
  return VMUX_REAL(munmap)(address, length);
}

VMUX_HOOK int sigaction(int number, const struct sigaction* wanted, struct sigaction* before) noexcept {
  if (number == SIGSEGV && !Inside::is() && keep_segv_action(wanted, before)) return 0;
  return VMUX_REAL(sigaction)(number, wanted, before);
}
VMUX_HOOK sighandler_t signal(int number, sighandler_t handler) noexcept {
  struct sigaction wanted {
  }, before{};
  wanted.sa_handler = handler;
  wanted.sa_flags = SA_RESTART;
  if (number == SIGSEGV && !Inside::is() && keep_segv_action(&wanted, &before)) return before.sa_handler;
  return VMUX_REAL(signal)(number, handler);
}

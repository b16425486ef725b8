// SPDX-License-Identifier: BSD-3-Clause
// mmap and what belongs to it, and the library's own life.
#include <pthread.h>
#include <sys/mman.h>

#include <cstdarg>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include "preload/dma/shared_memory.hpp"
#include "preload/hooks/hooks.hpp"
#include "preload/mmio/bar_calls.hpp"
#include "preload/mmio/bar_maps.hpp"
#include "preload/vfio/device/device.hpp"
#include "preload/vfio/fd_table.hpp"

namespace vmux::preload {
namespace {

/// mmap() of a file of ours, after what the kernel checks itself (do_mmap).
long map_file(const FdTable::File& file, void* hint, size_t length, int protection, int flags, off64_t offset) {
  if (offset % static_cast<off64_t>(kPage) != 0 || length == 0) return -EINVAL;
  const bool may_write = file.access == O_RDWR || (protection & PROT_WRITE) == 0;
  if (file.access == O_WRONLY || !may_write) return -EACCES;
  return file.object->mmap(hint, length, protection, flags, static_cast<std::uint64_t>(offset));
}

template <class Real>
void* map(void* hint, size_t length, int protection, int flags, int fd, off64_t offset, Real real) {
  if (Inside::is()) return real();
  const bool is_ours = (flags & MAP_ANONYMOUS) == 0 && FdTable::instance().may_be_ours(fd);
  const bool is_shareable = is_worth_sharing(length, protection, flags);
  if (is_ours || is_shareable) {
    const Inside inside;
    const int before = errno;
    const auto file = is_ours ? FdTable::instance().find_file(fd) : nullptr;
    if (file || is_shareable) {
      if ((flags & MAP_FIXED) != 0) forget_shareable(reinterpret_cast<std::uint64_t>(hint), length);
      const long result = file ? map_file(*file, hint, length, protection, flags, offset)
                               : map_shareable(hint, length, protection, flags);
      if (result >= 0 && !file) BarMaps::instance().forget(static_cast<std::uint64_t>(result), length);
      errno = before;
      return reinterpret_cast<void*>(returned<long>(result));
    }
  }
  const bool replaces = (flags & MAP_FIXED) != 0 && settings().share_anonymous;
  void* const result = real();
  if (result == MAP_FAILED || (!replaces && !may_hold_bar(result, length))) return result;
  // Something else lies at these addresses now.
  const Inside inside;
  if (replaces) forget_shareable(reinterpret_cast<std::uint64_t>(result), length);
  BarMaps::instance().forget(reinterpret_cast<std::uint64_t>(result), length);
  return result;
}

/// The real call where no BAR is mapped in the range, else ours (a value or a negated errno).
template <class Ours, class Real>
int about_range(const void* address, size_t length, Ours ours, Real real) {
  if (Inside::is() || !may_hold_bar(address, length)) return real();
  const Inside inside;
  const int before = errno;
  const long result = ours();
  errno = before;
  return returned(result);
}

std::unique_ptr<Inside> forking;  // all locks are held from before a fork until after it, so signals must wait

void before_fork() {
  auto inside = std::make_unique<Inside>();
  Device::before_fork();
  World::lock_making();
  state_mutex().lock();
  if (World* world = World::existing()) world->before_fork();
  BarMaps::instance().mutex().lock();
  lock_shareable();
  FdTable::instance().mutex().lock();
  forking = std::move(inside);
}
void after_fork(bool is_child) {
  const auto inside = std::move(forking);
  BarMaps::Released released;  // after all locks
  if (is_child) BarMaps::instance().erase_not_forked(released);
  if (is_child) FdTable::instance().forked();
  FdTable::instance().mutex().unlock();
  unlock_shareable();
  BarMaps::instance().mutex().unlock();
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
  if (settings().share_anonymous && !Inside::is()) {
    const Inside inside;
    forget_shareable(reinterpret_cast<std::uint64_t>(address), length);
  }
  return about_range(
      address, length, [&] { return unmap_range(address, length); },
      [&] { return VMUX_REAL(munmap)(address, length); });
}
VMUX_HOOK int mprotect(void* address, size_t length, int protection) noexcept {
  return about_range(
      address, length, [&] { return protect_range(address, length, protection); },
      [&] { return VMUX_REAL(mprotect)(address, length, protection); });
}
VMUX_HOOK int pkey_mprotect(void* address, size_t length, int protection, int key) noexcept {
  return about_range(
      address, length, [&] { return key == -1 ? protect_range(address, length, protection) : long{-EINVAL}; },
      [&] { return VMUX_REAL(pkey_mprotect)(address, length, protection, key); });
}
VMUX_HOOK void* mremap(void* address, size_t old_size, size_t new_size, int flags, ...) noexcept {
  va_list rest;
  va_start(rest, flags);
  void* const to = va_arg(rest, void*);
  va_end(rest);
  const bool is_fixed = (flags & MREMAP_FIXED) != 0;
  const bool may_concern = may_hold_bar(address, old_size + 1) || (is_fixed && may_hold_bar(to, new_size));
  if (Inside::is() || !may_concern) return VMUX_REAL(mremap)(address, old_size, new_size, flags, to);
  const Inside inside;
  const int before = errno;
  const long result = remap_range(address, old_size, new_size, flags, to);
  errno = before;
  return reinterpret_cast<void*>(returned<long>(result));
}
VMUX_HOOK int madvise(void* address, size_t length, int advice) noexcept {
  return about_range(
      address, length, [&] { return advise_range(address, length, advice); },
      [&] { return VMUX_REAL(madvise)(address, length, advice); });
}
VMUX_HOOK int msync(void* address, size_t length, int flags) {
  return about_range(
      address, length, [&] { return sync_range(address, length, flags); },
      [&] { return VMUX_REAL(msync)(address, length, flags); });
}
VMUX_HOOK int mlock(const void* address, size_t length) noexcept {
  return about_range(
      address, length, [&] { return lock_range(address, length, Locking::lock); },
      [&] { return VMUX_REAL(mlock)(address, length); });
}
VMUX_HOOK int mlock2(const void* address, size_t length, unsigned flags) noexcept {
  const Locking how = flags == MLOCK_ONFAULT ? Locking::lock_on_fault : Locking::lock;
  return about_range(
      address, length,
      [&] { return (flags & ~unsigned{MLOCK_ONFAULT}) != 0 ? -EINVAL : lock_range(address, length, how); },
      [&] { return VMUX_REAL(mlock2)(address, length, flags); });
}
VMUX_HOOK int munlock(const void* address, size_t length) noexcept {
  return about_range(
      address, length, [&] { return lock_range(address, length, Locking::unlock); },
      [&] { return VMUX_REAL(munlock)(address, length); });
}
// Deprecated since Linux 3.16, and never asked of a device.
VMUX_HOOK int remap_file_pages(void* address, size_t length, int protection, size_t offset, int flags) noexcept {
  return about_range(
      address, length, [] { return long{-EINVAL}; },
      [&] { return VMUX_REAL(remap_file_pages)(address, length, protection, offset, flags); });
}

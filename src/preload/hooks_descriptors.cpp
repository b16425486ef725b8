// SPDX-License-Identifier: BSD-3-Clause
// What is done to descriptors themselves, and what the kernel does with a file whatever its driver. A descriptor of
// ours is a memory file to the kernel; a device is none, and has less.
#include <fcntl.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <cstdarg>

#include "preload/fd_table.hpp"
#include "preload/hooks.hpp"

namespace vmux::preload {
namespace {

FdTable& table() { return FdTable::instance(); }

template <class Real>
int duplicate(int from, Real real) {
  const int to = real();
  if (to < 0 || Inside::is() || !table().may_be_ours(from)) return to;
  const Inside inside;
  table().duplicated(from, to);
  return to;
}

template <class Real>
int replace(int from, int to, Real real) {
  if (Inside::is() || from == to) return real();
  if (table().may_be_ours(to) && VMUX_REAL(fcntl)(from, F_GETFD) >= 0) {
    const Inside inside;
    table().closing(to);
  }
  return duplicate(from, real);
}

bool is_ours(int fd) {
  if (Inside::is() || !table().may_be_ours(fd)) return false;
  const Inside inside;
  return table().find(fd) != nullptr;
}

/// -1 with this errno for a descriptor of ours (one of two), else the real call.
template <class Real>
auto refuse(int error, int fd, int other, Real real) -> decltype(real()) {
  if (!is_ours(fd) && (other < 0 || !is_ours(other))) return real();
  errno = error;
  return -1;
}

/// fcntl() of a file of ours: what Linux says of one that is no memory file.
template <class Real>
int control(int fd, int command, void* argument, Real real) {
  if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) return duplicate(fd, real);
  if (!is_ours(fd)) return real();
  const auto value = static_cast<int>(reinterpret_cast<std::intptr_t>(argument));
  const bool has_no_such = command == F_GET_SEALS || command == F_ADD_SEALS ||
                           (command == F_SETLEASE && value != F_UNLCK) ||
                           (command == F_SETFL && (value & O_DIRECT) != 0);
  if (has_no_such) return returned(-EINVAL);
  const int result = real();
  if (command != F_GETFL || result < 0) return result;
  const Inside inside;
  const auto file = table().find_file(fd);
  return file ? (result & ~O_ACCMODE) | file->access : result;
}

}  // namespace
}  // namespace vmux::preload

using namespace vmux::preload;

VMUX_HOOK int close(int fd) {
  if (!Inside::is() && table().may_be_ours(fd)) {
    const Inside inside;
    table().closing(fd);
  }
  return VMUX_REAL(close)(fd);
}
VMUX_HOOK int close_range(unsigned first, unsigned last, int flags) noexcept {
  if (!Inside::is() && World::existing() != nullptr && first <= last &&
      (static_cast<unsigned>(flags) & CLOSE_RANGE_CLOEXEC) == 0) {
    const Inside inside;
    table().closing_range(first, last);
  }
  return VMUX_REAL(close_range)(first, last, flags);
}
VMUX_HOOK void closefrom(int first) noexcept {
  if (!Inside::is() && World::existing() != nullptr) {
    const Inside inside;
    table().closing_range(static_cast<unsigned>(first < 0 ? 0 : first), ~0u);
  }
  VMUX_REAL(closefrom)(first);
}
VMUX_HOOK int dup(int fd) noexcept {
  return duplicate(fd, [&] { return VMUX_REAL(dup)(fd); });
}
VMUX_HOOK int dup2(int from, int to) noexcept {
  return replace(from, to, [&] { return VMUX_REAL(dup2)(from, to); });
}
VMUX_HOOK int dup3(int from, int to, int flags) noexcept {
  return replace(from, to, [&] { return VMUX_REAL(dup3)(from, to, flags); });
}
VMUX_HOOK int fcntl(int fd, int command, ...) {
  va_list rest;
  va_start(rest, command);
  void* argument = va_arg(rest, void*);
  va_end(rest);
  return control(fd, command, argument, [&] { return VMUX_REAL(fcntl)(fd, command, argument); });
}
VMUX_HOOK int fcntl64(int fd, int command, ...) {
  va_list rest;
  va_start(rest, command);
  void* argument = va_arg(rest, void*);
  va_end(rest);
  return control(fd, command, argument, [&] { return VMUX_REAL(fcntl64)(fd, command, argument); });
}

// vfs_fsync_range() and do_sys_ftruncate() of what has no such operation.
VMUX_HOOK int fsync(int fd) {
  return refuse(EINVAL, fd, -1, [&] { return VMUX_REAL(fsync)(fd); });
}
VMUX_HOOK int fdatasync(int fd) {
  return refuse(EINVAL, fd, -1, [&] { return VMUX_REAL(fdatasync)(fd); });
}
VMUX_HOOK int sync_file_range(int fd, off64_t from, off64_t size, unsigned flags) {
  return refuse(ESPIPE, fd, -1, [&] { return VMUX_REAL(sync_file_range)(fd, from, size, flags); });
}
VMUX_HOOK int ftruncate(int fd, off_t size) noexcept {
  return refuse(EINVAL, fd, -1, [&] { return VMUX_REAL(ftruncate)(fd, size); });
}
VMUX_HOOK int ftruncate64(int fd, off64_t size) noexcept { return ftruncate(fd, size); }
VMUX_HOOK int fallocate(int fd, int mode, off_t from, off_t size) {
  return refuse(ENODEV, fd, -1, [&] { return VMUX_REAL(fallocate)(fd, mode, from, size); });
}
VMUX_HOOK int fallocate64(int fd, int mode, off64_t from, off64_t size) { return fallocate(fd, mode, from, size); }
VMUX_HOOK int posix_fallocate(int fd, off_t from, off_t size) {
  return is_ours(fd) ? ENODEV : VMUX_REAL(posix_fallocate)(fd, from, size);
}
VMUX_HOOK int posix_fallocate64(int fd, off64_t from, off64_t size) { return posix_fallocate(fd, from, size); }
// Neither splice_read nor splice_write, and no regular file.
VMUX_HOOK ssize_t sendfile(int to, int from, off_t* offset, size_t size) noexcept {
  return refuse(EINVAL, from, to, [&] { return VMUX_REAL(sendfile)(to, from, offset, size); });
}
VMUX_HOOK ssize_t sendfile64(int to, int from, off64_t* offset, size_t size) noexcept {
  return sendfile(to, from, offset, size);
}
VMUX_HOOK ssize_t splice(int from, off64_t* from_at, int to, off64_t* to_at, size_t size, unsigned flags) {
  return refuse(EINVAL, from, to, [&] { return VMUX_REAL(splice)(from, from_at, to, to_at, size, flags); });
}
VMUX_HOOK ssize_t copy_file_range(int from, off64_t* from_at, int to, off64_t* to_at, size_t size, unsigned flags) {
  return refuse(EINVAL, from, to, [&] { return VMUX_REAL(copy_file_range)(from, from_at, to, to_at, size, flags); });
}

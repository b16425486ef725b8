// SPDX-License-Identifier: BSD-3-Clause
// What is done to descriptors themselves, and what the kernel does with a file whatever its driver. A descriptor of
// ours is a memory file to the kernel; a device is none, and has less.
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdarg>
#include <cstring>

#include "preload/hooks/hooks.hpp"
#include "preload/vfio/fd_table.hpp"

namespace vmux::preload {
namespace {

FdTable& table() { return FdTable::instance(); }

bool hides(int fd) {
  if (Inside::is() || !table().may_be_hidden(fd)) return false;
  const Inside inside;
  return table().is_hidden(fd);
}

/// `close(first, last)` for all of a range that the program has.
template <class Close>
int around_hidden(unsigned first, unsigned last, Close close) {
  for (const unsigned kept : table().hidden_between(first, last)) {
    if (kept > first && close(first, kept - 1) != 0) return -1;
    first = kept + 1;
    if (first > last) return 0;
  }
  return close(first, last);
}

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
  if (hides(to)) return returned(-EBUSY);  // a number that the program has not: nothing of ours may be lost by it
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

/// Descriptors that came by a socket: the number is new, the file is one that we know.
void adopt_from(const msghdr& message) {
  if (message.msg_controllen == 0 || World::existing() == nullptr || Inside::is()) return;
  const Inside inside;
  const int before = errno;
  for (const cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(const_cast<msghdr*>(&message), const_cast<cmsghdr*>(part))) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t at = CMSG_LEN(0); at + sizeof(int) <= part->cmsg_len; at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, reinterpret_cast<const char*>(part) + at, sizeof fd);
      (void)table().adopt(fd);
    }
  }
  errno = before;
}

}  // namespace
}  // namespace vmux::preload

using namespace vmux::preload;

VMUX_HOOK int close(int fd) {
  if (Inside::is()) table().reveal(fd);
  if (hides(fd)) return returned(-EBADF);
  if (!Inside::is() && table().may_be_ours(fd)) {
    const Inside inside;
    table().closing(fd);
  }
  return VMUX_REAL(close)(fd);
}
VMUX_HOOK int close_range(unsigned first, unsigned last, int flags) noexcept {
  const auto real = [flags](unsigned from, unsigned to) { return VMUX_REAL(close_range)(from, to, flags); };
  if (Inside::is() || World::existing() == nullptr || first > last ||
      (static_cast<unsigned>(flags) & CLOSE_RANGE_CLOEXEC) != 0) {
    return real(first, last);
  }
  const Inside inside;
  table().closing_range(first, last);
  return around_hidden(first, last, real);
}
VMUX_HOOK void closefrom(int first) noexcept {
  if (Inside::is() || World::existing() == nullptr) return VMUX_REAL(closefrom)(first);
  (void)close_range(static_cast<unsigned>(first < 0 ? 0 : first), ~0u, 0);
}

VMUX_HOOK ssize_t recvmsg(int fd, msghdr* message, int flags) {
  const ssize_t got = VMUX_REAL(recvmsg)(fd, message, flags);
  if (got >= 0) adopt_from(*message);
  return got;
}
VMUX_HOOK int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* limit) {
  const int got = VMUX_REAL(recvmmsg)(fd, messages, count, flags, limit);
  for (int i = 0; i < got; ++i)
    adopt_from(messages[i].msg_hdr);
  return got;
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

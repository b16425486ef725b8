// SPDX-License-Identifier: BSD-3-Clause
// Functions that take a descriptor. Each costs one load for descriptors that are not ours.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdarg>
#include <cstddef>
#include <span>

#include "preload/abi.hpp"
#include "preload/fd_table.hpp"
#include "preload/hooks.hpp"

namespace vmux::preload {
namespace {

FdTable& table() { return FdTable::instance(); }

/// `ours(object)` when `fd` is ours (a value or a negated errno), else `real()`.
template <class T, class Ours, class Real>
T dispatch(int fd, Ours ours, Real real) {
  if (Inside::is() || !table().may_be_ours(fd)) return real();
  long result = 0;
  {
    const Inside inside;
    const auto object = table().find(fd);
    if (object) {
      const int before = errno;
      result = ours(*object);
      errno = before;
      return returned<T>(result);
    }
  }
  return real();
}

std::span<std::byte> bytes(void* data, size_t size) { return {static_cast<std::byte*>(data), size}; }
std::span<const std::byte> bytes(const void* data, size_t size) { return {static_cast<const std::byte*>(data), size}; }

/// readv() and its like, as the kernel does them for files that have only read and write: one element after the other.
template <class Step>
long each(const iovec* parts, int count, Step step) {
  long total = 0;
  for (int i = 0; i < count; ++i) {
    const long done = step(parts[i], static_cast<std::uint64_t>(total));
    if (done < 0) return total > 0 ? total : done;
    total += done;
    if (static_cast<size_t>(done) != parts[i].iov_len) break;
  }
  return total;
}

/// KVM is told of our groups and devices, and knows none: what it would do (coherency, posted interrupts) needs nothing
/// from it here.
bool is_kvm_told_of_ours(unsigned long request, void* argument) {
  abi::KvmDeviceAttr attribute{};
  if (request != abi::kKvmSetDeviceAttr || !copy_in(attribute, argument)) return false;
  std::int32_t fd = -1;
  if (attribute.group != abi::kKvmDevVfioGroup || attribute.addr == 0) return false;
  return copy_in(fd, reinterpret_cast<const void*>(attribute.addr)) && table().find(fd) != nullptr;
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
  if (table().may_be_ours(to) && VMUX_REAL(fcntl)(from, F_GETFD) >= 0) {
    const Inside inside;
    table().closing(to);
  }
  return duplicate(from, real);
}

template <class Real>
int control(int fd, int command, Real real) {
  return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? duplicate(fd, real) : real();
}

}  // namespace
}  // namespace vmux::preload

using namespace vmux::preload;

VMUX_HOOK int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list rest;
  va_start(rest, request);
  void* argument = va_arg(rest, void*);
  va_end(rest);
  const auto real = [&] { return VMUX_REAL(ioctl)(fd, request, argument); };
  if (Inside::is()) return real();
  const bool is_vfio = _IOC_TYPE(request) == VFIO_TYPE;
  if (!is_vfio && request != abi::kKvmSetDeviceAttr && !table().may_be_ours(fd)) return real();
  {
    const Inside inside;
    const int before = errno;
    // Only descriptors of ours can be adopted, and there are none before the world is.
    const auto object = World::existing() == nullptr ? nullptr : is_vfio ? table().adopt(fd) : table().find(fd);
    if (object) {
      const long result = object->ioctl(request, argument);
      errno = before;
      return returned(result);
    }
    if (World::existing() != nullptr && is_kvm_told_of_ours(request, argument)) return 0;
    errno = before;
  }
  return real();
}

VMUX_HOOK ssize_t read(int fd, void* into, size_t size) {
  return dispatch<ssize_t>(
      fd, [&](Object& object) { return object.read(bytes(into, size)); },
      [&] { return VMUX_REAL(read)(fd, into, size); });
}
VMUX_HOOK ssize_t write(int fd, const void* from, size_t size) {
  return dispatch<ssize_t>(
      fd, [&](Object& object) { return object.write(bytes(from, size)); },
      [&] { return VMUX_REAL(write)(fd, from, size); });
}
VMUX_HOOK ssize_t pread(int fd, void* into, size_t size, off_t offset) {
  return dispatch<ssize_t>(
      fd, [&](Object& object) { return object.read_at(static_cast<std::uint64_t>(offset), bytes(into, size)); },
      [&] { return VMUX_REAL(pread)(fd, into, size, offset); });
}
VMUX_HOOK ssize_t pread64(int fd, void* into, size_t size, off64_t offset) { return pread(fd, into, size, offset); }
VMUX_HOOK ssize_t pwrite(int fd, const void* from, size_t size, off_t offset) {
  return dispatch<ssize_t>(
      fd, [&](Object& object) { return object.write_at(static_cast<std::uint64_t>(offset), bytes(from, size)); },
      [&] { return VMUX_REAL(pwrite)(fd, from, size, offset); });
}
VMUX_HOOK ssize_t pwrite64(int fd, const void* from, size_t size, off64_t offset) {
  return pwrite(fd, from, size, offset);
}
// What -D_FORTIFY_SOURCE makes of them.
VMUX_HOOK ssize_t __read_chk(int fd, void* into, size_t size, size_t) { return read(fd, into, size); }
VMUX_HOOK ssize_t __pread_chk(int fd, void* into, size_t size, off_t offset, size_t) {
  return pread(fd, into, size, offset);
}
VMUX_HOOK ssize_t __pread64_chk(int fd, void* into, size_t size, off64_t offset, size_t) {
  return pread(fd, into, size, offset);
}

VMUX_HOOK ssize_t readv(int fd, const iovec* parts, int count) {
  const auto step = [](Object& object) {
    return [&object](const iovec& part, std::uint64_t) { return object.read(bytes(part.iov_base, part.iov_len)); };
  };
  return dispatch<ssize_t>(
      fd, [&](Object& object) { return each(parts, count, step(object)); },
      [&] { return VMUX_REAL(readv)(fd, parts, count); });
}
VMUX_HOOK ssize_t writev(int fd, const iovec* parts, int count) {
  const auto step = [](Object& object) {
    return [&object](const iovec& part, std::uint64_t) {
      return object.write(bytes(static_cast<const void*>(part.iov_base), part.iov_len));
    };
  };
  return dispatch<ssize_t>(
      fd, [&](Object& object) { return each(parts, count, step(object)); },
      [&] { return VMUX_REAL(writev)(fd, parts, count); });
}
VMUX_HOOK ssize_t preadv(int fd, const iovec* parts, int count, off_t offset) {
  const auto step = [offset](Object& object) {
    return [&object, offset](const iovec& part, std::uint64_t done) {
      return object.read_at(static_cast<std::uint64_t>(offset) + done, bytes(part.iov_base, part.iov_len));
    };
  };
  return dispatch<ssize_t>(
      fd, [&](Object& object) { return each(parts, count, step(object)); },
      [&] { return VMUX_REAL(preadv)(fd, parts, count, offset); });
}
VMUX_HOOK ssize_t preadv64(int fd, const iovec* parts, int count, off64_t offset) {
  return preadv(fd, parts, count, offset);
}
VMUX_HOOK ssize_t pwritev(int fd, const iovec* parts, int count, off_t offset) {
  const auto step = [offset](Object& object) {
    return [&object, offset](const iovec& part, std::uint64_t done) {
      return object.write_at(static_cast<std::uint64_t>(offset) + done,
                             bytes(static_cast<const void*>(part.iov_base), part.iov_len));
    };
  };
  return dispatch<ssize_t>(
      fd, [&](Object& object) { return each(parts, count, step(object)); },
      [&] { return VMUX_REAL(pwritev)(fd, parts, count, offset); });
}
VMUX_HOOK ssize_t pwritev64(int fd, const iovec* parts, int count, off64_t offset) {
  return pwritev(fd, parts, count, offset);
}
// With flags: the kernel knows none for such files (do_loop_readv_writev), and takes position -1 for the file's own.
VMUX_HOOK ssize_t preadv2(int fd, const iovec* parts, int count, off_t offset, int flags) {
  if (Inside::is() || !table().may_be_ours(fd)) return VMUX_REAL(preadv2)(fd, parts, count, offset, flags);
  if (flags != 0) return returned<ssize_t>(-EOPNOTSUPP);
  return offset == -1 ? readv(fd, parts, count) : preadv(fd, parts, count, offset);
}
VMUX_HOOK ssize_t preadv64v2(int fd, const iovec* parts, int count, off64_t offset, int flags) {
  return preadv2(fd, parts, count, offset, flags);
}
VMUX_HOOK ssize_t pwritev2(int fd, const iovec* parts, int count, off_t offset, int flags) {
  if (Inside::is() || !table().may_be_ours(fd)) return VMUX_REAL(pwritev2)(fd, parts, count, offset, flags);
  if (flags != 0) return returned<ssize_t>(-EOPNOTSUPP);
  return offset == -1 ? writev(fd, parts, count) : pwritev(fd, parts, count, offset);
}
VMUX_HOOK ssize_t pwritev64v2(int fd, const iovec* parts, int count, off64_t offset, int flags) {
  return pwritev2(fd, parts, count, offset, flags);
}
// VFIO's files cannot be sought in.
VMUX_HOOK off_t lseek(int fd, off_t offset, int whence) noexcept {
  return dispatch<off_t>(
      fd, [](Object&) { return long{-ESPIPE}; }, [&] { return VMUX_REAL(lseek)(fd, offset, whence); });
}
VMUX_HOOK off64_t lseek64(int fd, off64_t offset, int whence) noexcept { return lseek(fd, offset, whence); }

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
  return control(fd, command, [&] { return VMUX_REAL(fcntl)(fd, command, argument); });
}
VMUX_HOOK int fcntl64(int fd, int command, ...) {
  va_list rest;
  va_start(rest, command);
  void* argument = va_arg(rest, void*);
  va_end(rest);
  return control(fd, command, [&] { return VMUX_REAL(fcntl64)(fd, command, argument); });
}

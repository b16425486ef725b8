// SPDX-License-Identifier: BSD-3-Clause
// Data and ioctls by descriptor. Each costs one load for descriptors that are not ours.
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstddef>
#include <span>
#include <vector>

#include "preload/hooks/hooks.hpp"
#include "preload/vfio/abi.hpp"
#include "preload/vfio/fd_table.hpp"

namespace vmux::preload {
namespace {

FdTable& table() { return FdTable::instance(); }

/// `ours(object)` when `fd` is ours (a value or a negated errno), else `real()`. EBADF when it was not opened so that
/// one may do that, `O_RDONLY` for reading and `O_WRONLY` for writing.
template <class T, class Ours, class Real>
T dispatch(int fd, int needs, Ours ours, Real real) {
  if (Inside::is() || !table().may_be_ours(fd)) return real();
  long result = 0;
  {
    const Inside inside;
    const auto file = table().find_file(fd);
    if (file) {
      const int before = errno;
      result = file->access == O_RDWR || file->access == needs ? ours(*file->object) : -EBADF;
      errno = before;
      return returned<T>(result);
    }
  }
  return real();
}

bool is_ours(int fd) {
  const Inside inside;
  return table().find(fd) != nullptr;
}

/// `piece(bytes, done)` for one part of a transfer after the other, each in a buffer of ours.
template <class Piece>
long in_pieces(std::size_t size, Piece piece) {
  constexpr std::size_t kMost = std::size_t{1} << 20;
  std::array<std::byte, 64> small;
  std::vector<std::byte> large(size > small.size() ? std::min(size, kMost) : 0);
  const std::span<std::byte> stage = large.empty() ? std::span<std::byte>{small} : std::span<std::byte>{large};
  std::size_t done = 0;
  do {
    const std::size_t part = std::min(size - done, stage.size());
    const long moved = piece(stage.first(part), done);
    if (moved < 0) return done > 0 ? static_cast<long>(done) : moved;
    done += static_cast<std::size_t>(moved);
    if (static_cast<std::size_t>(moved) != part) break;
  } while (done < size);
  return static_cast<long>(done);
}

/// The program's buffer, by way of one of ours: an address that is not the program's is EFAULT, and no crash in here.
/// `step(bytes, done)` moves the next bytes; what is moved short ends it.
template <class Step>
long into_program(void* to, std::size_t size, Step step) {
  return in_pieces(size, [&](std::span<std::byte> stage, std::size_t done) -> long {
    const long moved = step(stage, done);
    if (moved <= 0) return moved;
    return copy_out(static_cast<std::byte*>(to) + done, stage.data(), static_cast<std::size_t>(moved)) ? moved
                                                                                                       : -EFAULT;
  });
}
template <class Step>
long from_program(const void* from, std::size_t size, Step step) {
  return in_pieces(size, [&](std::span<std::byte> stage, std::size_t done) -> long {
    if (!copy_in(stage.data(), static_cast<const std::byte*>(from) + done, stage.size())) return -EFAULT;
    return step(std::span<const std::byte>{stage}, done);
  });
}

/// readv() and its like, as the kernel does them for files that have only read and write: one element after the other.
template <class Step>
long each(const iovec* parts, int count, Step step) {
  long total = 0;
  for (int i = 0; i < count; ++i) {
    iovec part{};
    const long done = copy_in(part, parts + i) ? step(part, static_cast<std::uint64_t>(total)) : -EFAULT;
    if (done < 0) return total > 0 ? total : done;
    total += done;
    if (static_cast<size_t>(done) != part.iov_len) break;
  }
  return total;
}

/// ioctls that the kernel answers before a driver sees them (fs/ioctl.c): as for any file, with an error, or not.
enum class KernelAnswer { none, as_for_any_file, not_regular, no_size };
constexpr int error_of(KernelAnswer answer) { return answer == KernelAnswer::no_size ? ENOTTY : EINVAL; }
KernelAnswer kernel_answer(unsigned long request) {
  switch (request) {
    case FIOCLEX:
    case FIONCLEX:
    case FIONBIO:
    case FIOASYNC:
    case FIGETBSZ:
    case FIFREEZE:
    case FITHAW:
    case FS_IOC_FIEMAP:
      return KernelAnswer::as_for_any_file;
    case FICLONE:
    case FICLONERANGE:
    case FIDEDUPERANGE:
      return KernelAnswer::not_regular;
    case FIOQSIZE:
      return KernelAnswer::no_size;
    default:
      return KernelAnswer::none;
  }
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

}  // namespace
}  // namespace vmux::preload

using namespace vmux::preload;

namespace vmux::preload {
namespace {

long read_from(Object& object, void* into, std::size_t size) {
  return into_program(into, size, [&](std::span<std::byte> stage, std::size_t) { return object.read(stage); });
}
long write_to(Object& object, const void* from, std::size_t size) {
  return from_program(from, size, [&](std::span<const std::byte> stage, std::size_t) { return object.write(stage); });
}
long read_at(Object& object, void* into, std::size_t size, std::uint64_t offset) {
  return into_program(
      into, size, [&](std::span<std::byte> stage, std::size_t done) { return object.read_at(offset + done, stage); });
}
long write_at(Object& object, const void* from, std::size_t size, std::uint64_t offset) {
  return from_program(from, size, [&](std::span<const std::byte> stage, std::size_t done) {
    return object.write_at(offset + done, stage);
  });
}

}  // namespace
}  // namespace vmux::preload

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
      const KernelAnswer kernel = kernel_answer(request);
      if (kernel == KernelAnswer::as_for_any_file) return real();
      const long result = kernel == KernelAnswer::none ? object->ioctl(request, argument) : -error_of(kernel);
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
      fd, O_RDONLY, [&](Object& object) { return read_from(object, into, size); },
      [&] { return VMUX_REAL(read)(fd, into, size); });
}
VMUX_HOOK ssize_t write(int fd, const void* from, size_t size) {
  return dispatch<ssize_t>(
      fd, O_WRONLY, [&](Object& object) { return write_to(object, from, size); },
      [&] { return VMUX_REAL(write)(fd, from, size); });
}
VMUX_HOOK ssize_t pread(int fd, void* into, size_t size, off_t offset) {
  return dispatch<ssize_t>(
      fd, O_RDONLY, [&](Object& object) { return read_at(object, into, size, static_cast<std::uint64_t>(offset)); },
      [&] { return VMUX_REAL(pread)(fd, into, size, offset); });
}
VMUX_HOOK ssize_t pread64(int fd, void* into, size_t size, off64_t offset) { return pread(fd, into, size, offset); }
VMUX_HOOK ssize_t pwrite(int fd, const void* from, size_t size, off_t offset) {
  return dispatch<ssize_t>(
      fd, O_WRONLY, [&](Object& object) { return write_at(object, from, size, static_cast<std::uint64_t>(offset)); },
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
    return [&object](const iovec& part, std::uint64_t) { return read_from(object, part.iov_base, part.iov_len); };
  };
  return dispatch<ssize_t>(
      fd, O_RDONLY, [&](Object& object) { return each(parts, count, step(object)); },
      [&] { return VMUX_REAL(readv)(fd, parts, count); });
}
VMUX_HOOK ssize_t writev(int fd, const iovec* parts, int count) {
  const auto step = [](Object& object) {
    return [&object](const iovec& part, std::uint64_t) { return write_to(object, part.iov_base, part.iov_len); };
  };
  return dispatch<ssize_t>(
      fd, O_WRONLY, [&](Object& object) { return each(parts, count, step(object)); },
      [&] { return VMUX_REAL(writev)(fd, parts, count); });
}
VMUX_HOOK ssize_t preadv(int fd, const iovec* parts, int count, off_t offset) {
  const auto step = [offset](Object& object) {
    return [&object, offset](const iovec& part, std::uint64_t done) {
      return read_at(object, part.iov_base, part.iov_len, static_cast<std::uint64_t>(offset) + done);
    };
  };
  return dispatch<ssize_t>(
      fd, O_RDONLY, [&](Object& object) { return each(parts, count, step(object)); },
      [&] { return VMUX_REAL(preadv)(fd, parts, count, offset); });
}
VMUX_HOOK ssize_t preadv64(int fd, const iovec* parts, int count, off64_t offset) {
  return preadv(fd, parts, count, offset);
}
VMUX_HOOK ssize_t pwritev(int fd, const iovec* parts, int count, off_t offset) {
  const auto step = [offset](Object& object) {
    return [&object, offset](const iovec& part, std::uint64_t done) {
      return write_at(object, part.iov_base, part.iov_len, static_cast<std::uint64_t>(offset) + done);
    };
  };
  return dispatch<ssize_t>(
      fd, O_WRONLY, [&](Object& object) { return each(parts, count, step(object)); },
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
  if (Inside::is() || !table().may_be_ours(fd) || !is_ours(fd)) return VMUX_REAL(lseek)(fd, offset, whence);
  return returned<off_t>(-ESPIPE);
}
VMUX_HOOK off64_t lseek64(int fd, off64_t offset, int whence) noexcept { return lseek(fd, offset, whence); }

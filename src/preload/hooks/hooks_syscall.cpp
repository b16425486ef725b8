// SPDX-License-Identifier: BSD-3-Clause
// syscall(): programs that make system calls by number meet the same stand-ins as those that call functions.
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#include <array>
#include <cstdarg>

#include "preload/hooks/hooks.hpp"
#include "preload/process/proc_files.hpp"
#include "preload/vfio/object.hpp"

namespace vmux::preload {
namespace {

using Arguments = std::array<long, 6>;

int number(long argument) { return static_cast<int>(argument); }
size_t length(long argument) { return static_cast<size_t>(argument); }
template <class T = void>
T* pointer(long argument) {
  return reinterpret_cast<T*>(argument);
}
const char* path(long argument) { return pointer<const char>(argument); }

long pass(long call, const Arguments& a) noexcept { return real_syscall()(call, a[0], a[1], a[2], a[3], a[4], a[5]); }

/// A function that the C library does not have.
long openat2(const Arguments& a) {
  const Target target{path(a[1]), number(a[0])};
  open_how how{};
  if (!target.is_ours()) return pass(SYS_openat2, a);
  if (length(a[3]) < sizeof how) return returned<long>(-EINVAL);
  if (!copy_in(how, pointer(a[2]))) return returned<long>(-EFAULT);
  // Where the root is another one, or may not be left, the path does not lead to us.
  if ((how.resolve & (RESOLVE_IN_ROOT | RESOLVE_BENEATH)) != 0) return pass(SYS_openat2, a);
  if (target.node()) return openat(number(a[0]), path(a[1]), number(static_cast<long>(how.flags)), how.mode);
  Arguments redirected = a;
  redirected[1] = reinterpret_cast<long>(target.path());
  return pass(SYS_openat2, redirected);
}

std::optional<long> with_path(long call, const Arguments& a) {
  switch (call) {
#ifdef SYS_open  // architectures older than the calls that begin at a directory
    case SYS_open:
      return open(path(a[0]), number(a[1]), static_cast<mode_t>(a[2]));
    case SYS_stat:
      return stat(path(a[0]), pointer<struct stat>(a[1]));
    case SYS_lstat:
      return lstat(path(a[0]), pointer<struct stat>(a[1]));
    case SYS_access:
      return access(path(a[0]), number(a[1]));
    case SYS_readlink:
      return readlink(path(a[0]), pointer<char>(a[1]), length(a[2]));
#endif
    case SYS_openat:
      return openat(number(a[0]), path(a[1]), number(a[2]), static_cast<mode_t>(a[3]));
    case SYS_openat2:
      return openat2(a);
    case SYS_newfstatat:
      return fstatat(number(a[0]), path(a[1]), pointer<struct stat>(a[2]), number(a[3]));
    case SYS_statx:
      return statx(number(a[0]), path(a[1]), number(a[2]), static_cast<unsigned>(a[3]), pointer<struct statx>(a[4]));
    case SYS_faccessat:
      return faccessat(number(a[0]), path(a[1]), number(a[2]), 0);
    case SYS_faccessat2:
      return faccessat(number(a[0]), path(a[1]), number(a[2]), number(a[3]));
    case SYS_readlinkat:
      return readlinkat(number(a[0]), path(a[1]), pointer<char>(a[2]), length(a[3]));
    case SYS_chroot:
      return chroot(path(a[0]));
    case SYS_pivot_root:
      keep_proc();
      return std::nullopt;
    case SYS_chdir:
      return chdir(path(a[0]));
    case SYS_getxattr:
      return getxattr(path(a[0]), path(a[1]), pointer(a[2]), length(a[3]));
    case SYS_lgetxattr:
      return lgetxattr(path(a[0]), path(a[1]), pointer(a[2]), length(a[3]));
    default:
      return std::nullopt;
  }
}

std::optional<long> with_data(long call, const Arguments& a) {
  switch (call) {
    case SYS_ioctl:
      return ioctl(number(a[0]), static_cast<unsigned long>(a[1]), pointer(a[2]));
    case SYS_read:
      return read(number(a[0]), pointer(a[1]), length(a[2]));
    case SYS_write:
      return write(number(a[0]), pointer(a[1]), length(a[2]));
    case SYS_pread64:
      return pread(number(a[0]), pointer(a[1]), length(a[2]), a[3]);
    case SYS_pwrite64:
      return pwrite(number(a[0]), pointer(a[1]), length(a[2]), a[3]);
    case SYS_readv:
      return readv(number(a[0]), pointer<iovec>(a[1]), number(a[2]));
    case SYS_writev:
      return writev(number(a[0]), pointer<iovec>(a[1]), number(a[2]));
    case SYS_preadv:
      return preadv(number(a[0]), pointer<iovec>(a[1]), number(a[2]), a[3]);
    case SYS_pwritev:
      return pwritev(number(a[0]), pointer<iovec>(a[1]), number(a[2]), a[3]);
    case SYS_preadv2:
      return preadv2(number(a[0]), pointer<iovec>(a[1]), number(a[2]), a[3], number(a[5]));
    case SYS_pwritev2:
      return pwritev2(number(a[0]), pointer<iovec>(a[1]), number(a[2]), a[3], number(a[5]));
    case SYS_lseek:
      return lseek(number(a[0]), a[1], number(a[2]));
    default:
      return std::nullopt;
  }
}

std::optional<long> with_address(long call, const Arguments& a) {
  switch (call) {
    case SYS_mmap:
      return reinterpret_cast<long>(mmap(pointer(a[0]), length(a[1]), number(a[2]), number(a[3]), number(a[4]), a[5]));
    case SYS_munmap:
      return munmap(pointer(a[0]), length(a[1]));
    case SYS_mprotect:
      return mprotect(pointer(a[0]), length(a[1]), number(a[2]));
    case SYS_pkey_mprotect:
      return pkey_mprotect(pointer(a[0]), length(a[1]), number(a[2]), number(a[3]));
    case SYS_mremap:
      return reinterpret_cast<long>(mremap(pointer(a[0]), length(a[1]), length(a[2]), number(a[3]), pointer(a[4])));
    case SYS_madvise:
      return madvise(pointer(a[0]), length(a[1]), number(a[2]));
    case SYS_msync:
      return msync(pointer(a[0]), length(a[1]), number(a[2]));
    case SYS_mlock:
      return mlock(pointer(a[0]), length(a[1]));
    case SYS_mlock2:
      return mlock2(pointer(a[0]), length(a[1]), static_cast<unsigned>(a[2]));
    case SYS_munlock:
      return munlock(pointer(a[0]), length(a[1]));
    case SYS_remap_file_pages:
      return remap_file_pages(pointer(a[0]), length(a[1]), number(a[2]), length(a[3]), number(a[4]));
    default:
      return std::nullopt;
  }
}

std::optional<long> with_descriptor(long call, const Arguments& a) {
  switch (call) {
#ifdef SYS_dup2
    case SYS_dup2:
      return dup2(number(a[0]), number(a[1]));
#endif
    case SYS_dup:
      return dup(number(a[0]));
    case SYS_dup3:
      return dup3(number(a[0]), number(a[1]), number(a[2]));
    case SYS_fcntl:
      return fcntl(number(a[0]), number(a[1]), pointer(a[2]));
    case SYS_fsync:
      return fsync(number(a[0]));
    case SYS_fdatasync:
      return fdatasync(number(a[0]));
    case SYS_sync_file_range:
      return sync_file_range(number(a[0]), a[1], a[2], static_cast<unsigned>(a[3]));
    case SYS_ftruncate:
      return ftruncate(number(a[0]), a[1]);
    case SYS_fallocate:
      return fallocate(number(a[0]), number(a[1]), a[2], a[3]);
    case SYS_sendfile:
      return sendfile(number(a[0]), number(a[1]), pointer<off_t>(a[2]), length(a[3]));
    case SYS_splice:
      return splice(number(a[0]), pointer<off64_t>(a[1]), number(a[2]), pointer<off64_t>(a[3]), length(a[4]),
                    static_cast<unsigned>(a[5]));
    case SYS_copy_file_range:
      return copy_file_range(number(a[0]), pointer<off64_t>(a[1]), number(a[2]), pointer<off64_t>(a[3]), length(a[4]),
                             static_cast<unsigned>(a[5]));
    case SYS_recvmsg:
      return recvmsg(number(a[0]), pointer<msghdr>(a[1]), number(a[2]));
    case SYS_fstat:
      return fstat(number(a[0]), pointer<struct stat>(a[1]));
    case SYS_close:
      return close(number(a[0]));
    case SYS_close_range:
      return close_range(static_cast<unsigned>(a[0]), static_cast<unsigned>(a[1]), number(a[2]));
    default:
      return std::nullopt;
  }
}

}  // namespace
}  // namespace vmux::preload

using namespace vmux::preload;

// Signals set by number pass by, as do calls that a program makes without the C library.
VMUX_HOOK long syscall(long call, ...) noexcept {
  Arguments arguments{};
  va_list rest;
  va_start(rest, call);
  for (long& one : arguments)
    one = va_arg(rest, long);
  va_end(rest);
  if (!Inside::is() && !settings().devices.empty()) {
    if (const auto result = with_path(call, arguments)) return *result;
    if (const auto result = with_data(call, arguments)) return *result;
    if (const auto result = with_address(call, arguments)) return *result;
    if (const auto result = with_descriptor(call, arguments)) return *result;
  }
  return pass(call, arguments);
}

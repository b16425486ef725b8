// SPDX-License-Identifier: BSD-3-Clause
#include "preload/vfio/object.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace vmux::preload {
namespace {

/// The kernel checks the addresses for us: a bad one is EFAULT here as it is there, not a crash of the program.
bool copy(void* to, const void* from, std::size_t size, bool is_in) noexcept {
  if (size == 0) return true;
  void* mine = is_in ? to : const_cast<void*>(from);
  void* theirs = is_in ? const_cast<void*>(from) : to;
  const iovec local{mine, size}, remote{theirs, size};
  const int before = errno;
  const ssize_t done = is_in ? process_vm_readv(getpid(), &local, 1, &remote, 1, 0)
                             : process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
  const bool is_unavailable = done < 0 && errno != EFAULT;
  errno = before;
  if (!is_unavailable) return done == static_cast<ssize_t>(size);
  std::memcpy(to, from, size);  // forbidden here (a sandbox): trust the program
  return true;
}

}  // namespace

long Object::ioctl(unsigned long, void*) { return -ENOTTY; }
long Object::read_at(std::uint64_t, std::span<std::byte>) { return -EINVAL; }
long Object::write_at(std::uint64_t, std::span<const std::byte>) { return -EINVAL; }
long Object::mmap(void*, std::size_t, int, int, std::uint64_t) { return -ENODEV; }

long Object::read(std::span<std::byte> into) {
  const std::lock_guard lock{position_mutex_};
  const long done = read_at(position_, into);
  if (done > 0) position_ += static_cast<std::uint64_t>(done);
  return done;
}

long Object::write(std::span<const std::byte> from) {
  const std::lock_guard lock{position_mutex_};
  const long done = write_at(position_, from);
  if (done > 0) position_ += static_cast<std::uint64_t>(done);
  return done;
}

bool copy_in(void* into, const void* from, std::size_t size) noexcept { return copy(into, from, size, true); }
bool copy_out(void* to, const void* from, std::size_t size) noexcept { return copy(to, from, size, false); }

std::recursive_mutex& state_mutex() noexcept {
  static std::recursive_mutex instance;
  return instance;
}

}  // namespace vmux::preload

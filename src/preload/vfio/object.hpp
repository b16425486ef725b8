// SPDX-License-Identifier: BSD-3-Clause
// What an open file of ours can do, and the copies between it and the program. Results are as a system call inside the
// kernel gives them: a value, or a negated errno.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <utility>

#include "vmux/base/unique_fd.hpp"

namespace vmux::preload {

/// Behind one open() of the program, shared by its duplicates. Destroyed with the last of them. Any thread; each class
/// says what it locks.
class Object {
 public:
  Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;

  [[nodiscard]] virtual const char* kind() const noexcept = 0;
  virtual long ioctl(unsigned long request, void* argument);
  virtual long read_at(std::uint64_t offset, std::span<std::byte> into);
  virtual long write_at(std::uint64_t offset, std::span<const std::byte> from);
  /// read() and write(): like the above at a position of the file, unless it is a stream.
  virtual long read(std::span<std::byte> into);
  virtual long write(std::span<const std::byte> from);
  /// Returns the address, or a negated errno.
  virtual long mmap(void* hint, std::size_t length, int protection, int flags, std::uint64_t offset);
  /// Device number that fstat() shows; 0 for one without.
  [[nodiscard]] virtual dev_t device_number() const noexcept { return 0; }
  /// What says to other processes that it is open; goes with it.
  void keep(UniqueFd claim) noexcept { claim_ = std::move(claim); }

 private:
  UniqueFd claim_;
  std::mutex position_mutex_;
  std::uint64_t position_ = 0;
};

/// Copies from and to the program at addresses that it named: false where the kernel says EFAULT.
[[nodiscard]] bool copy_in(void* into, const void* from, std::size_t size) noexcept;
[[nodiscard]] bool copy_out(void* to, const void* from, std::size_t size) noexcept;

template <class T>
[[nodiscard]] bool copy_in(T& into, const void* from) noexcept {
  return copy_in(&into, from, sizeof into);
}
template <class T>
[[nodiscard]] bool copy_out(void* to, const T& from) noexcept {
  return copy_out(to, &from, sizeof from);
}

/// Guards containers, groups, iommufds and their maps: they refer to each other and change rarely. Taken before a
/// device's own lock. Recursive, because the end of a device takes it wherever the last reference goes.
[[nodiscard]] std::recursive_mutex& state_mutex() noexcept;

}  // namespace vmux::preload

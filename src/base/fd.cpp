// SPDX-License-Identifier: BSD-3-Clause
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmux/base/mapping.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux {

void UniqueFd::reset(int fd) noexcept {
  // close() is not retried on EINTR: on Linux the descriptor is gone either way.
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

Result<UniqueFd> UniqueFd::duplicate() const noexcept {
  UniqueFd copy{::fcntl(fd_, F_DUPFD_CLOEXEC, 0)};
  if (!copy) return fail_errno("cannot duplicate a file descriptor");
  return copy;
}

Result<UniqueFd> make_eventfd() noexcept {
  UniqueFd fd{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  if (!fd) return fail_errno("cannot create an eventfd");
  return fd;
}

void signal_eventfd(int fd) noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(fd, &one, sizeof one);
}

std::uint64_t drain_eventfd(int fd) noexcept {
  std::uint64_t count = 0;
  if (::read(fd, &count, sizeof count) != sizeof count) return 0;
  return count;
}

Result<UniqueFd> make_memfd(const char* name, std::uint64_t size) noexcept {
  UniqueFd fd{::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (!fd) return fail_errno("cannot create a memfd");
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) return fail_errno("cannot size a memfd");
  // The peer gets this descriptor: it must not be able to pull pages away from under us.
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return fail_errno("cannot seal a memfd");
  }
  return fd;
}

void keep_out_of_dumps(std::span<std::byte> bytes) noexcept {
  constexpr std::uintptr_t kPage = 4096;
  const auto begin = (reinterpret_cast<std::uintptr_t>(bytes.data()) + kPage - 1) & ~(kPage - 1);
  const auto end = (reinterpret_cast<std::uintptr_t>(bytes.data()) + bytes.size()) & ~(kPage - 1);
  // Advice only: a refusal changes nothing.
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTDUMP);
}

Result<Mapping> Mapping::create(int fd, std::uint64_t offset, std::uint64_t size, bool writable) noexcept {
  const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void* at = ::mmap(nullptr, size, protection, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (at == MAP_FAILED) return fail_errno("cannot map memory");
  Mapping mapping;
  mapping.data_ = static_cast<std::byte*>(at);
  mapping.size_ = size;
  ::madvise(at, size, MADV_DONTDUMP);  // advice only
  return mapping;
}

Result<void> Mapping::replace(int fd, std::uint64_t offset) noexcept {
  void* at = ::mmap(data_, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, static_cast<off_t>(offset));
  if (at == MAP_FAILED) return fail_errno("cannot map memory");
  ::madvise(data_, size_, MADV_DONTDUMP);
  return {};
}

void Mapping::reset() noexcept {
  if (data_ != nullptr) ::munmap(data_, size_);
  data_ = nullptr;
  size_ = 0;
}

}  // namespace vmux

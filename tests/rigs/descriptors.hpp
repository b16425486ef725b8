// SPDX-License-Identifier: BSD-3-Clause
// Descriptors to send, and how many this process has.
#pragma once

#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

#include "vmux/base/unique_fd.hpp"

namespace vmux::rigs {

/// The look itself has some open: two looks are to be compared.
[[nodiscard]] inline std::size_t open_fds() {
  DIR* const directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) return 0;
  std::size_t count = 0;
  while (::readdir(directory) != nullptr)
    ++count;
  ::closedir(directory);
  return count;
}

[[nodiscard]] inline UniqueFd new_memfd(std::uint64_t size) {
  UniqueFd fd{::memfd_create("guest", MFD_CLOEXEC)};
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
  return fd;
}

[[nodiscard]] inline UniqueFd new_eventfd() { return UniqueFd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)}; }

}  // namespace vmux::rigs

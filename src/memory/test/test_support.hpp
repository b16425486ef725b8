// SPDX-License-Identifier: BSD-3-Clause
// What the tests of this room share: files that play a guest's memory.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <vector>

#include "vmux/memory/address_space.hpp"

namespace vmux::memory::test {

inline constexpr std::uint64_t kPage = 4096;

/// A memfd that its owner may shrink and grow, as a hostile or clumsy client would.
class File {
 public:
  explicit File(std::uint64_t size) : fd_(::memfd_create("guest", MFD_CLOEXEC)) { resize(size); }
  void resize(std::uint64_t size) { EXPECT_EQ(::ftruncate(fd_.get(), static_cast<off_t>(size)), 0); }
  void put(std::uint64_t at, std::uint8_t value) {
    EXPECT_EQ(::pwrite(fd_.get(), &value, 1, static_cast<off_t>(at)), 1);
  }
  [[nodiscard]] std::uint8_t get(std::uint64_t at) const {
    std::uint8_t value = 0xee;
    EXPECT_EQ(::pread(fd_.get(), &value, 1, static_cast<off_t>(at)), 1);
    return value;
  }
  [[nodiscard]] UniqueFd fd() const {
    auto copy = fd_.duplicate();
    EXPECT_TRUE(copy.has_value());
    return std::move(*copy);
  }
  /// The same file, opened for reading only.
  [[nodiscard]] UniqueFd read_only_fd() const {
    return UniqueFd{::open(("/proc/self/fd/" + std::to_string(fd_.get())).c_str(), O_RDONLY | O_CLOEXEC)};
  }

 private:
  UniqueFd fd_;
};

inline MapRequest range(std::uint64_t start, std::uint64_t size, UniqueFd fd, std::uint64_t offset = 0,
                        Access access = Access::read_write) {
  return {Iova{start}, ByteCount{size}, access, std::move(fd), offset};
}

template <class T>
Errc code_of(const Result<T>& result) {
  return result ? Errc::system : result.error().code;
}

/// How often this process maps files named "guest".
inline std::size_t mappings_of_guest_files() {
  std::size_t count = 0;
  FILE* maps = std::fopen("/proc/self/maps", "re");
  char line[512];
  while (std::fgets(line, sizeof line, maps) != nullptr)
    count += std::string_view{line}.find("memfd:guest") != std::string_view::npos;
  std::fclose(maps);
  return count;
}

}  // namespace vmux::memory::test

// SPDX-License-Identifier: BSD-3-Clause
// Memory mapped from a descriptor, with one owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "vmux/base/result.hpp"

namespace vmux {

/// The whole pages of these bytes are in no core dump of this process: what guests send is nobody else's, and a dump of
/// gigabytes delays whoever waits for the end of the process.
void keep_out_of_dumps(std::span<std::byte> bytes) noexcept;

/// Owns a shared mmap of a descriptor and unmaps it; what it maps is in no core dump. Move-only.
class Mapping {
 public:
  Mapping() noexcept = default;
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    if (this != &other) {
      reset();
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { reset(); }

  /// Maps [offset, offset + size) of `fd` MAP_SHARED. `offset` must be page aligned. The fd may be closed afterwards.
  [[nodiscard]] static Result<Mapping> create(int fd, std::uint64_t offset, std::uint64_t size, bool writable) noexcept;

  /// Maps the same range of another descriptor in its place, at the same address. On an error nothing has changed.
  [[nodiscard]] Result<void> replace(int fd, std::uint64_t offset) noexcept;

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {data_, size_}; }
  void reset() noexcept;

 private:
  std::byte* data_ = nullptr;
  std::uint64_t size_ = 0;
};

}  // namespace vmux

// SPDX-License-Identifier: BSD-3-Clause
// Memory that outlives its process, for what changes with every burst: ring heads, what is fetched and not reported,
// interrupts to be told. Plain values at fixed places, which their users refer to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "vmux/base/mapping.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::state {

/// A sealed memfd that no client is given. What lies in it was written by the process before, which may have died at
/// any instruction: whoever takes it over checks every value against its table before use.
class Arena {
 public:
  static constexpr std::size_t kMaxBlocks = 256;

  /// For `size` bytes of values, at least.
  [[nodiscard]] static Result<Arena> create(std::size_t size);

  /// A value of its own, all zero; made in the same order by every object of a description. `tag` says what it is.
  /// There must be room: create() was told of it.
  template <class T>
  [[nodiscard]] T& place(std::uint32_t tag) noexcept {
    static_assert(std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T>, "no pointer, no constructor");
    return *static_cast<T*>(place(tag, sizeof(T)));
  }

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// Another object's values from here on, at the same addresses. Refused, with a sentence for people, unless it has
  /// the same values in the same order; nothing has changed then.
  [[nodiscard]] tl::expected<void, std::string> take_over(UniqueFd fd);

 private:
  Arena(UniqueFd fd, Mapping memory) noexcept : fd_(std::move(fd)), memory_(std::move(memory)) {}
  [[nodiscard]] void* place(std::uint32_t tag, std::size_t size) noexcept;

  UniqueFd fd_;
  Mapping memory_;
};

}  // namespace vmux::state

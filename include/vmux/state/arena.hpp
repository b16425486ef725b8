// SPDX-License-Identifier: BSD-3-Clause
// Memory that outlives its process, for what changes with every burst: ring heads, what is fetched and not reported,
// interrupts to be told. Plain values at fixed places, which their users refer to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "vmux/base/mapping.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/state/undo_log.hpp"

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

  /// A value as by place(), and the log of what requests change in it. Tags have their two highest bits clear.
  template <class T>
  [[nodiscard]] std::pair<T&, UndoLog> place_undoable(std::uint32_t tag) noexcept {
    T& value = place<T>(tag);
    auto& words = *new (&place<UndoWords>(tag | kUndoTag)) UndoWords{};
    auto* const whole = static_cast<std::byte*>(place(tag | kWholeTag, sizeof(T)));
    return {value, UndoLog{words, std::as_writable_bytes(std::span{&value, 1}), {whole, sizeof(T)}}};
  }
  /// In an arena that another process has left: all values are as they were before the requests of `round`, if those
  /// were under way. The same when it is done again. The error, for people, is of one that cannot be.
  [[nodiscard]] static tl::expected<void, std::string> undo(int fd, std::uint64_t round);

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// Another object's values from here on, at the same addresses. Refused, with a sentence for people, unless it has
  /// the same values in the same order; nothing has changed then.
  [[nodiscard]] tl::expected<void, std::string> take_over(UniqueFd fd);

 private:
  Arena(UniqueFd fd, Mapping memory) noexcept : fd_(std::move(fd)), memory_(std::move(memory)) {}
  [[nodiscard]] void* place(std::uint32_t tag, std::size_t size) noexcept;
  static constexpr std::uint32_t kUndoTag = 1u << 30, kWholeTag = 1u << 31;

  UniqueFd fd_;
  Mapping memory_;
};

}  // namespace vmux::state

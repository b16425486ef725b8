// SPDX-License-Identifier: BSD-3-Clause
// What words of an arena held before requests changed them that do not count yet: a register that clears itself when it
// is read, or an edge, must not be seen twice when a process dies between a request and its reply.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace vmux::state {

/// In an arena, beside what it speaks of. One thread; words that others write as well are not for it.
struct UndoWords {
  static constexpr std::uint32_t kMost = 512;
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};

  struct Entry {
    std::uint32_t offset, before;  ///< of a word, from the start of what is undone
  };
  std::uint64_t round = kNone;  ///< of the requests that have changed the words
  std::uint32_t count = 0;
  std::uint32_t is_whole = 0;  ///< all of it was kept: there was no room for words
  Entry entries[kMost] = {};
};

/// Keeps the words of `object` (a block of the arena), into `words` and, when they are too many, into `whole`, a block
/// as large as the object. Costs a test of a flag while no request is served.
class UndoLog {
 public:
  UndoLog(UndoWords& words, std::span<std::byte> object, std::span<std::byte> whole) noexcept
      : words_(words), object_(object), whole_(whole) {}

  /// Requests of round `round` begin, unless they have.
  void begin(std::uint64_t round) noexcept {
    is_active_ = true;
    if (words_.round == round) return;
    words_.round = UndoWords::kNone;
    keep_order();
    words_.count = words_.is_whole = 0;
    keep_order();
    words_.round = round;
  }
  void end() noexcept { is_active_ = false; }

  /// `word` of the object is about to change.
  template <class T>
  void note(const T& word) noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    if (!is_active_) return;
    note_bytes(reinterpret_cast<const std::byte*>(&word), sizeof word);
  }
  /// Any of it may change.
  void note_all() noexcept;

  /// Of an object that another process has left: what it held before `round`, if that is what was under way. The same
  /// when it is done twice. False: what lies there cannot be.
  [[nodiscard]] bool undo(std::uint64_t round) noexcept;

 private:
  static void keep_order() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }
  void note_bytes(const std::byte* at, std::size_t size) noexcept;

  UndoWords& words_;
  std::span<std::byte> object_, whole_;
  bool is_active_ = false;
};

}  // namespace vmux::state

// SPDX-License-Identifier: BSD-3-Clause
// How a device reads and writes a guest's memory: by copy for what decides something, by borrowed span for payload.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>

#include "vmux/base/strong.hpp"

namespace vmux::memory {

/// What a device may do with a range of guest memory (the device's view: a receive buffer is writable).
enum class Access : std::uint8_t { none = 0, read = 1, write = 2, read_write = 3 };

[[nodiscard]] constexpr bool allows(Access have, Access want) noexcept {
  return (static_cast<unsigned>(have) & static_cast<unsigned>(want)) == static_cast<unsigned>(want);
}

/// One contiguous, directly accessible stretch of guest memory.
struct Window {
  std::uint64_t start = 0;    ///< IOVA of the first byte
  std::uint64_t size = 0;     ///< bytes; 0 = an empty window
  std::byte* host = nullptr;  ///< where `start` lies in this process; nullptr: known, but reachable by message only
  std::uint64_t* dirty = nullptr;  ///< one bit per 4 KiB page from `start` rounded down, or nullptr when not logging
  Access access = Access::none;
};

class Table;  // an immutable set of windows; defined in memory/table.hpp

/// A reader of guest memory. Each queue has its own (it caches the last window that was hit). It sees one immutable
/// table until its owner hands it another with adopt(); a table stays valid while adopted. Not thread-safe: one thread.
class GuestMemory {
 public:
  GuestMemory() noexcept = default;

  /// Switches to another table (may be null: every access fails). All borrowed spans end here.
  void adopt(std::shared_ptr<const Table> table) noexcept;

  /// A copy of the T at `at`, or nullopt when any byte of it cannot be read. The bytes are read once.
  template <class T>
  [[nodiscard]] std::optional<T> fetch(Iova at) noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    if (!read(at, std::as_writable_bytes(std::span{&value, 1}))) return std::nullopt;
    return value;
  }
  /// Writes a T at `at`; false when any byte of it cannot be written (then none is).
  template <class T>
  [[nodiscard]] bool store(Iova at, const T& value) noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    return write(at, std::as_bytes(std::span{&value, 1}));
  }

  /// Copies from the guest; false (and `into` unspecified) when the range is not wholly readable. May span windows.
  [[nodiscard]] bool read(Iova at, std::span<std::byte> into) noexcept {
    if (const std::byte* from = hit(at, into.size(), Access::read); from != nullptr) [[likely]] {
      std::memcpy(into.data(), from, into.size());
      return true;
    }
    return read_slow(at, into);
  }
  /// Copies to the guest and marks the pages dirty; false when the range is not wholly writable.
  [[nodiscard]] bool write(Iova at, std::span<const std::byte> from) noexcept {
    if (std::byte* to = hit(at, from.size(), Access::write); to != nullptr && last_.dirty == nullptr) [[likely]] {
      std::memcpy(to, from.data(), from.size());
      return true;
    }
    return write_slow(at, from);
  }

  /// The longest readable stretch from `at`, at most `length` bytes; empty when the first byte is not readable. For
  /// payload only, and for one call: what it holds can change at any time, and must not be looked at twice.
  [[nodiscard]] std::span<const std::byte> borrow(Iova at, ByteCount length) noexcept {
    if (const std::byte* from = hit(at, length.raw, Access::read); from != nullptr) [[likely]] {
      return {from, length.raw};
    }
    return borrow_slow(at, length, Access::read);
  }
  /// The same for writing; the stretch is marked dirty as if all of it were written.
  [[nodiscard]] std::span<std::byte> borrow_for_write(Iova at, ByteCount length) noexcept {
    if (std::byte* to = hit(at, length.raw, Access::write); to != nullptr && last_.dirty == nullptr) [[likely]] {
      return {to, length.raw};
    }
    return borrow_slow(at, length, Access::write);
  }

  /// True when every byte of the range allows `access` directly.
  [[nodiscard]] bool covers(Iova at, ByteCount length, Access access) noexcept;

 private:
  [[nodiscard]] std::byte* hit(Iova at, std::uint64_t length, Access want) const noexcept {
    const std::uint64_t offset = at.raw - last_.start;
    const bool inside = offset < last_.size && length <= last_.size - offset;
    return inside && allows(last_.access, want) ? last_.host + offset : nullptr;
  }
  [[nodiscard]] bool read_slow(Iova at, std::span<std::byte> into) noexcept;
  [[nodiscard]] bool write_slow(Iova at, std::span<const std::byte> from) noexcept;
  [[nodiscard]] std::span<std::byte> borrow_slow(Iova at, ByteCount length, Access want) noexcept;

  Window last_;  // host is never null here
  std::shared_ptr<const Table> table_;
};

}  // namespace vmux::memory

// SPDX-License-Identifier: BSD-3-Clause
// The DMA map as one immutable value: chunks of windows, shared between successive tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "memory/backing.hpp"
#include "vmux/memory/guest_memory.hpp"

namespace vmux::memory {

/// One bit per 4 KiB page of a range.
class DirtyBitmap {
 public:
  /// Null when the host has no memory for it. Pages of the bitmap itself are touched only when a bit is set.
  [[nodiscard]] static std::unique_ptr<DirtyBitmap> create(std::uint64_t pages) noexcept;
  ~DirtyBitmap();
  DirtyBitmap(const DirtyBitmap&) = delete;
  DirtyBitmap& operator=(const DirtyBitmap&) = delete;

  [[nodiscard]] std::uint64_t* words() noexcept { return words_; }
  /// Takes the bits of word `index`. `report_twice`: they stay for one more call, see AddressSpace::take_dirty().
  [[nodiscard]] std::uint64_t take(std::size_t index, std::uint64_t mask, bool report_twice) noexcept;

 private:
  DirtyBitmap() noexcept = default;
  std::uint64_t* words_ = nullptr;
  std::uint64_t* again_ = nullptr;
  std::size_t count_ = 0;
};

/// Sets the bits of [offset, offset + length) of a window that is logged. Any thread.
void mark_dirty(const Window& window, std::uint64_t offset, std::uint64_t length) noexcept;

/// What a window needs to stay alive.
struct RangeOwner {
  std::shared_ptr<Backing> backing;
  std::unique_ptr<DirtyBitmap> dirty;
};

/// Windows in address order, none overlapping. Each change makes a new table that shares all chunks but one or two
/// with the old one, so that it costs about as much among tens of thousands of windows as among a few.
class Table {
 public:
  struct Entry {
    Window window;
    std::shared_ptr<RangeOwner> owner;  // null for a window that is reached by message only
  };
  using Chunk = std::vector<Entry>;

  /// The window that holds `at`, or nullptr.
  [[nodiscard]] const Window* find(std::uint64_t at) const noexcept {
    const Entry* entry = at_or_below(at);
    return entry != nullptr && at - entry->window.start < entry->window.size ? &entry->window : nullptr;
  }
  /// The last entry that starts at `at` or below, or nullptr.
  [[nodiscard]] const Entry* at_or_below(std::uint64_t at) const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// A table with one entry more; it must not overlap another.
  [[nodiscard]] std::shared_ptr<const Table> with(Entry entry) const;
  /// A table without the entries that start in [first, last]; these are appended to `removed`.
  [[nodiscard]] std::shared_ptr<const Table> without(std::uint64_t first, std::uint64_t last,
                                                     std::vector<Entry>& removed) const;
  /// A table of the same windows, each passed through `change`.
  template <class Change>
  [[nodiscard]] std::shared_ptr<const Table> transformed(Change change) const {
    auto table = std::make_shared<Table>();
    for (const auto& chunk : chunks_) {
      auto copy = std::make_shared<Chunk>(*chunk);
      for (Entry& entry : *copy)
        change(entry);
      table->append(std::move(copy));
    }
    return table;
  }
  template <class Visit>
  void for_each(Visit visit) const {
    for (const auto& chunk : chunks_) {
      for (const Entry& entry : *chunk)
        visit(entry);
    }
  }

 private:
  static constexpr std::size_t kChunk = 128;
  [[nodiscard]] std::size_t chunk_for(std::uint64_t at) const noexcept;
  void append(std::shared_ptr<const Chunk> chunk);

  std::vector<std::uint64_t> starts_;  // of each chunk's first window
  std::vector<std::shared_ptr<const Chunk>> chunks_;
  std::size_t size_ = 0;
};

}  // namespace vmux::memory

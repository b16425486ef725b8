// SPDX-License-Identifier: BSD-3-Clause
// The DMA map as one immutable value: a tree of windows, most of which successive tables share.
#pragma once

#include <array>
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
  /// What else take() gives and keeps, see AddressSpace::take_dirty().
  struct Repeat {
    bool reports_kept = false;  ///< what earlier calls have kept is reported again
    bool drops_kept = true;     ///< for the last time
    bool keeps = false;         ///< what is new is kept
  };
  /// Takes the bits of word `index`.
  [[nodiscard]] std::uint64_t take(std::size_t index, std::uint64_t mask, Repeat repeat) noexcept;

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

/// Windows in address order, none overlapping. A tree of narrow nodes: each change makes a new table that copies the
/// nodes on the way to the change and shares all others with the old one, so that it costs about as much among tens of
/// thousands of windows as among a few.
class Table {
 public:
  struct Entry {
    Window window;
    std::shared_ptr<RangeOwner> owner;  // null for a window that is reached by message only
  };

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
  /// A table of the same windows, each passed through `change`, which leaves their addresses as they are.
  template <class Change>
  [[nodiscard]] std::shared_ptr<const Table> transformed(Change change) const {
    auto table = std::make_shared<Table>(*this);
    if (root_ != nullptr) table->root_ = transformed(*root_, change);
    return table;
  }
  template <class Visit>
  void for_each(Visit visit) const {
    if (root_ != nullptr) for_each(*root_, visit);
  }
  /// How many nodes stand between the root and a window, both counted; 0 when empty. For tests.
  [[nodiscard]] std::size_t depth() const noexcept;

 private:
  // Every node that is copied costs a reference counted up, and later down, for each thing in it: so they are narrow.
  static constexpr std::size_t kWidth = 32;
  static constexpr std::uint64_t kNone = ~0ull;  // windows start at whole pages
  /// A leaf has entries, any other node has children; none is empty.
  struct Node {
    /// Of each entry, or of each child's first, and behind them kNone: a search touches these only.
    std::array<std::uint64_t, kWidth> starts;
    std::vector<Entry> entries;
    std::vector<std::shared_ptr<const Node>> children;

    Node() noexcept { starts.fill(kNone); }
    [[nodiscard]] bool is_leaf() const noexcept { return children.empty(); }
    [[nodiscard]] std::size_t count() const noexcept { return is_leaf() ? entries.size() : children.size(); }
    /// The last that starts at `at` or below; `at` must not be below the first.
    [[nodiscard]] std::size_t index_for(std::uint64_t at) const noexcept;
  };
  using NodePtr = std::shared_ptr<const Node>;
  using Parts = std::vector<NodePtr>;

  template <class Thing>
  [[nodiscard]] static NodePtr make_node(Thing* from, Thing* to);
  template <class Thing>
  [[nodiscard]] static Parts cut(std::vector<Thing> things, bool at_end);
  [[nodiscard]] static Parts inserted(const Node& node, Entry entry);
  [[nodiscard]] static NodePtr erased(const NodePtr& node, std::uint64_t first, std::uint64_t last,
                                      std::vector<Entry>& removed);
  static void append(Parts& row, NodePtr node, bool may_merge);
  [[nodiscard]] static NodePtr merged(const Node& low, const Node& high);

  template <class Change>
  [[nodiscard]] static NodePtr transformed(const Node& node, Change& change) {
    auto copy = std::make_shared<Node>(node);
    for (Entry& entry : copy->entries)
      change(entry);
    for (NodePtr& child : copy->children)
      child = transformed(*child, change);
    return copy;
  }
  template <class Visit>
  static void for_each(const Node& node, Visit& visit) {
    for (const Entry& entry : node.entries)
      visit(entry);
    for (const NodePtr& child : node.children)
      for_each(*child, visit);
  }

  NodePtr root_;  // null when empty
  std::size_t size_ = 0;
};

}  // namespace vmux::memory

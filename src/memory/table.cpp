// SPDX-License-Identifier: BSD-3-Clause
#include "memory/table.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace vmux::memory {

// Counted, in two steps: comparisons that do not wait for each other take less time than a binary search, each step of
// which waits for the one before it.
std::size_t Table::Node::index_for(std::uint64_t at) const noexcept {
  constexpr std::size_t kGroup = 8;
  static_assert(kWidth % kGroup == 0);
  std::size_t groups = 0;
  for (std::size_t i = kGroup; i < kWidth; i += kGroup)
    groups += starts[i] <= at;
  const std::uint64_t* const group = starts.data() + groups * kGroup;
  std::size_t below = groups * kGroup;
  for (std::size_t i = 0; i < kGroup; ++i)
    below += group[i] <= at;
  return std::min(below, count()) - 1;  // the last address of all is kNone
}

const Table::Entry* Table::at_or_below(std::uint64_t at) const noexcept {
  const Node* node = root_.get();
  if (node == nullptr || at < node->starts[0]) return nullptr;
  while (!node->is_leaf())
    node = node->children[node->index_for(at)].get();
  return &node->entries[node->index_for(at)];
}

std::size_t Table::depth() const noexcept {
  std::size_t depth = 0;
  for (const Node* node = root_.get(); node != nullptr; node = node->is_leaf() ? nullptr : node->children[0].get())
    ++depth;
  return depth;
}

template <class Thing>
Table::NodePtr Table::make_node(Thing* from, Thing* to) {
  auto node = std::make_shared<Node>();
  std::size_t i = 0;
  if constexpr (std::is_same_v<Thing, Entry>) {
    node->entries.assign(std::make_move_iterator(from), std::make_move_iterator(to));
    for (const Entry& entry : node->entries)
      node->starts[i++] = entry.window.start;
  } else {
    node->children.assign(std::make_move_iterator(from), std::make_move_iterator(to));
    for (const NodePtr& child : node->children)
      node->starts[i++] = child->starts[0];
  }
  return node;
}

/// One node of `things`, or two if one does not hold them. `at_end`: the newest is the last, and more will follow it,
/// as windows are mostly mapped in ascending order: then the first node stays full.
template <class Thing>
Table::Parts Table::cut(std::vector<Thing> things, bool at_end) {
  Thing* const begin = things.data();
  Thing* const end = begin + things.size();
  if (things.size() <= kWidth) return {make_node(begin, end)};
  Thing* const middle = begin + (at_end ? kWidth : things.size() / 2);
  return {make_node(begin, middle), make_node(middle, end)};
}

Table::Parts Table::inserted(const Node& node, Entry entry) {
  const std::uint64_t start = entry.window.start;
  const bool is_first = start < node.starts[0];
  if (node.is_leaf()) {
    const std::size_t place = is_first ? 0 : node.index_for(start) + 1;
    std::vector<Entry> entries;
    entries.reserve(node.entries.size() + 1);
    const auto split = node.entries.begin() + static_cast<std::ptrdiff_t>(place);
    entries.insert(entries.end(), node.entries.begin(), split);
    entries.push_back(std::move(entry));
    entries.insert(entries.end(), split, node.entries.end());
    return cut(std::move(entries), place == node.entries.size());
  }
  const std::size_t chosen = is_first ? 0 : node.index_for(start);
  const auto at = node.children.begin() + static_cast<std::ptrdiff_t>(chosen);
  Parts parts = inserted(**at, std::move(entry));
  Parts children;
  children.reserve(node.children.size() + 1);
  children.insert(children.end(), node.children.begin(), at);
  std::move(parts.begin(), parts.end(), std::back_inserter(children));
  children.insert(children.end(), at + 1, node.children.end());
  return cut(std::move(children), chosen + 1 == node.children.size());
}

std::shared_ptr<const Table> Table::with(Entry entry) const {
  auto table = std::make_shared<Table>();
  table->size_ = size_ + 1;
  Parts parts = root_ != nullptr ? inserted(*root_, std::move(entry)) : Parts{make_node(&entry, &entry + 1)};
  table->root_ = parts.size() == 1 ? std::move(parts[0]) : make_node(parts.data(), parts.data() + parts.size());
  return table;
}

Table::NodePtr Table::merged(const Node& low, const Node& high) {
  if (low.is_leaf()) {
    std::vector<Entry> entries{low.entries};
    entries.insert(entries.end(), high.entries.begin(), high.entries.end());
    return make_node(entries.data(), entries.data() + entries.size());
  }
  Parts children{low.children};
  children.insert(children.end(), high.children.begin(), high.children.end());
  return make_node(children.data(), children.data() + children.size());
}

/// Two neighbours that would fill half a node at most become one: what is left after many removals stays shallow, and
/// the next insertion need not cut it again.
void Table::append(Parts& row, NodePtr node, bool may_merge) {
  if (may_merge && !row.empty() && row.back()->count() + node->count() <= kWidth / 2) {
    row.back() = merged(*row.back(), *node);
  } else {
    row.push_back(std::move(node));
  }
}

/// `node` without the entries that start in [first, last]: itself when there are none, null when nothing is left.
Table::NodePtr Table::erased(const NodePtr& node, std::uint64_t first, std::uint64_t last,
                             std::vector<Entry>& removed) {
  const std::uint64_t* const starts = node->starts.data();
  const std::uint64_t* const end = starts + node->count();
  const auto to = std::upper_bound(starts, end, last) - starts;
  if (node->is_leaf()) {
    const auto from = std::lower_bound(starts, end, first) - starts;
    if (from >= to) return node;
    const auto entries = node->entries.begin();
    removed.insert(removed.end(), entries + from, entries + to);
    std::vector<Entry> rest(entries, entries + from);
    rest.insert(rest.end(), entries + to, node->entries.end());
    return rest.empty() ? nullptr : make_node(rest.data(), rest.data() + rest.size());
  }
  // The child that starts before `first` may reach into the range; those from `to` on start behind it.
  const auto from = first < starts[0] ? 0 : std::upper_bound(starts, end, first) - starts - 1;
  Parts row;
  row.reserve(node->count());
  row.insert(row.end(), node->children.begin(), node->children.begin() + from);
  bool has_changed = false;
  for (auto i = from; i < to; ++i) {
    const NodePtr& child = node->children[static_cast<std::size_t>(i)];
    NodePtr rest = erased(child, first, last, removed);
    has_changed |= rest != child;
    if (rest != nullptr) append(row, std::move(rest), has_changed);
  }
  if (!has_changed) return node;
  for (auto i = to; i < static_cast<std::ptrdiff_t>(node->count()); ++i)
    append(row, node->children[static_cast<std::size_t>(i)], i == to);
  return row.empty() ? nullptr : make_node(row.data(), row.data() + row.size());
}

std::shared_ptr<const Table> Table::without(std::uint64_t first, std::uint64_t last,
                                            std::vector<Entry>& removed) const {
  auto table = std::make_shared<Table>(*this);
  if (root_ == nullptr) return table;
  const std::size_t before = removed.size();
  table->root_ = erased(root_, first, last, removed);
  table->size_ -= removed.size() - before;
  while (table->root_ != nullptr && table->root_->children.size() == 1)
    table->root_ = NodePtr{table->root_->children[0]};
  return table;
}

}  // namespace vmux::memory

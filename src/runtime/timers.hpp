// SPDX-License-Identifier: BSD-3-Clause
// Armed timers in order of their deadlines: a binary heap whose members know their place.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace vmux::runtime {

/// `Node` has `deadline_ns_` and `slot_` (its index here), both reachable through `Access`.
template <class Node, class Access>
class TimerHeap {
 public:
  /// Room for `count` nodes, so that push() never allocates.
  void reserve(std::size_t count) { heap_.reserve(count); }
  [[nodiscard]] bool is_empty() const noexcept { return heap_.empty(); }
  [[nodiscard]] Node& first() const noexcept { return *heap_.front(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return heap_.capacity(); }

  void push(Node& node) noexcept {
    heap_.push_back(&node);
    Access::slot(node) = heap_.size() - 1;
    rise(heap_.size() - 1);
  }

  void remove(Node& node) noexcept {
    const std::size_t at = Access::slot(node);
    Access::slot(node) = static_cast<std::size_t>(-1);
    Node* last = heap_.back();
    heap_.pop_back();
    if (last == &node) return;
    put(at, last);
    rise(at);
    sink(Access::slot(*last));
  }

 private:
  void put(std::size_t at, Node* node) noexcept {
    heap_[at] = node;
    Access::slot(*node) = at;
  }
  [[nodiscard]] bool before(std::size_t a, std::size_t b) const noexcept {
    return Access::deadline(*heap_[a]) < Access::deadline(*heap_[b]);
  }
  void swap(std::size_t a, std::size_t b) noexcept {
    Node* const was_a = heap_[a];
    put(a, heap_[b]);
    put(b, was_a);
  }
  void rise(std::size_t at) noexcept {
    while (at > 0 && before(at, (at - 1) / 2)) {
      swap(at, (at - 1) / 2);
      at = (at - 1) / 2;
    }
  }
  void sink(std::size_t at) noexcept {
    for (;;) {
      std::size_t least = at;
      for (const std::size_t child : {2 * at + 1, 2 * at + 2}) {
        if (child < heap_.size() && before(child, least)) least = child;
      }
      if (least == at) return;
      swap(at, least);
      at = least;
    }
  }

  std::vector<Node*> heap_;
};

}  // namespace vmux::runtime

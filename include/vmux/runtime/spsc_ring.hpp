// SPDX-License-Identifier: BSD-3-Clause
// A bounded queue with one writer thread and one reader thread: how bursts travel between two pollers.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <type_traits>
#include <vector>

namespace vmux::runtime {

/// Items are copied; publishing is one release store. Each side keeps a copy of the other's index, so that a cache line
/// travels only when a side seems to be at its limit.
template <class T>
class SpscRing {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  /// `capacity` is rounded up to a power of two.
  explicit SpscRing(std::size_t capacity) : cells_(std::bit_ceil(capacity)), mask_(cells_.size() - 1) {}
  SpscRing(const SpscRing&) = delete;
  SpscRing& operator=(const SpscRing&) = delete;

  /// The writer's thread: false when full.
  [[nodiscard]] bool push(const T& item) noexcept {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - seen_head_ == cells_.size()) {
      seen_head_ = head_.load(std::memory_order_acquire);
      if (tail - seen_head_ == cells_.size()) return false;
    }
    cells_[tail & mask_] = item;
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }

  /// The reader's thread: false when empty.
  [[nodiscard]] bool pop(T& item) noexcept {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    if (head == seen_tail_) {
      seen_tail_ = tail_.load(std::memory_order_acquire);
      if (head == seen_tail_) return false;
    }
    item = cells_[head & mask_];
    head_.store(head + 1, std::memory_order_release);
    return true;
  }

 private:
  std::vector<T> cells_;
  std::size_t mask_;
  alignas(64) std::atomic<std::size_t> tail_{0};
  std::size_t seen_head_ = 0;  // the writer's
  alignas(64) std::atomic<std::size_t> head_{0};
  std::size_t seen_tail_ = 0;  // the reader's
};

}  // namespace vmux::runtime

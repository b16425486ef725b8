// SPDX-License-Identifier: BSD-3-Clause
// A bounded queue with many writers and one reader (after D. Vyukov's bounded queue): how other threads talk to a
// poller.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace vmux::runtime {

template <class T>
class Mailbox {
 public:
  /// `capacity` is rounded up to a power of two.
  explicit Mailbox(std::size_t capacity) : cells_(std::bit_ceil(capacity)), mask_(cells_.size() - 1) {
    for (std::size_t i = 0; i < cells_.size(); ++i)
      cells_[i].sequence.store(i, std::memory_order_relaxed);
  }

  /// Any thread: false when full, and `item` is untouched.
  [[nodiscard]] bool push(T&& item) noexcept {
    std::size_t at = tail_.load(std::memory_order_relaxed);
    for (;;) {
      Cell& cell = cells_[at & mask_];
      const std::size_t sequence = cell.sequence.load(std::memory_order_acquire);
      const auto lead = static_cast<std::ptrdiff_t>(sequence - at);
      if (lead < 0) return false;
      if (lead > 0) {
        at = tail_.load(std::memory_order_relaxed);
        continue;
      }
      if (!tail_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) continue;
      cell.item = std::move(item);
      cell.sequence.store(at + 1, std::memory_order_release);
      return true;
    }
  }

  /// The reader's thread: false when empty.
  [[nodiscard]] bool pop(T& item) noexcept {
    Cell& cell = cells_[head_ & mask_];
    if (cell.sequence.load(std::memory_order_acquire) != head_ + 1) return false;
    item = std::exchange(cell.item, T{});
    cell.sequence.store(head_ + cells_.size(), std::memory_order_release);
    ++head_;
    return true;
  }

  /// The reader's thread.
  [[nodiscard]] bool is_empty() const noexcept {
    return cells_[head_ & mask_].sequence.load(std::memory_order_acquire) != head_ + 1;
  }

 private:
  struct Cell {
    std::atomic<std::size_t> sequence{0};
    T item{};
  };
  std::vector<Cell> cells_;
  std::size_t mask_;
  alignas(64) std::atomic<std::size_t> tail_{0};
  alignas(64) std::size_t head_ = 0;
};

}  // namespace vmux::runtime

// SPDX-License-Identifier: BSD-3-Clause
// A bounded queue of records of different sizes, with one writer thread and one reader thread.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

namespace vmux::runtime {

/// A record lies in one piece, at a multiple of 8 bytes. Room is reserved first, so that a record can be looked at, and
/// left, before anybody sees it; publishing is one release store for as many records as have been committed. Neither
/// side waits or allocates. Its memory costs nothing until it is written to.
class RecordRing {
 public:
  /// `bytes` is rounded up to a power of two, 64 at least.
  explicit RecordRing(std::size_t bytes)
      : size_(std::bit_ceil(bytes < 64 ? std::size_t{64} : bytes)),
        bytes_(std::make_unique_for_overwrite<std::byte[]>(size_)) {}
  RecordRing(const RecordRing&) = delete;
  RecordRing& operator=(const RecordRing&) = delete;

  /// The largest record that finds room in an empty ring, wherever that begins.
  [[nodiscard]] std::size_t largest() const noexcept { return size_ / 2 - kHead; }

  // The writer's thread:
  /// Room for a record of `bytes`, until the next call; empty when there is none now.
  [[nodiscard]] std::span<std::byte> reserve(std::size_t bytes) noexcept {
    const std::size_t at = tail_ & (size_ - 1), need = kHead + rounded(bytes);
    skipped_ = need > size_ - at ? size_ - at : 0;
    if (tail_ + skipped_ + need - seen_head_ > size_) {
      seen_head_ = head_.load(std::memory_order_acquire);
      if (need > size_ || tail_ + skipped_ + need - seen_head_ > size_) return {};
    }
    return {bytes_.get() + ((tail_ + skipped_) & (size_ - 1)) + kHead, bytes};
  }
  /// The first `bytes` of the room that was reserved last are a record, which is seen from publish() on.
  void commit(std::size_t bytes) noexcept {
    if (skipped_ != 0) {
      put(tail_, kSkip);
      tail_ += skipped_;
    }
    put(tail_, static_cast<std::uint32_t>(bytes));
    tail_ += kHead + rounded(bytes);
    skipped_ = 0;
  }
  void publish() noexcept { published_.store(tail_, std::memory_order_release); }

  // The reader's thread:
  /// The oldest record, until pop(); its data() is null when there is none.
  [[nodiscard]] std::span<const std::byte> front() noexcept {
    for (std::size_t head = head_.load(std::memory_order_relaxed);;) {
      if (head == seen_tail_) {
        seen_tail_ = published_.load(std::memory_order_acquire);
        if (head == seen_tail_) return {};
      }
      const std::size_t at = head & (size_ - 1);
      if (const std::uint32_t bytes = get(at); bytes != kSkip) return {bytes_.get() + at + kHead, bytes};
      head += size_ - at;
      head_.store(head, std::memory_order_release);
    }
  }
  /// Of the record that front() gave.
  void pop() noexcept {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    head_.store(head + kHead + rounded(get(head & (size_ - 1))), std::memory_order_release);
  }

 private:
  static constexpr std::size_t kHead = 8;  // bytes in front of a record: its size
  static constexpr std::uint32_t kSkip = ~0u;
  [[nodiscard]] static constexpr std::size_t rounded(std::size_t bytes) noexcept {
    return (bytes + 7) & ~std::size_t{7};
  }
  void put(std::size_t at, std::uint32_t size) noexcept {
    std::memcpy(bytes_.get() + (at & (size_ - 1)), &size, sizeof size);
  }
  [[nodiscard]] std::uint32_t get(std::size_t at) const noexcept {
    std::uint32_t size = 0;
    std::memcpy(&size, bytes_.get() + at, sizeof size);
    return size;
  }

  const std::size_t size_;
  const std::unique_ptr<std::byte[]> bytes_;
  alignas(64) std::atomic<std::size_t> published_{0};
  std::size_t tail_ = 0, seen_head_ = 0, skipped_ = 0;  // the writer's
  alignas(64) std::atomic<std::size_t> head_{0};
  std::size_t seen_tail_ = 0;  // the reader's
};

}  // namespace vmux::runtime

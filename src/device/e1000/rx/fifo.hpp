// SPDX-License-Identifier: BSD-3-Clause
// The on-chip receive FIFO: whole frames, in order, that wait for descriptors. Manual 3.2.5 and 13.4.16 (PBA).
// It is deeper than the part's: there a wire paces what arrives, here a sender's whole window of segments comes at one
// instant, and what does not fit costs a retransmission. Memory is touched only as far as it is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace vmux::device::e1000 {

/// What the receiver already knows about a frame.
struct RxMeta {
  std::uint32_t length = 0;  ///< bytes to be stored: padded, VLAN tag stripped if it is to be, with FCS unless stripped
  std::uint16_t special = 0;
  std::uint8_t status = 0;
  std::uint8_t errors = 0;
};

/// Frames lie in one piece each; the space at the end that is too short for one stays unused. Memory is taken once.
class RxFifo {
 public:
  static constexpr std::size_t kDepth = 32;  ///< times what PBA says
  static constexpr std::size_t kBytes = kDepth * 64 * 1024;
  static constexpr std::size_t kEntries = kBytes / 256;  ///< shorter frames run out of entries first

  RxFifo()
      : bytes_(std::make_unique_for_overwrite<std::byte[]>(kBytes)),
        entries_(std::make_unique_for_overwrite<Entry[]>(kEntries)) {}

  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  /// Room for a frame of `length` bytes while at most `limit` bytes are to be used in all; empty when there is none.
  [[nodiscard]] std::span<std::byte> reserve(std::size_t length, std::size_t limit) noexcept {
    if (count_ == kEntries || used_ + length > limit) return {};
    if (count_ == 0) write_ = read_ = 0;
    if (write_ >= read_ && write_ + length > kBytes) {
      if (length >= read_) return {};
      write_ = 0;
    } else if (write_ < read_ && write_ + length >= read_) {
      return {};
    }
    return {bytes_.get() + write_, length};
  }
  /// Keeps what reserve() gave last.
  void push(const RxMeta& meta) noexcept {
    entries_[(first_ + count_) % kEntries] = {meta, write_};
    write_ += meta.length;
    used_ += meta.length;
    ++count_;
  }
  [[nodiscard]] const RxMeta& front() const noexcept { return entries_[first_].meta; }
  [[nodiscard]] std::span<const std::byte> front_bytes() const noexcept {
    return {bytes_.get() + entries_[first_].at, entries_[first_].meta.length};
  }
  /// The first `bytes` of the front, fewer than it has, are gone.
  void consume(std::uint32_t bytes) noexcept {
    Entry& front = entries_[first_];
    front.meta.length -= bytes;
    front.at += bytes;
    used_ -= bytes;
    read_ = front.at;
  }
  void pop() noexcept {
    used_ -= entries_[first_].meta.length;
    first_ = (first_ + 1) % kEntries;
    --count_;
    read_ = count_ == 0 ? 0 : entries_[first_].at;
  }
  /// Calls `visit` with each frame, the oldest first.
  template <class F>
  void for_each(F&& visit) const {
    for (std::size_t i = 0; i < count_; ++i) {
      const Entry& entry = entries_[(first_ + i) % kEntries];
      visit(entry.meta, std::span<const std::byte>{bytes_.get() + entry.at, entry.meta.length});
    }
  }
  void clear() noexcept { count_ = write_ = read_ = used_ = 0; }

 private:
  struct Entry {
    RxMeta meta;
    std::size_t at;
  };
  std::unique_ptr<std::byte[]> bytes_;
  std::unique_ptr<Entry[]> entries_;
  std::size_t first_ = 0, count_ = 0;
  std::size_t write_ = 0, read_ = 0;  // offsets into bytes_
  std::size_t used_ = 0;
};

}  // namespace vmux::device::e1000

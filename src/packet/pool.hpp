// SPDX-License-Identifier: BSD-3-Clause
// Frames that have to wait or to cross to another poller: copied once into buffers that were made beforehand.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "packet/frame.hpp"

namespace vmux::packet {

/// A fixed number of packets over a fixed number of segments; a packet takes as many segments as its bytes need. No
/// allocation after construction. One thread owns the pool and all that is done to it; another may read a packet that
/// was handed to it and hands it back over a ring (release() here, give_back() on return here).
class Pool {
 public:
  static constexpr std::size_t kSegmentSize = 2048;                      ///< bytes
  static constexpr std::size_t kMaxSegments = 33;                        ///< 64 KiB and its headers
  static constexpr std::size_t kMaxFrame = kSegmentSize * kMaxSegments;  ///< bytes

  /// A stored frame. `view` is as the sender's was, offload included; header and payload lie in the pool.
  struct Slot {
    FrameView view;
    std::array<Slice, kMaxSegments + 1> payload;
    std::array<std::uint32_t, kMaxSegments> segments;
    std::uint32_t segment_count = 0;
    std::uint32_t index = 0;
  };

  /// Owns one packet and gives it back when it goes, on the pool's thread. Move-only; may be empty.
  class Packet {
   public:
    Packet() noexcept = default;
    Packet(Packet&& other) noexcept : pool_(other.pool_), slot_(std::exchange(other.slot_, nullptr)) {}
    Packet& operator=(Packet&& other) noexcept {
      if (this != &other) {
        reset();
        pool_ = other.pool_;
        slot_ = std::exchange(other.slot_, nullptr);
      }
      return *this;
    }
    ~Packet() { reset(); }
    void reset() noexcept {
      if (Slot* const slot = std::exchange(slot_, nullptr)) pool_->give_back(*slot);
    }
    explicit operator bool() const noexcept { return slot_ != nullptr; }
    [[nodiscard]] const FrameView& view() const noexcept { return slot_->view; }
    /// To send it over a ring: the owner is now whoever holds the pointer, until the pool's give_back().
    [[nodiscard]] Slot* release() noexcept { return std::exchange(slot_, nullptr); }

   private:
    friend class Pool;
    Packet(Pool& pool, Slot& slot) noexcept : pool_(&pool), slot_(&slot) {}
    Pool* pool_ = nullptr;
    Slot* slot_ = nullptr;
  };

  Pool(std::size_t packets, std::size_t segments);
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// A copy of the frame; empty when the pool is used up or the frame is longer than kMaxFrame.
  [[nodiscard]] Packet store(const FrameView& frame) noexcept;
  void give_back(Slot& slot) noexcept;
  [[nodiscard]] std::size_t free_packets() const noexcept { return free_slots_.size(); }
  [[nodiscard]] std::size_t free_segments() const noexcept { return free_segments_.size(); }

 private:
  [[nodiscard]] std::span<std::byte> segment(std::uint32_t index) noexcept;
  void fill(Slot& slot, const FrameView& frame) noexcept;

  std::unique_ptr<std::byte[]> bytes_;  // not cleared: pages are touched as they are used
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_slots_, free_segments_;  // stacks: what was used last is still in the cache
};

}  // namespace vmux::packet

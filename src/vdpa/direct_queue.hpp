// SPDX-License-Identifier: BSD-3-Clause
// Where a guest's ring stands that a function has served by itself: read from the ring, behind the function's end.
#pragma once

#include <optional>

#include "virtio/queue.hpp"

namespace vmux::vdpa {

/// Of a split ring that began at 0. Only once its function touches it no more.
class DirectQueue {
 public:
  [[nodiscard]] memory::GuestMemory& ring_memory() noexcept { return memory_; }
  /// `is_in_order`: driver and function have agreed upon IN_ORDER.
  void start(const virtio::QueueSetup& setup, bool is_in_order) noexcept {
    setup_ = setup;
    is_in_order_ = is_in_order;
    has_gone_round_ = false;
  }
  /// Every now and then while it runs, more often than 65536 chains are used.
  void look() noexcept;
  /// All that was made available has been used, or what is left to wait for makes no sense.
  [[nodiscard]] bool is_drained() noexcept;
  /// Everything before this has been used, and nothing behind it; nullopt: the function has used chains in another
  /// order, and no index says which, or the ring makes no sense.
  [[nodiscard]] std::optional<virtio::QueueState> state() noexcept;
  /// Behind all that was made available, used or not; nullopt: the ring cannot be read.
  [[nodiscard]] std::optional<virtio::QueueState> end() noexcept;

 private:
  struct Indices {
    std::uint16_t available, used;
  };
  [[nodiscard]] std::optional<Indices> indices() noexcept;
  [[nodiscard]] bool was_in_order(Indices now) noexcept;

  memory::GuestMemory memory_;
  virtio::QueueSetup setup_;
  bool is_in_order_ = false;
  bool has_gone_round_ = false;  // there have been more chains than entries
};

}  // namespace vmux::vdpa

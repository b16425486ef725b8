// SPDX-License-Identifier: BSD-3-Clause
// A guest's queue that a function serves through a ring of ours: descriptors are copied, payload is not.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "vdpa/driver_ring.hpp"
#include "virtio/queue.hpp"
#include "vmux/base/counter.hpp"

namespace vmux::vdpa {

/// The longest ring of ours, in descriptors.
inline constexpr std::uint16_t kMostShadowed = 256;

/// The guest's ring may be split or packed and begin anywhere; the function's is split and begins at 0. Chains are
/// given back to the guest in the order in which it made them available, so that where the queue stands is one index,
/// behind which nothing has been used: whoever goes on takes all of that again, and in its order.
///
/// One thread. What the function may write to is in the dirty log, if there is one, before the guest is told.
class ShadowQueue {
 public:
  ShadowQueue() = default;
  ShadowQueue(const ShadowQueue&) = delete;
  ShadowQueue& operator=(const ShadowQueue&) = delete;

  /// The only accesses to the guest's memory.
  [[nodiscard]] memory::GuestMemory& ring_memory() noexcept { return guest_.memory(); }
  [[nodiscard]] memory::GuestMemory& buffer_memory() noexcept { return buffers_; }

  /// `setup` and `state` can be; `ring` has been started and is empty. `is_logged`: writes are to be marked.
  void start(const virtio::QueueSetup& setup, const virtio::QueueState& state, bool is_logged) noexcept;
  void set_logged(bool is_logged) noexcept { is_logged_ = is_logged; }
  [[nodiscard]] DriverRing& ring() noexcept { return ring_; }

  /// New chains of the guest's go to the function. True: it is to be told.
  [[nodiscard]] bool forward() noexcept;
  /// What the function is done with goes back to the guest. True: the guest wants to hear of it.
  [[nodiscard]] bool collect() noexcept;
  /// A chain of our own, which no guest sees, for the function to read. False: there is no room, or the one before is
  /// still under way. The caller publishes and kicks.
  [[nodiscard]] bool post_own(const virtio::Buffer& buffer) noexcept;
  /// The function does not run any more: gives back what it had done, and forgets the rest.
  [[nodiscard]] virtio::QueueState stop() noexcept;
  [[nodiscard]] virtio::QueueState state() const noexcept { return guest_.state(); }

  [[nodiscard]] virtio::Fault fault() const noexcept { return guest_.fault(); }
  [[nodiscard]] bool is_broken() const noexcept { return ring_.is_broken(); }
  [[nodiscard]] std::uint64_t chains() const noexcept { return chains_.get(); }  ///< given back; any thread

 private:
  /// One that the function has, or had: the oldest of the guest's chains first.
  struct Posted {
    std::uint32_t written = 0;
    bool is_done = false;
  };
  [[nodiscard]] bool post(const virtio::Chain& chain) noexcept;
  [[nodiscard]] bool has_buffers(std::span<const virtio::Buffer> buffers, memory::Access access) noexcept;
  [[nodiscard]] std::uint32_t writable_bytes(const virtio::Chain& chain) const noexcept;
  void mark(const virtio::Chain& chain) noexcept;
  void note(const DriverRing::Done& done) noexcept;

  virtio::Queue guest_;
  memory::GuestMemory buffers_;
  DriverRing ring_;
  std::array<Posted, virtio::kMaxReady> posted_{};
  std::size_t count_ = 0;                 // of posted_
  std::uint32_t first_ = 0;               // number of the oldest, counted since start()
  std::vector<std::uint32_t> number_of_;  // by the function's head
  std::optional<std::uint16_t> own_head_;
  bool is_logged_ = false;
  Counter chains_;
};

}  // namespace vmux::vdpa

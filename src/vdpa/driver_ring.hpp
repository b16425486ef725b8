// SPDX-License-Identifier: BSD-3-Clause
// The driver's side of a split virtqueue ([VIRTIO] 2.7) in memory of ours: what we give to a function ourselves.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "vdpa/function.hpp"
#include "vdpa/ring_memory.hpp"
#include "virtio/queue.hpp"

namespace vmux::vdpa {

/// One thread. Without EVENT_IDX and indirect tables. The function may write anywhere in this memory: which descriptors
/// are free, and what chains they make, is kept elsewhere.
class DriverRing {
 public:
  /// Bytes that a ring of this size takes of a RingMemory.
  [[nodiscard]] static std::uint64_t bytes_of(std::uint16_t size) noexcept;
  /// A new, empty ring. `memory` is at least bytes_of(size) long and stays as long as the ring; size: a power of two.
  void start(RingMemory::Part memory, std::uint16_t size);

  [[nodiscard]] RingPlace place() const noexcept;
  [[nodiscard]] std::uint16_t size() const noexcept { return size_; }
  [[nodiscard]] unsigned free() const noexcept { return static_cast<unsigned>(free_.size()); }
  [[nodiscard]] unsigned in_flight() const noexcept { return in_flight_; }

  /// Makes a chain of these buffers available, and returns its head; nullopt: there is no room for it now. Visible to
  /// the function with the next publish().
  [[nodiscard]] std::optional<std::uint16_t> post(std::span<const virtio::Buffer> readable,
                                                  std::span<const virtio::Buffer> writable) noexcept;
  void publish() noexcept;
  /// Behind publish(): the function wants to be told of what is new.
  [[nodiscard]] bool wants_kick() const noexcept;

  struct Done {
    std::uint16_t head = 0;
    std::uint32_t written = 0;  ///< bytes, as the function has it: not checked
  };
  /// A chain that the function is done with. Nothing when there is none, or when is_broken().
  [[nodiscard]] std::optional<Done> take() noexcept;
  /// The function has used what was not its to use.
  [[nodiscard]] bool is_broken() const noexcept { return is_broken_; }

 private:
  RingMemory::Part memory_;
  std::uint16_t size_ = 0;
  std::uint16_t avail_ = 0, used_ = 0;
  unsigned in_flight_ = 0;
  bool is_broken_ = false;
  std::vector<std::uint16_t> free_;
  std::vector<std::uint16_t> next_;     // of a descriptor in a chain
  std::vector<std::uint16_t> lengths_;  // of the chain that begins here, in descriptors; 0: none does
};

}  // namespace vmux::vdpa

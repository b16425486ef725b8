// SPDX-License-Identifier: BSD-3-Clause
// What a network function is told by its control queue ([VIRTIO] 5.1.6.5), which is ours: the guest's stays in its VMM.
#pragma once

#include <cstdint>
#include <span>

#include "base/mac.hpp"
#include "vdpa/driver_ring.hpp"

namespace vmux::vdpa {

/// Waits for each answer: for no thread that moves frames of others.
class ControlCommands {
 public:
  static constexpr std::uint16_t kLeast = 2, kMost = 8;  ///< descriptors
  /// Bytes of a RingMemory.
  [[nodiscard]] static std::uint64_t bytes() noexcept;

  /// `queue`: the number that the function gives its control queue, and which is set up at ring().place() before the
  /// first command; `size`: a power of two from kLeast to kMost.
  void start(RingMemory::Part memory, Function& function, unsigned queue, std::uint16_t size);
  [[nodiscard]] DriverRing& ring() noexcept { return ring_; }

  /// An answer has not come, and may be written yet.
  [[nodiscard]] bool is_silent() const noexcept { return is_silent_; }

  [[nodiscard]] Result<void> set_pairs(std::uint16_t pairs);
  [[nodiscard]] Result<void> set_mac(const MacAddress& mac);
  [[nodiscard]] Result<void> set_promiscuous(bool is_on);

 private:
  [[nodiscard]] Result<void> send(std::uint8_t group, std::uint8_t command, std::span<const std::byte> data);

  DriverRing ring_;
  RingMemory::Part command_;
  Function* function_ = nullptr;
  unsigned queue_ = 0;
  bool is_silent_ = false;  // an answer has not come: it would be taken for the next command's
};

}  // namespace vmux::vdpa

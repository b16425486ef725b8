// SPDX-License-Identifier: BSD-3-Clause
// A polling driver of an 82540EM in this process, as lean as one can be: what is measured is the other side.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "vmux/base/le.hpp"
#include "vmux/base/mapping.hpp"
#include "vmux/pci/function.hpp"

namespace vmux::bench {

/// 8254x manual 3.3.3 and 3.2.3: both kinds have address, length and status in the same places that matter here.
struct RingDescriptor {
  Le<std::uint64_t> buffer;
  Le<std::uint16_t> length;
  std::uint8_t cso_or_checksum;
  std::uint8_t command_or_checksum;
  std::uint8_t status, css_or_errors;
  Le<std::uint16_t> special;
};
static_assert(sizeof(RingDescriptor) == 16 && offsetof(RingDescriptor, status) == 12);

class E1000Driver {
 public:
  static constexpr std::uint32_t kDescriptors = 1024;
  static constexpr std::uint32_t kMask = kDescriptors - 1;

  /// Maps guest memory into the function and brings the card up without interrupts. `function` must outlive the driver.
  [[nodiscard]] static Result<std::unique_ptr<E1000Driver>> create(pci::Function& function);
  E1000Driver(const E1000Driver&) = delete;
  E1000Driver& operator=(const E1000Driver&) = delete;

  /// Makes every transmit buffer this frame.
  void load(std::span<const std::byte> frame);
  /// Queues up to `count` frames as far as the ring has room, and rings the doorbell; returns how many.
  std::uint32_t send(std::uint32_t count) noexcept;
  /// Takes all frames that have arrived and gives their buffers back; returns how many.
  std::uint32_t receive() noexcept;

  // For the reference: the same rings, worked by a bare loop.
  [[nodiscard]] RingDescriptor& tx(std::uint32_t index) noexcept { return tx_ring_[index & kMask]; }
  [[nodiscard]] RingDescriptor& rx(std::uint32_t index) noexcept { return rx_ring_[index & kMask]; }
  [[nodiscard]] std::byte* host(std::uint64_t address) noexcept { return memory_.data() + address; }
  [[nodiscard]] std::uint32_t tx_head() const noexcept;
  void set_tx_head(std::uint32_t index) noexcept;
  [[nodiscard]] std::uint32_t tx_tail() const noexcept;

 private:
  explicit E1000Driver(pci::Function& function) : function_(function) {}
  void write(std::uint32_t offset, std::uint32_t value);
  void bring_up();

  pci::Function& function_;
  Mapping memory_;
  std::span<std::byte> registers_;  // the pages that a VMM maps into the guest
  RingDescriptor* tx_ring_ = nullptr;
  RingDescriptor* rx_ring_ = nullptr;
  std::uint32_t tx_next_ = 0, rx_next_ = 0;
};

}  // namespace vmux::bench

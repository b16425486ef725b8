// SPDX-License-Identifier: BSD-3-Clause
// Whether a NIC moves frames at all.
#pragma once

#include <cstdint>
#include <span>

#include "vmux/memory/ordered.hpp"

namespace vmux::nic {

/// One for all lanes of a NIC. Written by its home thread, read by the lanes' pollers: a lane that is in a round may
/// still go by the last value, until its gate has been closed once (Lane::settle()).
class RunState {
 public:
  void set_link(bool up) noexcept { set(kLink, up); }
  void set_dma(bool on) noexcept { set(kDma, on); }  ///< the function may master the bus
  void set_paused(bool paused) noexcept { set(kPaused, paused); }

  [[nodiscard]] bool is_link_up() const noexcept { return (load() & kLink) != 0; }
  [[nodiscard]] bool has_dma() const noexcept { return (load() & kDma) != 0; }
  /// Neither memory nor interrupts are touched.
  [[nodiscard]] bool is_paused() const noexcept { return (load() & kPaused) != 0; }
  /// Frames are sent and received.
  [[nodiscard]] bool is_running() const noexcept { return load() == (kLink | kDma); }
  /// Rings are looked at.
  [[nodiscard]] bool is_looking() const noexcept { return (load() & (kDma | kPaused)) == kDma; }

 private:
  static constexpr std::uint32_t kLink = 1, kDma = 2, kPaused = 4;
  [[nodiscard]] std::uint32_t load() const noexcept {
    return memory::load_acquire32(std::as_bytes(std::span{&word_, 1}), 0);
  }
  void set(std::uint32_t bit, bool value) noexcept {
    memory::store_release32(std::as_writable_bytes(std::span{&word_, 1}), 0, value ? load() | bit : load() & ~bit);
  }
  std::uint32_t word_ = 0;
};

}  // namespace vmux::nic

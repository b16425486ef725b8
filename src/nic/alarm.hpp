// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstdint>
#include <span>

#include "vmux/memory/ordered.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::nic {

/// A queue has stopped: the home thread hears of it, whichever poller found it out. As the interrupt by which a part
/// tells its physical function of a malicious driver (MDD).
class Alarm {
 public:
  /// `home` must outlive this.
  explicit Alarm(runtime::Poller& home) noexcept : home_(home) {}
  /// Any poller.
  void raise() noexcept {
    memory::store_release32(std::as_writable_bytes(std::span{&raised_, 1}), 0, 1);
    home_.wake();
  }
  /// The home thread: whether it was raised since this was asked last.
  [[nodiscard]] bool take() noexcept {
    if (memory::load_acquire32(std::as_bytes(std::span{&raised_, 1}), 0) == 0) [[likely]]
      return false;
    memory::store_release32(std::as_writable_bytes(std::span{&raised_, 1}), 0, 0);
    return true;
  }

 private:
  runtime::Poller& home_;
  std::uint32_t raised_ = 0;
};

}  // namespace vmux::nic

// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>

#include "vmux/memory/ordered.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::nic {

/// A queue has stopped: the home thread hears of it, whichever poller found it out. As the interrupt by which a part
/// tells its physical function of a malicious driver (MDD).
class Alarm {
 public:
  /// `home` must outlive this. `stopped` runs there, and in nobody's round: it may close gates.
  Alarm(runtime::Poller& home, std::function<void()> stopped) : home_(home), timer_(home, std::move(stopped)) {}
  /// Any poller.
  void raise() noexcept {
    memory::store_release32(std::as_writable_bytes(std::span{&raised_, 1}), 0, 1);
    home_.wake();
  }
  /// The home thread, in each round: hands on what was raised.
  void look() noexcept {
    if (memory::load_acquire32(std::as_bytes(std::span{&raised_, 1}), 0) == 0) [[likely]]
      return;
    silence();
    timer_.arm_after(0);
  }
  /// The home thread: what was raised is of queues that are no more.
  void silence() noexcept {
    timer_.disarm();
    memory::store_release32(std::as_writable_bytes(std::span{&raised_, 1}), 0, 0);
  }

 private:
  runtime::Poller& home_;
  runtime::Timer timer_;
  std::uint32_t raised_ = 0;
};

}  // namespace vmux::nic

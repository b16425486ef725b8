// SPDX-License-Identifier: BSD-3-Clause
// For what one thread uses all the time and another one changes now and then.
#pragma once

#include <atomic>

#include "vmux/base/assert.hpp"

namespace vmux::runtime {

/// The owner enters and leaves around each use, which costs it one locked instruction and waits for nobody as long as
/// nothing changes. The other thread closes the gate, changes things, and opens it.
///
/// Neither can wait for long, and not for each other, if both keep to this: the owner does not wait for anything while
/// it is inside but for other gates of its own; whoever has closed a gate waits for nothing at all, so closes one at a
/// time.
class Gate {
 public:
  Gate() = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  /// The owner only, and not when it is inside.
  void enter() noexcept {
    VMUX_ASSERT(!is_inside_.load(std::memory_order_relaxed));  // the first leave() would open it for both
    // Both sides store first and look then, so at least one of them sees the other.
    is_inside_.store(true, std::memory_order_seq_cst);
    if (is_closed_.load(std::memory_order_seq_cst)) [[unlikely]]
      wait_for_opening();
    ++inside_now_;
  }
  void leave() noexcept {
    --inside_now_;
    is_inside_.store(false, std::memory_order_release);
  }

  /// The one other thread, and not inside a gate of its own: two that wait for each other so would wait for ever. When
  /// close() returns, the owner is outside and stays there.
  void close() noexcept;
  void open() noexcept { is_closed_.store(false, std::memory_order_release); }

 private:
  void wait_for_opening() noexcept;

  std::atomic<bool> is_inside_{false}, is_closed_{false};
  static inline constinit thread_local unsigned inside_now_ = 0;  // gates that this thread is inside
};

}  // namespace vmux::runtime

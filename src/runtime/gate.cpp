// SPDX-License-Identifier: BSD-3-Clause
#include "runtime/gate.hpp"

#include <thread>

namespace vmux::runtime {
namespace {

constexpr unsigned kPatience = 1000;  // looks before the CPU is offered to whom we wait for

void wait_while(const std::atomic<bool>& flag) noexcept {
  for (unsigned looks = 0; flag.load(std::memory_order_acquire); ++looks) {
    if (looks > kPatience) std::this_thread::yield();
  }
}

}  // namespace

void Gate::wait_for_opening() noexcept {
  do {
    is_inside_.store(false, std::memory_order_release);
    wait_while(is_closed_);
    is_inside_.store(true, std::memory_order_seq_cst);
  } while (is_closed_.load(std::memory_order_seq_cst));
}

void Gate::close() noexcept {
  VMUX_ASSERT(inside_now_ == 0);
  is_closed_.store(true, std::memory_order_seq_cst);
  // The owner may have looked before it could see that; then this look sees it inside.
  if (is_inside_.load(std::memory_order_seq_cst)) wait_while(is_inside_);
}

}  // namespace vmux::runtime

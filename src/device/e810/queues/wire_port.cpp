// SPDX-License-Identifier: BSD-3-Clause
#include "device/e810/queues/wire_port.hpp"

namespace vmux::device::e810 {

void WirePort::begin_round() noexcept {
  if (is_paused_) [[unlikely]]
    return;
  interrupts_.service();
  alarm_.look();
}

void WirePort::end_round() noexcept {
  if (!is_paused_) data_.flush();
}

std::size_t WirePort::take(std::span<packet::FrameView> into) noexcept {
  return is_link_up_ && is_dma_on_ && !is_paused_ ? data_.peek(into) : 0;
}

port::Delivery WirePort::deliver(std::span<const packet::FrameView> frames) noexcept {
  port::Delivery delivery;
  if (is_ready()) data_.deliver(frames, delivery);
  return delivery;
}

bool WirePort::needs_polling() const noexcept {
  return !is_paused_ && is_mapped_ && data_.is_any_enabled() && is_dma_on_;
}

bool WirePort::is_ready() const noexcept { return !is_paused_ && is_link_up_ && data_.can_receive() && is_dma_on_; }

}  // namespace vmux::device::e810

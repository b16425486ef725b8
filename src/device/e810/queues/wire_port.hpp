// SPDX-License-Identifier: BSD-3-Clause
// The card's side of the cable: all that the switch asks of it. The one place where an E810 is a port::Port.
#pragma once

#include <cstddef>
#include <span>

#include "device/e810/interrupts.hpp"
#include "device/e810/queues/data_path.hpp"
#include "nic/alarm.hpp"
#include "port/port.hpp"

namespace vmux::device::e810 {

class WirePort final : public port::Port {
 public:
  WirePort(DataPath& data, InterruptUnit& interrupts, nic::Alarm& alarm, bool is_mapped)
      : data_(data), interrupts_(interrupts), alarm_(alarm), is_mapped_(is_mapped) {}

  void set_link(bool up) noexcept { is_link_up_ = up; }
  void set_dma(bool enabled) noexcept { is_dma_on_ = enabled; }
  void set_paused(bool paused) noexcept { is_paused_ = paused; }

  void begin_round() noexcept override;
  void end_round() noexcept override;
  std::size_t take(std::span<packet::FrameView> into) noexcept override;
  void finish(std::span<const port::FrameResult> results) noexcept override { data_.complete(results.size()); }
  [[nodiscard]] port::Delivery deliver(std::span<const packet::FrameView> frames) noexcept override;
  [[nodiscard]] std::uint16_t taken_from() const noexcept override { return data_.peeked_queue(); }
  [[nodiscard]] std::uint16_t given_to(std::size_t at) const noexcept override { return data_.given_to(at); }
  [[nodiscard]] packet::Accepts accepts() const noexcept override { return data_.accepts(); }
  [[nodiscard]] bool needs_polling() const noexcept override;
  [[nodiscard]] bool is_ready() const noexcept override;

 private:
  DataPath& data_;
  InterruptUnit& interrupts_;
  nic::Alarm& alarm_;
  const bool is_mapped_;  // doorbells are memory: the poller has to look
  bool is_link_up_ = true, is_dma_on_ = false, is_paused_ = false;
};

}  // namespace vmux::device::e810

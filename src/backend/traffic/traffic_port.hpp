// SPDX-License-Identifier: BSD-3-Clause
// Test equipment: a sink that copies what it gets, and a generator that always has a burst ready.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

#include "backend/traffic/traffic_options.hpp"
#include "port/port.hpp"
#include "vmux/base/result.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::backend {

class TrafficPort final : public port::Port {
 public:
  [[nodiscard]] static Result<std::unique_ptr<TrafficPort>> create(const TrafficOptions& options,
                                                                   runtime::Poller& poller);

  std::size_t take(std::span<packet::FrameView> into) noexcept override;
  void finish(std::span<const port::FrameResult> results) noexcept override;
  port::Delivery deliver(std::span<const packet::FrameView> frames) noexcept override;
  [[nodiscard]] packet::Accepts accepts() const noexcept override;
  [[nodiscard]] bool needs_polling() const noexcept override { return generates_; }
  [[nodiscard]] bool is_ready() const noexcept override { return true; }

  /// The bytes of the frame that was sunk last: for tests.
  [[nodiscard]] packet::Slice last_sunk() const noexcept { return last_sunk_; }

 private:
  explicit TrafficPort(const TrafficOptions& options);
  [[nodiscard]] std::span<std::byte> sink_room(std::size_t bytes) noexcept;

  /// Buffers begin on a cache line, as a driver's do: a copy whose moves lie across two pays for both.
  struct alignas(64) Line {
    std::byte bytes[64];
  };

  bool generates_;
  bool was_heard_ = false;               // a sink's one frame is with the switch
  std::vector<Line> frames_;             // one behind the other: a generator's pool, or a sink's one
  std::vector<packet::Slice> payloads_;  // of each: what stands behind its header
  std::vector<packet::FrameView> views_;
  std::size_t next_ = 0;  // the oldest view that is not finished

  std::vector<Line> sink_;     // buffers
  std::size_t sink_used_ = 0;  // bytes; the next frame goes behind them
  packet::Slice last_sunk_;
};

}  // namespace vmux::backend

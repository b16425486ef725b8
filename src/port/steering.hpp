// SPDX-License-Identifier: BSD-3-Clause
// Which lane of a port a frame takes, where the port's device decides that (receive-side scaling, flow rules).
#pragma once

#include <cstdint>
#include <span>

#include "packet/frame.hpp"

namespace vmux::port {

/// A port whose queues are spread over several pollers has a lane on each of them: a port::Port of its own with the
/// queues that this poller owns. An uint8_t numbers the lanes, 0 is the home poller's.
inline constexpr std::size_t kMaxLanes = 64;

/// An immutable value of its own (a key, a table, rules), that pollers share and read without any lock: pure, and
/// without a reference to the device, which may be gone before the last reader drops it.
class Steering {
 public:
  virtual ~Steering() = default;
  /// For each of `frames` (at most kMaxBurst, all on their way to this port) the lane that it takes. Frames of one flow
  /// take one lane, whatever else is among `frames`. A number beyond the last lane means lane 0.
  virtual void steer(std::span<const packet::FrameView> frames, std::span<std::uint8_t> lanes) const noexcept = 0;
};

}  // namespace vmux::port

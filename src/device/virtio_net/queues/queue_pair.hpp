// SPDX-License-Identifier: BSD-3-Clause
// What the two directions of a queue pair have in common, and what they go by.
#pragma once

#include <cstdint>

#include "nic/alarm.hpp"
#include "virtio/queue.hpp"
#include "vmux/base/counter.hpp"
#include "vmux/base/log.hpp"
#include "wire/virtio.hpp"

namespace vmux::device::virtio_net {

/// Bytes in front of each frame, by what was accepted.
inline constexpr std::uint32_t kOldHeader = 10, kHeader = 12, kHashHeader = 20;

/// What driver and device have agreed upon, as far as it is about frames.
struct FrameFormat {
  std::uint32_t header = kHeader;
  bool is_mergeable = false;                                   ///< a frame may lie in several chains
  bool csum = false, tso4 = false, tso6 = false, uso = false;  ///< what the driver may leave undone

  [[nodiscard]] static FrameFormat of(std::uint64_t features) noexcept {
    namespace feature = wire::virtio::net::feature;
    const auto has = [features](std::uint64_t bit) { return (features & bit) != 0; };
    FrameFormat made;
    made.is_mergeable = has(feature::mrg_rxbuf);
    if (!made.is_mergeable && !has(wire::virtio::feature::version_1)) made.header = kOldHeader;
    if (has(feature::hash_report)) made.header = kHashHeader;
    made.csum = has(feature::csum);
    made.tso4 = made.csum && has(feature::host_tso4);
    made.tso6 = made.csum && has(feature::host_tso6);
    made.uso = made.csum && has(feature::host_uso);
    return made;
  }
};

/// Of one queue; written by its poller, once per burst.
struct QueueCounters {
  Counter frames, bytes;  ///< super-frames as one
  Counter dropped;        ///< receive: no chain, or none that is long enough
  Counter errors;         ///< transmit: frames lost whose header contradicts them
  Counter interrupts;
  Counter interrupts_suppressed;  ///< used chains of which the driver did not want to hear
  Counter guest_fault;            ///< times that the queue stopped
};

/// A queue that has stopped says so once.
class FaultReport {
 public:
  FaultReport(const char* name, const char* kind, unsigned index, nic::Alarm& alarm) noexcept
      : name_(name), kind_(kind), index_(index), alarm_(alarm) {}
  void begin() noexcept { is_told_ = false; }
  void look(const virtio::Queue& queue, QueueCounters& counters) noexcept {
    if (queue.fault() != virtio::Fault::none && !is_told_) [[unlikely]]
      tell(queue.fault(), counters);
  }
  void warn(const char* what) noexcept;

 private:
  void tell(virtio::Fault fault, QueueCounters& counters) noexcept;

  const char* name_;
  const char* kind_;
  unsigned index_;
  nic::Alarm& alarm_;
  bool is_told_ = false;
  RateLimit log_limit_;
};

}  // namespace vmux::device::virtio_net

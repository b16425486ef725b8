// SPDX-License-Identifier: BSD-3-Clause
// What a poller gives to a capture: the first bytes of frames, with what became of them, on their way to a writer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "packet/filter.hpp"
#include "packet/frame.hpp"
#include "port/port.hpp"
#include "runtime/record_ring.hpp"
#include "switch/member.hpp"
#include "vmux/base/counter.hpp"

namespace vmux::switching {

enum class Way : std::uint8_t {
  in,   ///< the port sent it into the switch
  out,  ///< it was for the port
};

/// Which frames somebody wants to see, and how much of them.
struct CaptureRules {
  bool in = true, out = true;
  bool only_dropped = false;
  std::uint32_t snaplen = 128;  ///< bytes of a frame that are kept
  packet::Filter filter;

  [[nodiscard]] bool wants(Way way, port::DropReason why) const noexcept {
    return (way == Way::in ? in : out) && (!only_dropped || why != port::DropReason::none);
  }
};

/// Where frames were seen, and what became of them.
struct Sighting {
  std::uint64_t time_ns = 0;  ///< monotonic_ns()
  PortId port;
  std::uint16_t queue = port::kNoQueue;  ///< of the port
  Way way = Way::in;
  port::DropReason why = port::DropReason::none;
};

/// A frame as it lies in a tap's ring; `size` bytes of it follow.
struct CapturedFrame {
  Sighting seen;
  std::uint32_t length = 0;  ///< bytes of the whole frame, its tag counted
  std::uint32_t size = 0;    ///< of those that follow
  std::uint32_t missed = 0;  ///< frames of the port that found no room in this ring since the one before
};

/// The shard of one poller is its writer; the reader is whoever drains `ring()`, one thread. Takes frames without a
/// lock, an allocation or a system call; one that finds no room is counted and gone.
class Tap {
 public:
  static constexpr std::size_t kRingBytes = std::size_t{4} << 20;  ///< 25,000 frames of 128 bytes: 2 ms at 12 Mpps
  static constexpr std::size_t kMostSnaplen = 262'144;             ///< bytes; longer than any super-frame
  /// Bytes that a filter sees at least, if there are. What passes it tells of them, so they are no more than those that
  /// may be kept for whoever may not see what is behind the headers.
  static constexpr std::size_t kFilterReach = 128;

  /// What became of the frames of one port. Written by the poller, readable by any thread.
  struct Counts {
    Counter seen;    ///< of the ways and fates that are wanted
    Counter passed;  ///< the filter
    Counter missed;  ///< of those: there was no room
  };

  explicit Tap(const CaptureRules& rules, std::size_t ring_bytes = kRingBytes);

  /// On the poller: one of those that were seen together. publish() follows behind the last.
  void take(const Sighting& seen, const packet::FrameView& view) noexcept;
  void publish() noexcept { ring_.publish(); }

  [[nodiscard]] runtime::RecordRing& ring() noexcept { return ring_; }
  [[nodiscard]] const Counts& counts(PortId port) const noexcept { return counts_[slot_of(port)]; }

 private:
  const CaptureRules rules_;
  runtime::RecordRing ring_;
  std::array<Counts, kMaxPorts> counts_;
  std::array<std::uint32_t, kMaxPorts> unreported_{};  // missed frames that no record has told of yet
  std::vector<std::byte> beside_;                      // where a filter looks when the ring is full: as far as else
};

}  // namespace vmux::switching

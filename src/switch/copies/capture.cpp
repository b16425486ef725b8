// SPDX-License-Identifier: BSD-3-Clause
// Captures: beside mirrors, the other way to look at a port's frames. What is seen goes into the taps of this poller.
#include <bit>

#include "switch/copies/tap.hpp"
#include "switch/shard.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::switching {

// Calls `look(tap, sighting)` for each tap that the port has, with the time of now.
template <class Look>
void Shard::with_taps(const Member& member, Way way, Look&& look) noexcept {
  const Sighting seen{.time_ns = monotonic_ns(), .port = member.id, .way = way};
  for (CaptureSet left = member.policy.captures; left != 0; left = static_cast<CaptureSet>(left & (left - 1))) {
    Tap* const tap = taps_[static_cast<std::size_t>(std::countr_zero(left))];
    if (tap == nullptr) continue;
    look(*tap, seen);
    tap->publish();
  }
}

// What a port has sent, before it is finished; also what is no whole frame.
void Shard::capture_sent(const Burst& burst) noexcept {
  with_taps(*burst.sender, Way::in, [&](Tap& tap, Sighting seen) {
    seen.queue = burst.sender->port.taken_from();
    for (std::size_t i = 0; i < burst.count; ++i) {
      seen.why = burst.results[i].dropped;
      if (seen.why == port::DropReason::none && (lost_on_links_ >> i & 1) != 0) seen.why = port::DropReason::ring_full;
      tap.take(seen, burst.views[i]);
    }
  });
}

// What was delivered to a port, as it saw it, and what of it the port lost or had no room for.
void Shard::capture_delivered(const Member& member, std::span<const packet::FrameView> frames,
                              const port::Delivery& delivery) noexcept {
  with_taps(member, Way::out, [&](Tap& tap, Sighting seen) {
    for (std::size_t i = 0; i < frames.size(); ++i) {
      seen.why = i < delivery.taken ? delivery.reasons[i] : port::DropReason::no_room;
      seen.queue = seen.why == port::DropReason::none ? member.port.given_to(i) : port::kNoQueue;
      tap.take(seen, frames[i]);
    }
  });
}

// What was for a port, and was not handed to it.
void Shard::capture_dropped(const Member& member, std::span<const packet::FrameView> frames,
                            port::DropReason why) noexcept {
  with_taps(member, Way::out, [&](Tap& tap, Sighting seen) {
    seen.why = why;
    for (const packet::FrameView& view : frames)
      tap.take(seen, view);
  });
}

}  // namespace vmux::switching

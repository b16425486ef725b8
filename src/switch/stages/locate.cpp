// SPDX-License-Identifier: BSD-3-Clause
// Where the stations of a burst are: learns its sources, and finds the ports of its targets.
#include "switch/shard.hpp"

namespace vmux::switching {

// True when something is known that was not.
inline bool Shard::learn_here(const Frame& frame, std::uint64_t now_ns) noexcept {
  MacTable::Entry* entry = nullptr;
  const bool is_news = macs_.learn(frame.source, frame.from, now_ns, &entry) != Learnt::known;
  const bool is_due = entry != nullptr && (entry->told_ns == 0 || now_ns - entry->told_ns >= republish_ns_);
  if (is_due && !peers_.empty()) tell_peers(frame, *entry);
  return is_news;
}

// Frame by frame: what one teaches holds for the next.
void Shard::locate(Burst& burst) noexcept {
  const std::uint64_t now_ns = poller_.now_ns();
  StationKey source = 0, target = 0;  // of the run before: most are alike
  bool is_known = false;
  PortId port;
  for (Run& run : burst.all_runs()) {
    Frame& frame = run.frame;
    if (burst.is_dropped(run)) continue;
    if (frame.source != 0) {
      if (frame.source != source && learn_here(frame, now_ns)) target = 0;  // it may be that station
      source = frame.source;
    }
    if (frame.is_flood || frame.to != PortId{}) continue;  // a rule says where it goes
    if (frame.target != target) {
      const MacTable::Entry* const known = macs_.find(frame.target, now_ns);
      target = frame.target;
      is_known = known != nullptr;
      port = is_known ? known->port : PortId{};
    }
    if (is_known && port == frame.from) {  // it is where it came from
      burst.drop(run, port::DropReason::filtered);
      continue;
    }
    frame.is_flood = !is_known;
    frame.to = port;
  }
}

// Other pollers see only the frames that cross to them: without this they would miss a station's move, or forget it
// while it talks to neighbours.
void Shard::tell_peers(const Frame& frame, MacTable::Entry& entry) noexcept {
  const Item item{.source = frame.source, .heard_ns = poller_.now_ns(), .from = frame.from};
  bool all_told = true;
  for (Peer& peer : peers_) {
    const bool told = peer.to->items.push(item);
    all_told = all_told && told;
    peer.is_touched = peer.is_touched || told;
  }
  if (all_told) entry.told_ns = poller_.now_ns();
}

}  // namespace vmux::switching

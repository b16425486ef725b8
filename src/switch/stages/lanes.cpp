// SPDX-License-Identifier: BSD-3-Clause
// Ports whose queues are spread over pollers: which lane a frame takes, decided once, where the frame enters the
// switch.
#include <algorithm>

#include "packet/flow.hpp"
#include "switch/shard.hpp"

namespace vmux::switching {

ShardRef Shard::place_of(const Shard& shard) const noexcept {
  const auto at = std::find_if(peers_.begin(), peers_.end(), [&](const Peer& peer) { return peer.shard == &shard; });
  return static_cast<ShardRef>(at == peers_.end() ? kHere : at - peers_.begin() + 1);
}

MultiLane* Shard::multi_lane(PortId id) const noexcept {
  MultiLane* const at = multi_lanes_[slot_of(id)].get();
  return at != nullptr && at->id == id ? at : nullptr;
}

// Steering is published on lane 0's poller; this shard is its first reader, and posts it to the others.
void Shard::follow_steering() noexcept {
  for (MultiLane* const multi_lane : homes_) {
    if (const auto& published = multi_lane->here->port.steering(); published != multi_lane->steering) {
      multi_lane->steering = published;
      multi_lane->unreported = 0;
    }
    if (multi_lane->unreported < peers_.size()) tell_of_steering(*multi_lane);
  }
}

// A mailbox that is full takes it in a later round: needs_polling() says so until then.
void Shard::tell_of_steering(MultiLane& multi_lane) noexcept {
  for (; multi_lane.unreported < peers_.size(); ++multi_lane.unreported) {
    Shard* const peer = peers_[multi_lane.unreported].shard;
    const auto message = [peer, id = multi_lane.id, steering = multi_lane.steering] {
      if (MultiLane* const there = peer->multi_lane(id)) there->steering = steering;
    };
    if (!peer->poller_.post(message)) return;
  }
}

void Shard::republish_steering(PortId id) noexcept {
  if (MultiLane* const at = multi_lane(id)) at->unreported = 0;
}

// Where the frame entered the switch, if the port has a lane there: it need not cross, and a flow enters at one place.
ShardRef Shard::any_lane(const MultiLane& lanes, const packet::FrameView& view, const Burst& burst) const noexcept {
  if (std::find(lanes.lanes.begin(), lanes.lanes.end(), burst.origin) != lanes.lanes.end()) return burst.origin;
  return lanes.lanes[packet::flow_hash(view.header) % lanes.lanes.size()];
}

// Every shard that a flooded frame reaches asks, and one of them finds that the lane is its own.
bool Shard::takes_flood(const MultiLane& lanes, std::size_t index, const Burst& burst) const noexcept {
  const packet::FrameView& view = burst.views[index];
  if (!lanes.steering) return any_lane(lanes, view, burst) == kHere;
  std::uint8_t lane = 0;
  lanes.steering->steer({&view, 1}, {&lane, 1});
  return lanes.lanes[lane < lanes.lanes.size() ? lane : 0] == kHere;
}

// Frames that go to one port side by side and take one lane stay together.
void Shard::forward_to_lanes(const Burst& burst, Share share) noexcept {
  const MultiLane* const target = multi_lane(burst.runs[share.run].frame.to);
  if (target == nullptr) return;
  std::array<std::uint8_t, port::kMaxBurst> lanes{};
  const std::span views = std::span{burst.views}.subspan(share.first, share.count);
  const bool is_steered = burst.sender != nullptr && target->steering != nullptr;
  if (is_steered) target->steering->steer(views, std::span{lanes}.first(views.size()));
  const auto place_for = [&](std::size_t i) {
    // What came over a link was sent to the lane of this poller.
    if (burst.sender == nullptr) return kHere;
    if (!is_steered) return any_lane(*target, views[i], burst);
    return target->lanes[lanes[i] < target->lanes.size() ? lanes[i] : 0];
  };
  for (std::size_t begin = 0, end = 0; begin < views.size(); begin = end) {
    const ShardRef place = place_for(begin);
    for (end = begin + 1; end < views.size() && place_for(end) == place;)
      ++end;
    const Share part{static_cast<std::uint8_t>(share.first + begin), static_cast<std::uint8_t>(end - begin), share.run};
    if (place != kHere) {
      cross(peers_[place - 1u], burst, part);
    } else if (target->here != nullptr) {  // else it is being detached
      queue_or_count(part, *target->here);
    }
  }
}

}  // namespace vmux::switching

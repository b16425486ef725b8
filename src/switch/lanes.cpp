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
ShardRef Shard::any_lane(const MultiLane& multi_lane, const packet::FrameView& view) const noexcept {
  if (std::find(multi_lane.lanes.begin(), multi_lane.lanes.end(), origin_) != multi_lane.lanes.end()) return origin_;
  return multi_lane.lanes[packet::flow_hash(view.header) % multi_lane.lanes.size()];
}

// Every shard that a flooded frame reaches asks, and one of them finds that the lane is its own.
bool Shard::takes_flood(const MultiLane& multi_lane, std::size_t index) const noexcept {
  const packet::FrameView& view = peeked_[index];
  if (!multi_lane.steering) return any_lane(multi_lane, view) == kHere;
  std::uint8_t lane = 0;
  multi_lane.steering->steer({&view, 1}, {&lane, 1});
  return multi_lane.lanes[lane < multi_lane.lanes.size() ? lane : 0] == kHere;
}

// The frames from `first` on that go to the same port as that one. Returns the index of the last.
std::size_t Shard::forward_run(std::size_t first, std::size_t count) noexcept {
  const PortId to = frames_[first].to;
  std::size_t end = first + 1;
  while (end < count && !frames_[end].is_dropped && !frames_[end].is_flood && frames_[end].to == to)
    ++end;
  const MultiLane* const target = multi_lane(to);
  if (target == nullptr) return end - 1;
  std::array<std::uint8_t, port::kMaxBurst> lanes{};
  const std::span run = std::span{peeked_}.subspan(first, end - first);
  const bool is_steered = sender_ != nullptr && target->steering != nullptr;
  if (is_steered) target->steering->steer(run, std::span{lanes}.first(run.size()));
  for (std::size_t i = first; i < end; ++i) {
    const std::uint8_t lane = lanes[i - first];
    // What came over a link was sent to the lane of this poller.
    const ShardRef place = sender_ == nullptr ? kHere
                           : is_steered       ? target->lanes[lane < target->lanes.size() ? lane : 0]
                                              : any_lane(*target, peeked_[i]);
    forward_to(*target, place, i);
  }
  return end - 1;
}

void Shard::forward_to(const MultiLane& multi_lane, ShardRef place, std::size_t index) noexcept {
  if (place != kHere) {
    cross(peers_[place - 1u], index);
  } else if (multi_lane.here != nullptr) {  // else it is being detached
    queue_or_count(index, *multi_lane.here);
  }
}

}  // namespace vmux::switching

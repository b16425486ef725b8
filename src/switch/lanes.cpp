// SPDX-License-Identifier: BSD-3-Clause
// Ports whose queues are spread over pollers: which lane a frame takes, decided once, where the frame enters the
// switch.
#include <algorithm>

#include "packet/flow.hpp"
#include "switch/shard.hpp"

namespace vmux::switching {

Place Shard::place_of(const Shard& shard) const noexcept {
  const auto at = std::find_if(peers_.begin(), peers_.end(), [&](const Peer& peer) { return peer.shard == &shard; });
  return static_cast<Place>(at == peers_.end() ? kHere : at - peers_.begin() + 1);
}

Spread* Shard::spread(PortId id) const noexcept {
  Spread* const at = spreads_[slot_of(id)].get();
  return at != nullptr && at->id == id ? at : nullptr;
}

// Steering is published on lane 0's poller; this shard is its first reader, and posts it to the others.
void Shard::follow_steering() noexcept {
  for (Spread* const spread : homes_) {
    if (const auto& published = spread->here->port.steering(); published != spread->steering) {
      spread->steering = published;
      spread->untold = 0;
    }
    if (spread->untold < peers_.size()) tell_of_steering(*spread);
  }
}

// A mailbox that is full takes it in a later round: needs_polling() says so until then.
void Shard::tell_of_steering(Spread& spread) noexcept {
  for (; spread.untold < peers_.size(); ++spread.untold) {
    Shard* const peer = peers_[spread.untold].shard;
    const auto message = [peer, id = spread.id, steering = spread.steering] {
      if (Spread* const there = peer->spread(id)) there->steering = steering;
    };
    if (!peer->poller_.post(message)) return;
  }
}

void Shard::retell_steering(PortId id) noexcept {
  if (Spread* const at = spread(id)) at->untold = 0;
}

// Where the frame entered the switch, if the port has a lane there: it need not cross, and a flow enters at one place.
Place Shard::any_lane(const Spread& spread, const packet::FrameView& view) const noexcept {
  if (std::find(spread.lanes.begin(), spread.lanes.end(), origin_) != spread.lanes.end()) return origin_;
  return spread.lanes[packet::flow_hash(view.header) % spread.lanes.size()];
}

// Every shard that a flooded frame reaches asks, and one of them finds that the lane is its own.
bool Shard::takes_flood(const Spread& spread, std::size_t index) const noexcept {
  const packet::FrameView& view = peeked_[index];
  if (!spread.steering) return any_lane(spread, view) == kHere;
  std::uint8_t lane = 0;
  spread.steering->steer({&view, 1}, {&lane, 1});
  return spread.lanes[lane < spread.lanes.size() ? lane : 0] == kHere;
}

// The frames from `first` on that go to the same port as that one. Returns the index of the last.
std::size_t Shard::forward_run(std::size_t first, std::size_t count) noexcept {
  const PortId to = frames_[first].to;
  std::size_t end = first + 1;
  while (end < count && !frames_[end].is_dropped && !frames_[end].is_flood && frames_[end].to == to)
    ++end;
  const Spread* const target = spread(to);
  if (target == nullptr) return end - 1;
  std::array<std::uint8_t, port::kMaxBurst> lanes{};
  const std::span run = std::span{peeked_}.subspan(first, end - first);
  const bool is_steered = sender_ != nullptr && target->steering != nullptr;
  if (is_steered) target->steering->steer(run, std::span{lanes}.first(run.size()));
  for (std::size_t i = first; i < end; ++i) {
    const std::uint8_t lane = lanes[i - first];
    // What came over a link was sent to the lane of this poller.
    const Place place = sender_ == nullptr ? kHere
                        : is_steered       ? target->lanes[lane < target->lanes.size() ? lane : 0]
                                           : any_lane(*target, peeked_[i]);
    forward_to(*target, place, i);
  }
  return end - 1;
}

void Shard::forward_to(const Spread& spread, Place place, std::size_t index) noexcept {
  if (place != kHere) {
    cross(peers_[place - 1u], index);
  } else if (spread.here != nullptr) {  // else it is being detached
    queue_or_count(index, *spread.here);
  }
}

}  // namespace vmux::switching

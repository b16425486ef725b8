// SPDX-License-Identifier: BSD-3-Clause
// Copies for mirrors: a burst of their own for each destination, behind the frames that they are copies of. On one
// poller the destination copies from the same views as a receiver does; on the way to another they have a pool and a
// link that nothing else uses.
#include <algorithm>
#include <bit>

#include "packet/flow.hpp"
#include "switch/shard.hpp"
#include "switch/stages/length.hpp"

namespace vmux::switching {

void Shard::send_copies_by(const Shard& peer, CopyLink& link, std::unique_ptr<packet::Pool>& pool) noexcept {
  if (!copies_) copies_ = std::move(pool);
  peer_of(peer).copies_to = &link;
  has_copy_links_ = true;
}

void Shard::take_copies_from(const Shard& peer, CopyLink& link) noexcept {
  peer_of(peer).copies_from = &link;
  has_copy_links_ = true;
}

// A whole port, or the lane of it that is here.
Member* Shard::member_of(PortId id) const noexcept {
  if (Member* const member = local(id)) return member;
  const MultiLane* const lanes = multi_lane(id);
  return lanes != nullptr ? lanes->here : nullptr;
}

// Of what a port has sent, before it is finished. Frames side by side that go the same ways stay together.
void Shard::mirror_marked(const Burst& burst) noexcept {
  if (burst.all_mirrors == 0) return;
  port::PortCounters& counters = burst.sender->port.counters();
  const std::span views = std::span{burst.views}.first(burst.count);
  for (std::size_t begin = 0, end = 0; begin < views.size(); begin = end) {
    const MirrorSet to = burst.mirrors[begin];
    for (end = begin + 1; end < views.size() && burst.mirrors[end] == to;)
      ++end;
    mirror(to, views.subspan(begin, end - begin), counters);
  }
}

// `counters`: of the port whose frames they are.
void Shard::mirror(MirrorSet to, std::span<const packet::FrameView> frames, port::PortCounters& counters) noexcept {
  if (frames.empty()) return;
  for (; to != 0; to = static_cast<MirrorSet>(to & (to - 1))) {
    const PortId id = mirrors_[static_cast<std::size_t>(std::countr_zero(to))];
    if (Member* const member = local(id)) {
      counters.mirrored.add(frames.size());
      hand_copies(*member, frames);
    } else if (const MultiLane* const lanes = multi_lane(id)) {
      mirror_to_lanes(*lanes, frames, counters);
    } else if (const ShardRef place = place_of_slot_[slot_of(id)]; place != kHere && place != kMultiLane) {
      cross_copies(peers_[place - 1u], id, frames, counters);
    }
  }
}

// Each takes the lane that it would take as a frame for the port, so that a flow stays in order.
void Shard::mirror_to_lanes(const MultiLane& to, std::span<const packet::FrameView> frames,
                            port::PortCounters& counters) noexcept {
  std::array<std::uint8_t, port::kMaxBurst> lanes{};
  if (to.steering) to.steering->steer(frames, std::span{lanes}.first(frames.size()));
  for (std::size_t i = 0; i < frames.size(); ++i) {
    ShardRef place = kHere;
    if (to.steering) {
      place = to.lanes[lanes[i] < to.lanes.size() ? lanes[i] : 0];
    } else if (to.here == nullptr) {
      place = to.lanes[packet::flow_hash(frames[i].header) % to.lanes.size()];
    }
    const auto one = frames.subspan(i, 1);
    if (place != kHere) {
      cross_copies(peers_[place - 1u], to.id, one, counters);
    } else if (to.here != nullptr) {
      counters.mirrored.add();
      hand_copies(*to.here, one);
    }
  }
}

// To a destination of this poller. What it cannot take is lost and counted there: it gets nothing but copies.
void Shard::hand_copies(Member& to, std::span<const packet::FrameView> frames) noexcept {
  if (!to.port.is_ready()) return drop(to, frames, port::DropReason::not_ready);
  begin_round(to);
  const packet::Accepts accepts = accepts_of(to);
  for (std::size_t begin = 0, end = 0; begin < frames.size(); begin = end) {
    const bool is_longer = is_too_long(frames[begin], accepts);
    for (end = begin + 1; end < frames.size() && is_too_long(frames[end], accepts) == is_longer;)
      ++end;
    if (is_longer) {
      drop(to, frames.subspan(begin, end - begin), port::DropReason::too_long);
    } else {
      deliver(to, frames.subspan(begin, end - begin));
    }
  }
}

void Shard::cross_copies(Peer& peer, PortId to, std::span<const packet::FrameView> frames,
                         port::PortCounters& counters) noexcept {
  for (const packet::FrameView& view : frames) {
    packet::Pool::Packet packet = peer.copies_to != nullptr ? copies_->store(view) : packet::Pool::Packet{};
    if (!packet) {
      counters.drops(port::DropReason::mirror_full).add();
      continue;
    }
    static_cast<void>(peer.copies_to->copies.push({packet.release(), to}));  // it has room for the whole pool
    peer.is_touched = true;
    counters.mirrored.add();
  }
}

unsigned Shard::serve_copies() noexcept {
  unsigned done = 0;
  for (Peer& peer : peers_) {
    if (peer.copies_from != nullptr) done += receive_copies(peer);
    if (peer.copies_to == nullptr) continue;
    packet::Pool::Slot* slot = nullptr;
    while (peer.copies_to->returns.pop(slot))
      copies_->give_back(*slot);
  }
  return done;
}

// At most a burst in a round: they may take time that is left, not that of the ports here.
unsigned Shard::receive_copies(Peer& peer) noexcept {
  std::array<Copy, port::kMaxBurst> copies;
  std::size_t count = 0;
  while (count < copies.size() && peer.copies_from->copies.pop(copies[count])) {
    gathered_[count] = copies[count].frame->view;
    ++count;
  }
  if (count == 0) return 0;
  for (std::size_t begin = 0, end = 0; begin < count; begin = end) {
    const PortId to = copies[begin].to;
    for (end = begin + 1; end < count && copies[end].to == to;)
      ++end;
    Member* const member = member_of(to);
    if (member != nullptr && member->policy.is_destination)
      hand_copies(*member, std::span{gathered_}.subspan(begin, end - begin));
  }
  end_rounds();
  for (const Copy& copy : std::span{copies}.first(count))
    static_cast<void>(peer.copies_from->returns.push(copy.frame));
  return static_cast<unsigned>(count);
}

}  // namespace vmux::switching

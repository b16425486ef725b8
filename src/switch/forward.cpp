// SPDX-License-Identifier: BSD-3-Clause
// From a classified burst to ports and links: frames for one port are delivered together and in order.
#include <algorithm>
#include <cstring>

#include "packet/bytes.hpp"
#include "switch/shard.hpp"

namespace vmux::switching {
namespace {

constexpr std::uint32_t kMacs = 12, kTag = 4;    // bytes
constexpr std::uint16_t kPriorityMask = 0xf000;  // PCP and DEI of a TCI
constexpr std::uint16_t kVidMask = 0x0fff;

bool takes_whole(const packet::Accepts& accepts, const packet::Offload& offload) noexcept {
  if (!accepts.checksum || offload.tunnel != 0) return false;
  const packet::Gso gso = offload.gso;
  return (gso == packet::Gso::tcp4 && accepts.gso_tcp4) || (gso == packet::Gso::tcp6 && accepts.gso_tcp6) ||
         (gso == packet::Gso::udp && accepts.gso_udp);
}

inline bool is_too_long(const packet::FrameView& view, const packet::Accepts& accepts) noexcept {
  const packet::Offload& offload = view.offload;
  const std::uint32_t tag = offload.has_vlan ? std::uint32_t{kTag} : 0;
  if (offload.gso == packet::Gso::none) return view.length + tag > accepts.max_frame;
  if (takes_whole(accepts, offload)) return false;
  return std::min<std::uint32_t>(view.length, std::uint32_t{offload.header_length} + offload.gso_size) + tag >
         accepts.max_frame;
}

void count_lost(port::PortCounters& counters, const port::Delivery& delivery) noexcept {
  for (const port::DropReasonRow& row : port::kDropReasons) {
    if (const std::uint8_t frames = delivery.why[port::index_of(row.reason)]) counters.drops(row.reason).add(frames);
  }
}

}  // namespace

void Shard::forward(std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    Frame& frame = frames_[i];
    if (frame.is_dropped) continue;
    if (frame.is_flood) {
      flood(i);
    } else if (Member* const member = local(frame.to)) {
      if (!queue(i, *member) && look_elsewhere(frame, *member)) flood(i);
    } else if (const ShardRef place = place_of_slot_[slot_of(frame.to)]; place == kMultiLane) {
      i = forward_run(i, count);
    } else if (place != kHere && sender_ != nullptr) {
      cross(peers_[place - 1u], i);
    }
  }
  for (Member* member : pending_)
    send_queued(*member);
  pending_.clear();
}

void Shard::flood(std::size_t index) noexcept {
  const Frame& frame = frames_[index];
  for (const auto& member : members_) {
    if (member->id == frame.from || !member->vlan.carries(frame.vlan)) continue;
    if (member->multi_lane == nullptr || takes_flood(*member->multi_lane, index)) queue_or_count(index, *member);
  }
  if (sender_ == nullptr) return;  // it came over a link: the sender has told everyone
  for (Peer& peer : peers_)
    cross(peer, index);
}

// The port is not ready: its stations are forgotten before this round ends, and the frame is for an unknown one. Not so
// if it came over a link: then the poller where it entered learns of it first.
bool Shard::look_elsewhere(Frame& frame, Member& member) noexcept {
  member.has_stations = true;
  next_sweep_ns_ = 0;
  frame.is_flood = sender_ != nullptr;
  if (!frame.is_flood) member.port.counters().drops(port::DropReason::not_ready).add();
  return frame.is_flood;
}

void Shard::send_queued(Member& member) noexcept {
  port::PortCounters& counters = member.port.counters();
  const auto frames = gather(member, member.port.accepts());
  member.queued = 0;
  if (frames.empty()) return;
  const port::Delivery done = member.port.deliver(frames);
  std::uint64_t bytes = 0;
  for (const packet::FrameView& view : frames.first(done.taken))
    bytes += view.length;
  counters.tx_frames.add(done.taken - done.lost);
  counters.tx_bytes.add(bytes - done.lost_bytes);
  if (done.lost != 0) [[unlikely]]
    count_lost(counters, done);
  if (done.taken < frames.size()) counters.drops(port::DropReason::no_room).add(frames.size() - done.taken);
  if (!member.is_touched) {
    member.is_touched = true;
    touched_.push_back(&member);
  }
}

// The frames for one port, side by side. They mostly are already: then nothing is copied.
std::span<const packet::FrameView> Shard::gather(Member& member, const packet::Accepts& accepts) noexcept {
  const std::size_t first = member.queue[0], count = member.queued;
  bool in_place = member.queue[count - 1] - first + 1 == count;
  for (std::size_t i = 0; i < count && in_place; ++i) {
    const Frame& frame = frames_[first + i];
    const bool tag_fits = frame.has_tag ? (frame.tci & kVidMask) == frame.vlan && frame.vlan != member.vlan.untagged
                                        : frame.vlan == member.vlan.untagged;
    in_place = tag_fits && !is_too_long(peeked_[first + i], accepts);
  }
  if (in_place) return std::span{peeked_}.subspan(first, count);

  std::size_t kept = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const Frame& frame = frames_[member.queue[i]];
    gathered_[kept] = peeked_[member.queue[i]];
    if (!member.vlan.carries(frame.vlan) || !rewrite_tag(frame, member, kept)) {
      member.port.counters().drops(port::DropReason::filtered).add();
    } else if (is_too_long(gathered_[kept], accepts)) {
      member.port.counters().drops(port::DropReason::too_long).add();
    } else {
      ++kept;
    }
  }
  return std::span{gathered_}.first(kept);
}

// Gives gathered_[place] the tag that the port is to see: its own VLAN without, every other with (beside the bytes).
bool Shard::rewrite_tag(const Frame& frame, const Member& member, std::size_t place) noexcept {
  packet::FrameView& view = gathered_[place];
  const bool leaves_untagged = frame.vlan == member.vlan.untagged;
  const bool has_right_tag = frame.has_tag && (frame.tci & kVidMask) == frame.vlan;
  if (leaves_untagged ? !frame.has_tag : has_right_tag) return true;
  if (frame.tag_in_bytes) {
    if (view.header.size() < kMacs + kTag) return false;
    const auto room = std::span{stripped_[place]};
    std::memcpy(room.data(), view.header.data(), kMacs);
    std::memcpy(room.data() + kMacs, view.header.data() + kMacs + kTag, view.header.size() - kMacs - kTag);
    view.header = packet::Slice{room}.first(view.header.size() - kTag);
    view.length -= kTag;
    packet::Offload& offload = view.offload;
    if (offload.needs_checksum) offload.csum_start = static_cast<std::uint16_t>(offload.csum_start - kTag);
    if (offload.gso != packet::Gso::none) {
      offload.header_length = static_cast<std::uint16_t>(offload.header_length - kTag);
    }
    if (offload.tunnel != 0) offload.tunnel = static_cast<std::uint16_t>(offload.tunnel - kTag);
  }
  view.offload.has_vlan = !leaves_untagged;
  if (!leaves_untagged) view.offload.vlan_tci = static_cast<std::uint16_t>((frame.tci & kPriorityMask) | frame.vlan);
  return true;
}

// The one place where a frame is copied without reaching a receiver.
void Shard::cross(Peer& peer, std::size_t index) noexcept {
  const Frame& frame = frames_[index];
  packet::Pool::Packet packet = pool_->store(peeked_[index]);
  Item item{.frame = nullptr,
            .source = frame.source,
            .heard_ns = poller_.now_ns(),
            .from = frame.from,
            .to = frame.to,
            .vlan = frame.vlan,
            .tci = frame.tci,
            .is_flood = frame.is_flood,
            .has_tag = frame.has_tag,
            .tag_in_bytes = frame.tag_in_bytes};
  if (packet) {
    item.frame = packet.release();
    if (peer.to->items.push(item)) {
      peer.is_touched = true;
      return;
    }
    pool_->give_back(*item.frame);
  }
  sender_->port.counters().drops(port::DropReason::ring_full).add();
}

void Shard::flush_all() noexcept {
  for (Member* member : touched_) {
    member->is_touched = false;
    member->port.flush();
  }
  touched_.clear();
  for (Peer& peer : peers_) {
    if (!peer.is_touched) continue;
    peer.is_touched = false;
    peer.shard->poller().wake();
  }
}

}  // namespace vmux::switching

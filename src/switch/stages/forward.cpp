// SPDX-License-Identifier: BSD-3-Clause
// From a classified burst to ports and links: frames for one port are delivered together and in order.
#include <algorithm>
#include <cstring>

#include "packet/bytes.hpp"
#include "state/commit.hpp"
#include "switch/policy/meter.hpp"
#include "switch/rules/rule_stage.hpp"
#include "switch/shard.hpp"
#include "switch/stages/length.hpp"
#include "switch/stages/retag.hpp"

namespace vmux::switching {
namespace {

constexpr std::uint16_t kPriorityMask = 0xf000;  // PCP and DEI of a TCI
constexpr std::uint16_t kVidMask = 0x0fff;

// A port sees its own VLAN without a tag, every other with.
inline bool has_right_tag(const Frame& frame, const VlanRules& rules) noexcept {
  return frame.has_tag ? (frame.tci & kVidMask) == frame.vlan && frame.vlan != rules.untagged
                       : frame.vlan == rules.untagged && !frame.tag_in_bytes;
}

// A tag that comes to the front where a frame leaves a trunk without one would lead it into a VLAN of its sender's
// choice. Behind an access port there is none but its own.
bool shows_tag(const packet::FrameView& view, std::uint16_t type) noexcept {
  return view.header.size() >= kMacBytes + 2 && packet::get16(view.header, kMacBytes) == type;
}

// What a rule leads to a port need not be of a VLAN that it has a part in; all else is.
inline bool leads_astray(const Frame& frame, const VlanRules& rules) noexcept {
  return frame.is_redirected() && !rules.carries(frame.vlan);
}

void count_lost(port::PortCounters& counters, const port::Delivery& delivery) noexcept {
  for (const port::DropReasonRow& row : port::kDropReasons) {
    if (const std::uint8_t frames = delivery.why[port::index_of(row.reason)]) counters.drops(row.reason).add(frames);
  }
}

/// A super-frame that its receiver does not take, so that it is cut on the way into its buffers.
inline bool is_cut(const packet::FrameView& view, const packet::Accepts& accepts) noexcept {
  switch (view.offload.gso) {
    case packet::Gso::none:
      return false;
    case packet::Gso::tcp4:
      return !accepts.gso_tcp4;
    case packet::Gso::tcp6:
      return !accepts.gso_tcp6;
    case packet::Gso::udp:
      return !accepts.gso_udp;
  }
  return false;
}

[[gnu::noinline]] void count_cut(port::Port& port, std::span<const packet::FrameView> frames) noexcept {
  const packet::Accepts accepts = port.accepts();
  std::uint64_t cut = 0;
  for (const packet::FrameView& view : frames)
    cut += is_cut(view, accepts) ? 1 : 0;
  if (cut != 0) port.counters().cut.add(cut);
}

[[gnu::always_inline]] inline packet::Accepts accepts_now(const Member& member) noexcept {
  packet::Accepts accepts = member.port.accepts();
  if (member.policy.max_frame != 0) [[unlikely]] {
    accepts.max_frame = std::min(accepts.max_frame, member.policy.max_frame);
    accepts.checksum = false;  // so that the pieces count of what the port would take whole
  }
  return accepts;
}

}  // namespace

// In a round of the port. A call for each receiver of a flood is felt.
[[gnu::always_inline]] inline port::Delivery Shard::deliver_now(Member& member,
                                                                std::span<const packet::FrameView> frames) noexcept {
  port::PortCounters& counters = member.port.counters();
  const std::uint32_t before = mark_->load(std::memory_order_relaxed);
  if (member.mark_out != 0) [[likely]]  // else the frames are still their sender's
    mark_->store(member.mark_out, std::memory_order_relaxed);
  state::commit_fence();
  const port::Delivery done = member.port.deliver(frames);
  state::commit_fence();
  mark_->store(before, std::memory_order_relaxed);
  if (suspicion_of(member.mark_out) != 0 && done.taken != 0) [[unlikely]]
    member.mark_out = port_of_mark(member.mark_out) | kDeliveryMark;
  std::uint64_t bytes = 0;
  for (const packet::FrameView& view : frames.first(done.taken))
    bytes += view.length;
  counters.tx_frames.add(done.taken - done.lost);
  counters.tx_bytes.add(bytes - done.lost_bytes);
  if (done.lost != 0) [[unlikely]]
    count_lost(counters, done);
  if (done.taken < frames.size()) counters.drops(port::DropReason::no_room).add(frames.size() - done.taken);
  return done;
}

inline void Shard::forward(Burst& burst, Share share) noexcept {
  const Frame& frame = burst.runs[share.run].frame;
  if (frame.is_flood) {
    flood(burst, share);
  } else if (Member* const member = local(frame.to)) {
    if (!queue(share, *member) && look_elsewhere(burst, share, *member)) flood_within_limit(burst, share);
  } else if (const ShardRef place = place_of_slot_[slot_of(frame.to)]; place == kMultiLane) {
    forward_to_lanes(burst, share);
  } else if (place != kHere && burst.sender != nullptr) {
    cross(peers_[place - 1u], burst, share);
  }
}

void Shard::forward(Burst& burst) noexcept {
  for (std::size_t run = 0; run < burst.run_count; ++run) {
    Share share = burst.first_share(run);
    while (share.count != 0) {
      forward(burst, share);
      if (burst.dropped == 0) [[likely]]
        break;
      share = burst.share_behind(share);
    }
  }
  for (Member* member : pending_)
    send_queued(burst, *member);
  pending_.clear();
}

bool Shard::begin_queue(Member& member) noexcept {
  if (!member.port.is_ready()) return false;
  begin_round(member);
  pending_.push_back(&member);
  return true;
}

void Shard::flood(const Burst& burst, Share share) noexcept {
  const Frame& frame = burst.runs[share.run].frame;
  for (const auto& member : members_) {
    if (member->id == frame.from || !member->vlan.carries(frame.vlan)) continue;
    if (member->multi_lane == nullptr) {
      queue_or_count(share, *member);
      continue;
    }
    for (std::uint8_t i = share.first; i < share.first + share.count; ++i) {
      if (takes_flood(*member->multi_lane, i, burst)) queue_or_count({i, 1, share.run}, *member);
    }
  }
  if (burst.sender == nullptr) return;  // it came over a link: the sender has told everyone
  for (Peer& peer : peers_)
    cross(peer, burst, share);
}

// Of a station that is known and cannot be reached: limit_floods() took it for one that can.
void Shard::flood_within_limit(Burst& burst, Share share) noexcept {
  if (burst.sender->policy.flood == nullptr) [[likely]]
    return flood(burst, share);
  for (std::uint8_t i = share.first; i < share.first + share.count; ++i) {
    if (burst.sender->policy.flood->pass({&burst.views[i], 1}, poller_.now_ns()) == 0) {
      burst.drop(i, port::DropReason::storm);
    } else {
      flood(burst, {i, 1, share.run});
    }
  }
}

// The port is not ready: its stations are forgotten before this round ends, and the frame is for an unknown one. Not so
// if it came over a link: then the poller where it entered learns of it first.
bool Shard::look_elsewhere(Burst& burst, Share share, Member& member) noexcept {
  member.has_stations = true;
  next_sweep_ns_ = 0;
  if (burst.sender == nullptr || burst.runs[share.run].frame.is_redirected()) {
    drop(member, views_of(share), port::DropReason::not_ready);
    return false;
  }
  burst.runs[share.run].frame.is_flood = true;
  return true;
}

void Shard::send_queued(const Burst& burst, Member& member) noexcept {
  if (member.has_policy) [[unlikely]] {
    leave_out(burst, member);
    if (member.shares == 0) return;
  }
  const packet::Accepts accepts = accepts_now(member);
  has_super_frame_ = false;
  auto frames = gather(burst, member, accepts);
  member.shares = 0;
  if (member.has_policy && member.policy.out != nullptr) [[unlikely]]
    frames = within_limit(member, frames);
  if (frames.empty()) return;
  const port::Delivery done = deliver_now(member, frames);
  if (has_super_frame_) [[unlikely]]
    count_cut(member.port, frames.first(done.taken));
  if (member.has_policy) [[unlikely]]
    look_at_delivery(member, frames, done);
}

// What the receiver's policy keeps from it, before anything is made ready for it.
void Shard::leave_out(const Burst& burst, Member& member) noexcept {
  if (member.policy.deaf_to != nullptr) leave_out_isolated(burst, member);
  if (member.policy.filtered_groups != 0) leave_out_groups(burst, member);
  if (member.policy.rules_out != nullptr) leave_out_by_rules(burst, member);
}

void Shard::leave_out_isolated(const Burst& burst, Member& member) noexcept {
  std::uint8_t kept = 0;
  for (const Share share : std::span{member.queue}.first(member.shares)) {
    if (member.policy.deaf_to->test(slot_of(burst.runs[share.run].frame.from))) {
      drop(member, views_of(share), port::DropReason::isolated);
    } else {
      member.queue[kept++] = share;
    }
  }
  member.shares = kept;
}

// Groups that stay on a link, of which the port gets some less than its switch lets pass.
void Shard::leave_out_groups(const Burst& burst, Member& member) noexcept {
  constexpr std::uint64_t kGroups = 0x0180'c200'0000;
  std::uint8_t kept = 0;
  for (const Share share : std::span{member.queue}.first(member.shares)) {
    const packet::Slice header = burst.views[share.first].header;
    const std::uint64_t to = static_cast<std::uint64_t>(packet::get16(header, 0)) << 32 | packet::get32(header, 2);
    if ((to & ~0xfull) == kGroups && (member.policy.filtered_groups >> (to & 0xf) & 1) != 0) {
      drop(member, views_of(share), port::DropReason::filtered);
    } else {
      member.queue[kept++] = share;
    }
  }
  member.shares = kept;
}

// Shares are cut where frames are dropped; there are never more of them than frames. It is the sender's time and part
// of the cache, as it is the sender who chooses what is looked for.
void Shard::leave_out_by_rules(const Burst& burst, Member& member) noexcept {
  const std::uint32_t slot = slot_of(member.id);
  const bool is_local = burst.sender != nullptr;
  const CachePart part = is_local ? burst.sender->flows : flows_of_links_;
  unsigned misses = 0;
  std::array<Share, port::kMaxBurst> kept;
  std::uint8_t count = 0;
  for (const Share share : std::span{member.queue}.first(member.shares)) {
    const Frame& frame = burst.runs[share.run].frame;
    bool goes_on = false;
    for (std::uint8_t i = share.first; i < share.first + share.count; ++i) {
      const bool may = rules_->may_leave(*member.policy.rules_out, part, slot, frame, burst.views[i], misses);
      if (!may) drop(member, {&burst.views[i], 1}, port::DropReason::rule);
      if (may && goes_on) ++kept[count - 1u].count;
      if (may && !goes_on) kept[count++] = {i, 1, share.run};
      goes_on = may;
    }
  }
  std::copy_n(kept.begin(), count, member.queue.begin());
  member.shares = count;
  if (is_local && misses != 0) charge_misses(*burst.sender, *member.policy.rules_out, misses);
}

std::span<const packet::FrameView> Shard::within_limit(Member& member,
                                                       std::span<const packet::FrameView> frames) noexcept {
  const std::size_t passed = member.policy.out->pass(frames, poller_.now_ns());
  if (passed < frames.size()) drop(member, frames.subspan(passed), port::DropReason::limited);
  return frames.first(passed);
}

// Mirrors and captures of a port that something was delivered to.
void Shard::look_at_delivery(Member& member, std::span<const packet::FrameView> frames,
                             const port::Delivery& delivery) noexcept {
  if (member.policy.captures != 0) capture_delivered(member, frames, delivery);
  if (member.policy.mirror_out != 0)
    mirror(member.policy.mirror_out, frames.first(delivery.taken), member.port.counters());
}

// What was for a port, and is not handed to it.
void Shard::drop(Member& member, std::span<const packet::FrameView> frames, port::DropReason why) noexcept {
  member.port.counters().drops(why).add(frames.size());
  if (member.policy.captures != 0) capture_dropped(member, frames, why);
}

packet::Accepts Shard::accepts_of(const Member& member) noexcept { return accepts_now(member); }
void Shard::deliver(Member& member, std::span<const packet::FrameView> frames) noexcept {
  const port::Delivery done = deliver_now(member, frames);
  if (member.policy.captures != 0) capture_delivered(member, frames, done);  // a destination is not mirrored
}

// As is_too_long(). It looks at what a super-frame is known by anyway, so noting one costs other frames nothing.
[[gnu::always_inline]] inline bool Shard::is_too_long_now(const packet::FrameView& view,
                                                          const packet::Accepts& accepts) noexcept {
  if (view.offload.gso == packet::Gso::none) [[likely]]
    return is_too_long(view, accepts);
  has_super_frame_ = true;
  return is_too_long(view, accepts);
}

// The frames for one port, side by side. They mostly are already: then nothing is copied.
std::span<const packet::FrameView> Shard::gather(const Burst& burst, Member& member,
                                                 const packet::Accepts& accepts) noexcept {
  const std::size_t first = member.queue[0].first;
  std::size_t end = first;
  for (std::size_t i = 0; i < member.shares; ++i) {
    const Share share = member.queue[i];
    const Frame& frame = burst.runs[share.run].frame;
    if (share.first != end || member.vlan.is_retagged || !has_right_tag(frame, member.vlan) ||
        leads_astray(frame, member.vlan)) {
      return rewrite(burst, member, accepts);
    }
    for (const std::size_t behind = end + share.count; end < behind; ++end) {
      if (is_too_long_now(burst.views[end], accepts)) return rewrite(burst, member, accepts);
    }
  }
  return std::span{burst.views}.subspan(first, end - first);
}

std::span<const packet::FrameView> Shard::rewrite(const Burst& burst, Member& member,
                                                  const packet::Accepts& accepts) noexcept {
  std::size_t kept = 0;
  for (const Share share : std::span{member.queue}.first(member.shares)) {
    const Frame& frame = burst.runs[share.run].frame;
    for (std::size_t i = 0; i < share.count; ++i) {
      gathered_[kept] = burst.views[share.first + i];
      if (!member.vlan.carries(frame.vlan) || !rewrite_tag(frame, member, kept)) {
        drop(member, {&gathered_[kept], 1}, port::DropReason::filtered);
      } else if (is_too_long_now(gathered_[kept], accepts)) {
        drop(member, {&gathered_[kept], 1}, port::DropReason::too_long);
      } else {
        ++kept;
      }
    }
  }
  return std::span{gathered_}.first(kept);
}

// The same for a port whose tags are not those of the switch.
bool Shard::retag(const Frame& frame, const VlanRules& rules, packet::FrameView& view,
                  std::span<std::byte> room) noexcept {
  if (frame.has_tag && frame.tag_in_bytes && !pop_tag(view, room)) return false;
  if (frame.has_tag) view.offload.has_vlan = false;
  if (rules.keeps_tags) return true;
  if (frame.vlan == rules.untagged) return !shows_tag(view, rules.has_service_tags ? kTypeServiceVlan : kTypeVlan);
  const std::uint16_t vlan = rules.map != nullptr ? rules.map->out[frame.vlan] : frame.vlan;
  if (vlan == kNoVlan) return false;
  const auto tci = static_cast<std::uint16_t>((frame.tci & kPriorityMask) | vlan);
  if (rules.has_service_tags) return push_tag(view, kTypeServiceVlan, tci, room);
  view.offload.has_vlan = true;
  view.offload.vlan_tci = tci;
  return true;
}

// Gives gathered_[place] the tag that the port is to see: its own VLAN without, every other with (beside the bytes).
bool Shard::rewrite_tag(const Frame& frame, const Member& member, std::size_t place) noexcept {
  packet::FrameView& view = gathered_[place];
  if (member.vlan.is_retagged) [[unlikely]]
    return retag(frame, member.vlan, view, stripped_[place]);
  const bool leaves_untagged = frame.vlan == member.vlan.untagged;
  const bool has_right_tag = frame.has_tag && (frame.tci & kVidMask) == frame.vlan;
  if (!leaves_untagged && has_right_tag) return true;
  if (frame.has_tag && frame.tag_in_bytes && !pop_tag(view, stripped_[place])) return false;
  view.offload.has_vlan = !leaves_untagged;
  if (leaves_untagged) return member.vlan.mode == VlanMode::access || !shows_tag(view, kTypeVlan);
  view.offload.vlan_tci = static_cast<std::uint16_t>((frame.tci & kPriorityMask) | frame.vlan);
  return true;
}

// The one place where a frame is copied without reaching a receiver.
void Shard::cross(Peer& peer, const Burst& burst, Share share) noexcept {
  const Frame& frame = burst.runs[share.run].frame;
  Item item{.frame = nullptr,
            .source = frame.source,
            .heard_ns = poller_.now_ns(),
            .from = frame.from,
            .to = frame.to,
            .vlan = frame.vlan,
            .tci = frame.tci,
            .is_flood = frame.is_flood,
            .has_tag = frame.has_tag,
            .tag_in_bytes = frame.tag_in_bytes,
            .mark = frame.mark};
  for (std::size_t i = 0; i < share.count; ++i) {
    packet::Pool::Packet packet = pool_->store(burst.views[share.first + i]);
    if (packet) {
      item.frame = packet.release();
      if (peer.to->items.push(item)) {
        peer.is_touched = true;
        continue;
      }
      pool_->give_back(*item.frame);
    }
    burst.sender->port.counters().drops(port::DropReason::ring_full).add();
    lost_on_links_ |= 1u << (share.first + i);
  }
}

void Shard::end_rounds() noexcept {
  for (Member* member : in_round_) {
    member->is_in_round = false;
    member->port.end_round();
  }
  in_round_.clear();
}

void Shard::wake_peers() noexcept {
  for (Peer& peer : peers_) {
    if (!peer.is_touched) continue;
    peer.is_touched = false;
    peer.shard->poller().wake();
  }
}

}  // namespace vmux::switching

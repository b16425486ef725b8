// SPDX-License-Identifier: BSD-3-Clause
// The switch on one poller: its ports, its copy of the MAC table, and the links to the shards of other pollers.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "packet/pool.hpp"
#include "switch/mac_table.hpp"
#include "switch/member.hpp"
#include "vmux/runtime/poller.hpp"
#include "vmux/runtime/spsc_ring.hpp"

namespace vmux::switching {

/// What travels between shards. A frame lies in the sender's pool and goes back there; without one the item only tells
/// where a station is, or without that either, that all stations of a port are to be forgotten.
struct Item {
  packet::Pool::Slot* frame = nullptr;
  StationKey source = 0;       ///< 0: not to be learnt
  std::uint64_t heard_ns = 0;  ///< when `source` was heard
  PortId from;
  PortId to;  ///< unicast
  std::uint16_t vlan = 0;
  std::uint16_t tci = 0;
  bool is_flood = false, has_tag = false, tag_in_bytes = false;
};

/// One direction between two pollers. The switch owns it and frees it when neither shard runs any more.
struct Link {
  static constexpr std::size_t kItems = 1024;
  explicit Link(std::size_t packets) : items(kItems), returns(packets) {}
  runtime::SpscRing<Item> items;                   ///< sender to receiver
  runtime::SpscRing<packet::Pool::Slot*> returns;  ///< receiver to sender: never full, it holds the whole pool
};

/// Made on a control thread; from the addition of the task on, all of it is the poller's.
class Shard final : public runtime::Task {
 public:
  static constexpr std::size_t kPackets = 2048;  ///< frames under way to other pollers at once
  static constexpr std::size_t kSegments = 8192;
  static constexpr ShardRef kMultiLane = 0xffff;

  Shard(runtime::Poller& poller, const SwitchOptions& options, std::uint64_t seed);

  unsigned poll() noexcept override;
  [[nodiscard]] bool needs_polling() const noexcept override;

  // On the poller's thread, between rounds:
  void add_peer(Shard& peer, Link& to_peer, Link& from_peer);
  /// A port of any shard: on which shards its lanes are (mostly there is one), and how many addresses may be learnt
  /// from it. Comes before add_member().
  void admit(PortId id, std::span<Shard* const> lanes, std::shared_ptr<const port::Steering> steering,
             std::uint32_t mac_limit);
  /// A port, or the lane that this shard has.
  void add_member(PortId id, port::Port& port, const VlanRules& rules);
  void remove_member(PortId id) noexcept;
  void set_vlan(PortId id, const VlanRules& rules) noexcept;
  /// Of the shard that has lane 0: hands its steering to all peers once more.
  void republish_steering(PortId id) noexcept;
  /// Forgets the addresses of a port; frames from it that are still on a link are delivered first.
  void forget(PortId id) noexcept;
  /// The port is gone: forgets all about it.
  void dismiss(PortId id) noexcept;
  [[nodiscard]] std::size_t copy_macs(std::span<MacTable::Entry> into) const noexcept;

  [[nodiscard]] runtime::Poller& poller() const noexcept { return poller_; }

 private:
  struct Peer {
    Shard* shard;  // another poller's: for its address, and its poller's wake() and post() only
    Link* to;
    Link* from;
    bool is_touched = false;  // items were pushed since the last wake()
  };
  /// One frame of a burst, classified.
  struct Frame {
    StationKey source = 0;
    PortId from;
    PortId to;
    std::uint16_t vlan = 0;
    std::uint16_t tci = 0;  // of its tag, if any
    bool is_flood = false, is_dropped = false;
    bool has_tag = false, tag_in_bytes = false;
  };

  /// What the frame before this one in the burst was found to be: most are alike.
  struct Last {
    StationKey source = 0, to = 0;
    PortId port;
    bool is_known = false;
  };

  // shard.cpp: rounds and links
  unsigned serve(Member& member) noexcept;
  unsigned serve_busy() noexcept;
  unsigned serve_quiet(bool is_busy) noexcept;
  unsigned receive(Peer& peer) noexcept;
  void reclaim() noexcept;
  void housekeep() noexcept;
  void forget_the_fallen() noexcept;
  [[nodiscard]] bool tell_to_forget(PortId id) noexcept;

  // lanes.cpp: ports that are spread over pollers
  [[nodiscard]] ShardRef place_of(const Shard& shard) const noexcept;
  [[nodiscard]] MultiLane* multi_lane(PortId id) const noexcept;
  void follow_steering() noexcept;
  void tell_of_steering(MultiLane& multi_lane) noexcept;
  [[nodiscard]] ShardRef any_lane(const MultiLane& multi_lane, const packet::FrameView& view) const noexcept;
  [[nodiscard]] bool takes_flood(const MultiLane& multi_lane, std::size_t index) const noexcept;
  [[nodiscard]] std::size_t forward_run(std::size_t first, std::size_t count) noexcept;
  void forward_to(const MultiLane& multi_lane, ShardRef place, std::size_t index) noexcept;

  // classify.cpp: what a frame is and where it goes
  void classify(Member& member, const packet::FrameView& view, Frame& frame) noexcept;
  /// True when all that classify() looks at is as in this frame before: addresses, type, and a tag if there is one
  /// (what stands behind a tag counts if that is for a priority only).
  [[nodiscard]] bool is_like(std::size_t index, const packet::FrameView& view) const noexcept {
    constexpr std::size_t kLooked = 18;  // bytes of the header
    const packet::FrameView& other = peeked_[index];
    return !frames_[index].is_dropped && !view.offload.has_vlan && !other.offload.has_vlan &&
           view.header.size() == other.header.size() && view.header.size() >= kLooked &&
           std::memcmp(view.header.data(), other.header.data(), 16) == 0 &&
           (!frames_[index].has_tag || (frames_[index].tci & 0x0fff) != 0);
  }
  void learn(const Frame& frame, std::uint64_t heard_ns) noexcept;
  void look_up(StationKey to) noexcept;
  void tell_peers(const Frame& frame, MacTable::Entry& entry) noexcept;

  // forward.cpp: from a classified burst to ports and links
  void forward(std::size_t count) noexcept;
  /// False: the port is not ready. Asked once for a burst.
  [[nodiscard]] bool queue(std::size_t index, Member& member) noexcept {
    if (member.queued == 0) {
      if (!member.port.is_ready()) return false;
      pending_.push_back(&member);
    }
    member.queue[member.queued++] = static_cast<std::uint8_t>(index);
    return true;
  }
  void queue_or_count(std::size_t index, Member& member) noexcept {
    if (!queue(index, member)) member.port.counters().drops(port::DropReason::not_ready).add();
  }
  void flood(std::size_t index) noexcept;
  [[nodiscard]] bool look_elsewhere(Frame& frame, Member& member) noexcept;
  void send_queued(Member& member) noexcept;
  [[nodiscard]] std::span<const packet::FrameView> gather(Member& member, const packet::Accepts& accepts) noexcept;
  [[nodiscard]] bool rewrite_tag(const Frame& frame, const Member& member, std::size_t place) noexcept;
  void cross(Peer& peer, std::size_t index) noexcept;
  void flush_all() noexcept;
  [[nodiscard]] Member* local(PortId id) const noexcept {
    Member* const member = by_slot_[slot_of(id)];
    return member != nullptr && member->id == id ? member : nullptr;
  }

  runtime::Poller& poller_;
  MacTable macs_;
  const std::uint64_t republish_ns_;  // stations are told to the peers again after so long
  const std::uint16_t forwarded_groups_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<Member*> by_slot_;  // whole ports only: a lane is found by its MultiLane
  std::vector<Peer> peers_;
  std::vector<ShardRef> place_of_slot_;                  // of whole ports; kMultiLane: see multi_lanes_
  std::vector<std::unique_ptr<MultiLane>> multi_lanes_;  // by slot
  std::vector<MultiLane*> homes_;                        // those whose lane 0 is here
  std::unique_ptr<packet::Pool> pool_;                   // made with the first peer
  std::vector<Member*> pending_, touched_;               // with queued frames; delivered to and not yet flushed
  std::vector<Member*> busy_, quiet_;                    // all members: by whether they sent anything of late
  std::uint64_t next_sweep_ns_ = 0, next_look_ns_ = 0;
  std::size_t first_ = 0;       // of busy_, that has the first turn
  std::size_t next_quiet_ = 0;  // of quiet_, to be looked at next
  std::size_t due_looks_ = 0;   // at quiet ports, in eighths
  Member* sender_ = nullptr;    // of the frames of the current burst; nullptr: they came over a link,
  ShardRef origin_ = kHere;     // that of this peer

  std::array<packet::FrameView, port::kMaxBurst> peeked_, gathered_;
  std::array<Frame, port::kMaxBurst> frames_;
  Last last_;
  std::array<std::array<std::byte, packet::kLongestHeader>, port::kMaxBurst> stripped_;  // headers without their tag
};

}  // namespace vmux::switching

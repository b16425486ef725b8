// SPDX-License-Identifier: BSD-3-Clause
// The switch on one poller: its ports, its copy of the MAC table, and the links to the shards of other pollers.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "packet/pool.hpp"
#include "switch/mac_table.hpp"
#include "switch/member.hpp"
#include "switch/stages/burst.hpp"
#include "switch/turn_times.hpp"
#include "vmux/runtime/poller.hpp"
#include "vmux/runtime/spsc_ring.hpp"

namespace vmux::switching {

class RuleStage;
enum class Way : std::uint8_t;

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
  std::uint8_t mark = 0;

  /// True when this says of its frame what `other` says of its own.
  [[nodiscard]] bool is_like(const Item& other) const noexcept {
    return source == other.source && heard_ns == other.heard_ns && from == other.from && to == other.to &&
           vlan == other.vlan && tci == other.tci && is_flood == other.is_flood && has_tag == other.has_tag &&
           tag_in_bytes == other.tag_in_bytes && mark == other.mark;
  }
};

/// One direction between two pollers. The switch owns it and frees it when neither shard runs any more.
struct Link {
  static constexpr std::size_t kItems = 1024;
  explicit Link(std::size_t packets) : items(kItems), returns(packets) {}
  runtime::SpscRing<Item> items;                   ///< sender to receiver
  runtime::SpscRing<packet::Pool::Slot*> returns;  ///< receiver to sender: never full, it holds the whole pool
};

/// What travels for mirrors: apart from frames that are forwarded, whose way it cannot fill.
struct Copy {
  packet::Pool::Slot* frame = nullptr;  ///< in the sender's pool of copies
  PortId to;
};
struct CopyLink {
  explicit CopyLink(std::size_t packets) : copies(packets), returns(packets) {}
  runtime::SpscRing<Copy> copies;                  ///< sender to receiver
  runtime::SpscRing<packet::Pool::Slot*> returns;  ///< receiver to sender; neither is ever full
};

/// Made on a control thread; from the addition of the task on, all of it is the poller's.
class Shard final : public runtime::Task {
 public:
  static constexpr std::size_t kCopies = 1024;  ///< for mirrors on other pollers, under way at once
  static constexpr std::size_t kCopySegments = 4096;
  static constexpr std::size_t kPackets = 2048;  ///< frames under way to other pollers at once
  static constexpr std::size_t kSegments = 8192;
  static constexpr ShardRef kMultiLane = 0xffff;

  Shard(runtime::Poller& poller, const SwitchOptions& options, std::uint64_t seed);
  ~Shard() override;

  unsigned poll() noexcept override;
  [[nodiscard]] bool needs_polling() const noexcept override;

  // On the poller's thread, between rounds:
  void add_peer(Shard& peer, Link& to_peer, Link& from_peer);
  /// A port of any shard: on which shards its lanes are (mostly there is one), and how many addresses may be learnt
  /// from it. Comes before add_member().
  void admit(PortId id, std::span<Shard* const> lanes, std::shared_ptr<const port::Steering> steering,
             std::uint32_t mac_limit);
  /// A port, or the lane that this shard has.
  void add_member(PortId id, port::Port& port, const VlanRules& rules, const Policy& policy, std::uint32_t mark = 0);
  void remove_member(PortId id) noexcept;
  void set_vlan(PortId id, const VlanRules& rules) noexcept;
  void set_policy(PortId id, const Policy& policy) noexcept;
  /// The destination of that number. Before a policy names it, and until none does.
  void set_mirror(std::size_t number, PortId to) noexcept { mirrors_[number] = to; }
  /// Where the capture of that number looks. Before a policy names it, and until none does.
  void set_tap(std::size_t number, Tap* tap) noexcept { taps_[number] = tap; }
  /// Takes what rules need, if it has not got it. Before a policy has rules; it is there from then on.
  void take_rule_stage(std::unique_ptr<RuleStage>& stage) noexcept;
  [[nodiscard]] const RuleStage* rule_stage() const noexcept { return rules_.get(); }
  /// Where copies go to another shard, with the pool that they lie in if there is none yet; and where they come from
  /// it. `peer` has been added.
  void send_copies_by(const Shard& peer, CopyLink& link, std::unique_ptr<packet::Pool>& pool) noexcept;
  void take_copies_from(const Shard& peer, CopyLink& link) noexcept;
  /// Its ageing time and the groups that pass.
  void set_options(const SwitchOptions& options) noexcept;
  void hold(bool is_held) noexcept { is_held_ = is_held; }  ///< Switch::hold()
  /// Of the shard that has lane 0: hands its steering to all peers once more.
  void republish_steering(PortId id) noexcept;
  /// Stations that are behind a port of any shard, whoever is heard with their addresses.
  void pin(PortId id, std::span<const StationKey> stations) noexcept { macs_.pin(id, stations); }
  /// Forgets the addresses of a port; frames from it that are still on a link are delivered first.
  void forget(PortId id) noexcept;
  /// The port is gone: forgets all about it.
  void dismiss(PortId id) noexcept;
  [[nodiscard]] std::size_t copy_macs(std::span<MacTable::Entry> into) const noexcept;

  [[nodiscard]] runtime::Poller& poller() const noexcept { return poller_; }
  [[nodiscard]] const TurnTimes& turn_times() const noexcept { return turn_times_; }  ///< any thread

 private:
  struct Peer {
    Shard* shard;  // another poller's: for its address, and its poller's wake() and post() only
    Link* to;
    Link* from;
    bool is_touched = false;          // items were pushed since the last wake()
    CopyLink* copies_to = nullptr;    // once there was a mirror that takes it
    CopyLink* copies_from = nullptr;  // the same
  };
  // shard.cpp: rounds and links
  unsigned serve(Member& member) noexcept;
  unsigned serve_untimed(Member& member) noexcept;
  [[nodiscard]] std::size_t take_limited(Member& member) noexcept;
  void limit_located(Member& member, Burst& burst) noexcept;
  void hold_beyond_share(Member& member, Burst& burst) noexcept;
  static void give_back_charges(const Policy& policy, const Burst& burst, std::size_t from) noexcept;
  void follow_rules(Member& member, Burst& burst) noexcept;
  void charge_misses(Member& member, const RuleTable& table, unsigned misses) noexcept;
  [[nodiscard]] bool pays_debt(Member& member) noexcept;
  void lessen_suspicion(Member& member, unsigned done) noexcept;
  void deal_flows() noexcept;
  unsigned serve_busy() noexcept;
  unsigned serve_quiet(bool is_busy) noexcept;
  unsigned receive(Peer& peer) noexcept;
  void reclaim() noexcept;
  void housekeep() noexcept;
  void forget_the_fallen() noexcept;
  void begin_round(Member& member) noexcept {
    if (member.is_in_round) return;
    member.is_in_round = true;
    in_round_.push_back(&member);
    member.port.begin_round();
  }
  void end_rounds() noexcept;
  void wake_peers() noexcept;
  [[nodiscard]] bool tell_to_forget(PortId id) noexcept;

  // lanes.cpp: ports that are spread over pollers
  [[nodiscard]] ShardRef place_of(const Shard& shard) const noexcept;
  [[nodiscard]] MultiLane* multi_lane(PortId id) const noexcept;
  void follow_steering() noexcept;
  void tell_of_steering(MultiLane& multi_lane) noexcept;
  [[nodiscard]] ShardRef any_lane(const MultiLane& lanes, const packet::FrameView& view,
                                  const Burst& burst) const noexcept;
  [[nodiscard]] bool takes_flood(const MultiLane& lanes, std::size_t index, const Burst& burst) const noexcept;
  void forward_to_lanes(const Burst& burst, Share share) noexcept;

  // locate.cpp: where the stations of a burst are
  void locate(Burst& burst) noexcept;
  [[nodiscard]] bool learn_here(const Frame& frame, std::uint64_t now_ns) noexcept;
  void tell_peers(const Frame& frame, MacTable::Entry& entry) noexcept;

  // forward.cpp: from a burst to ports and links
  void forward(Burst& burst) noexcept;
  void forward(Burst& burst, Share share) noexcept;
  /// False: the port is not ready. Asked once for a burst.
  [[nodiscard]] bool queue(Share share, Member& member) noexcept {
    if (member.shares == 0 && !begin_queue(member)) return false;
    member.queue[member.shares++] = share;
    return true;
  }
  [[nodiscard]] bool begin_queue(Member& member) noexcept;
  [[nodiscard]] std::span<const packet::FrameView> views_of(Share share) const noexcept {
    return std::span{burst_.views}.subspan(share.first, share.count);
  }
  void queue_or_count(Share share, Member& member) noexcept {
    if (!queue(share, member)) drop(member, views_of(share), port::DropReason::not_ready);
  }
  void flood(const Burst& burst, Share share) noexcept;
  void flood_within_limit(Burst& burst, Share share) noexcept;
  [[nodiscard]] bool look_elsewhere(Burst& burst, Share share, Member& member) noexcept;
  static packet::Accepts accepts_of(const Member& member) noexcept;
  [[nodiscard]] port::Delivery deliver_now(Member& member, std::span<const packet::FrameView> frames) noexcept;
  void deliver(Member& member, std::span<const packet::FrameView> frames) noexcept;
  void look_at_delivery(Member& member, std::span<const packet::FrameView> frames,
                        const port::Delivery& delivery) noexcept;
  void drop(Member& member, std::span<const packet::FrameView> frames, port::DropReason why) noexcept;
  void leave_out(const Burst& burst, Member& member) noexcept;
  void leave_out_isolated(const Burst& burst, Member& member) noexcept;
  void leave_out_groups(const Burst& burst, Member& member) noexcept;
  void leave_out_by_rules(const Burst& burst, Member& member) noexcept;
  [[nodiscard]] std::span<const packet::FrameView> within_limit(Member& member,
                                                                std::span<const packet::FrameView> frames) noexcept;
  void send_queued(const Burst& burst, Member& member) noexcept;
  [[nodiscard]] std::span<const packet::FrameView> gather(const Burst& burst, Member& member,
                                                          const packet::Accepts& accepts) noexcept;
  [[nodiscard]] std::span<const packet::FrameView> rewrite(const Burst& burst, Member& member,
                                                           const packet::Accepts& accepts) noexcept;
  [[nodiscard]] bool is_too_long_now(const packet::FrameView& view, const packet::Accepts& accepts) noexcept;
  [[nodiscard]] static bool retag(const Frame& frame, const VlanRules& rules, packet::FrameView& view,
                                  std::span<std::byte> room) noexcept;
  [[nodiscard]] bool rewrite_tag(const Frame& frame, const Member& member, std::size_t place) noexcept;
  void cross(Peer& peer, const Burst& burst, Share share) noexcept;

  // capture.cpp: what captures see, beside all that is forwarded
  template <class Look>
  void with_taps(const Member& member, Way way, Look&& look) noexcept;
  void capture_sent(const Burst& burst) noexcept;
  void capture_delivered(const Member& member, std::span<const packet::FrameView> frames,
                         const port::Delivery& delivery) noexcept;
  void capture_dropped(const Member& member, std::span<const packet::FrameView> frames, port::DropReason why) noexcept;

  // mirror.cpp: copies, behind all that is forwarded
  void mirror_marked(const Burst& burst) noexcept;
  void mirror(MirrorSet to, std::span<const packet::FrameView> frames, port::PortCounters& counters) noexcept;
  void mirror_to_lanes(const MultiLane& to, std::span<const packet::FrameView> frames,
                       port::PortCounters& counters) noexcept;
  void hand_copies(Member& to, std::span<const packet::FrameView> frames) noexcept;
  void cross_copies(Peer& peer, PortId to, std::span<const packet::FrameView> frames,
                    port::PortCounters& counters) noexcept;
  [[nodiscard]] unsigned serve_copies() noexcept;
  [[nodiscard]] unsigned receive_copies(Peer& peer) noexcept;
  [[nodiscard]] Member* member_of(PortId id) const noexcept;
  [[nodiscard]] Peer& peer_of(const Shard& shard) noexcept { return peers_[place_of(shard) - 1u]; }

  [[nodiscard]] Member* local(PortId id) const noexcept {
    Member* const member = by_slot_[slot_of(id)];
    return member != nullptr && member->id == id ? member : nullptr;
  }

  runtime::Poller& poller_;
  MacTable macs_;
  std::uint64_t republish_ns_;  // stations are told to the peers again after so long
  std::uint16_t forwarded_groups_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<Member*> by_slot_;  // whole ports only: a lane is found by its MultiLane
  std::vector<Peer> peers_;
  std::vector<ShardRef> place_of_slot_;                  // of whole ports; kMultiLane: see multi_lanes_
  std::vector<std::unique_ptr<MultiLane>> multi_lanes_;  // by slot
  std::vector<MultiLane*> homes_;                        // those whose lane 0 is here
  std::unique_ptr<packet::Pool> pool_;                   // made with the first peer
  std::unique_ptr<packet::Pool> copies_;                 // those for mirrors on other pollers
  std::array<PortId, kMaxMirrors> mirrors_{};            // by number
  bool has_copy_links_ = false;
  std::unique_ptr<RuleStage> rules_;  // made with the first rule that a port here follows
  CachePart flows_of_links_;          // of rules for what comes from other pollers
  bool is_held_ = false;
  std::array<Tap*, kMaxCaptures> taps_{};    // by number
  std::uint32_t lost_on_links_ = 0;          // a bit for each frame of a burst whose sender has a policy
  std::vector<Member*> pending_, in_round_;  // with queued frames; in a round, but for the sender
  std::vector<Member*> busy_, quiet_;        // all members: by whether they sent anything of late
  std::uint64_t next_sweep_ns_ = 0, next_look_ns_ = 0;
  std::size_t first_ = 0;       // of busy_, that has the first turn
  std::size_t next_quiet_ = 0;  // of quiet_, to be looked at next
  std::size_t due_looks_ = 0;   // at quiet ports, in eighths
  TurnTimes turn_times_;
  std::atomic<std::uint32_t> unseen_mark_{0};
  std::atomic<std::uint32_t>* mark_ =
      &unseen_mark_;  // of the member that is served or delivered to, for whoever watches over the poller

  Burst burst_;                   // here and not on the stack: setting all of it up costs as much as forwarding
  bool has_super_frame_ = false;  // what was gathered last
  std::array<packet::FrameView, port::kMaxBurst> gathered_;  // for a port that does not take the burst as it is
  HeaderRooms stripped_;  // headers with another tag than they came with: on the way out,
  HeaderRooms entered_;   // and in
};

}  // namespace vmux::switching

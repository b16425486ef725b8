// SPDX-License-Identifier: BSD-3-Clause
// Rounds: every port gets a bounded turn, then the links of the other pollers.
#include "switch/shard.hpp"

#include <algorithm>

#include "state/commit.hpp"
#include "switch/policy/meter.hpp"
#include "switch/policy/share.hpp"
#include "switch/rules/rule_stage.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::switching {
namespace {

constexpr unsigned kBurstsPerTurn = 2;      // of a port, or a link, in one round
constexpr std::uint32_t kQuietRounds = 64;  // a port without a frame for so many rounds is quiet: it is looked at...
constexpr std::size_t kQuietStep = 8;       // ...in every 8th busy round,
constexpr std::size_t kQuietLooks = 2;      // and with how many others it may be: this many looks in such a round
constexpr std::uint64_t kSweepEvery_ns = 100'000'000;
constexpr std::uint32_t kSweepCount = 128;
constexpr std::uint64_t kLookEvery_ns = 1'000'000;  // in rounds that find nothing

void count_sent(const Burst& burst, port::PortCounters& counters) noexcept {
  std::uint64_t bytes = 0;
  for (const packet::FrameView& view : std::span{burst.views}.first(burst.count))
    bytes += view.length;
  counters.rx_frames.add(burst.count);
  counters.rx_bytes.add(bytes);
  for (std::size_t i = 0, left = burst.dropped; left > 0 && i < burst.count; ++i) {
    if (!burst.is_dropped(i)) continue;
    counters.drops(burst.results[i].dropped).add();
    --left;
  }
}

Frame frame_of(const Item& item) noexcept {
  return {.source = item.source,
          .from = item.from,
          .to = item.to,
          .vlan = item.vlan,
          .tci = item.tci,
          .is_flood = item.is_flood,
          .has_tag = item.has_tag,
          .tag_in_bytes = item.tag_in_bytes,
          .mark = item.mark};
}

}  // namespace

Shard::Shard(runtime::Poller& poller, const SwitchOptions& options, std::uint64_t seed)
    : poller_(poller),
      macs_(options.mac_capacity, options.ageing_seconds * 1'000'000'000ull, seed),
      republish_ns_(options.ageing_seconds * 1'000'000'000ull / 4),
      forwarded_groups_(options.forwarded_groups),
      by_slot_(kMaxPorts, nullptr),
      place_of_slot_(kMaxPorts, kHere),
      multi_lanes_(kMaxPorts) {
  members_.reserve(kMaxPorts);
  busy_.reserve(kMaxPorts);
  quiet_.reserve(kMaxPorts);
  pending_.reserve(kMaxPorts);
  in_round_.reserve(kMaxPorts);
}

Shard::~Shard() = default;

void Shard::add_peer(Shard& peer, Link& to_peer, Link& from_peer) {
  if (!pool_) pool_ = std::make_unique<packet::Pool>(kPackets, kSegments);
  peers_.push_back({.shard = &peer, .to = &to_peer, .from = &from_peer});
}

void Shard::admit(PortId id, std::span<Shard* const> lanes, std::shared_ptr<const port::Steering> steering,
                  std::uint32_t mac_limit) {
  const std::uint32_t slot = slot_of(id);
  macs_.set_limit(slot, mac_limit);
  place_of_slot_[slot] = lanes.size() == 1 ? place_of(*lanes.front()) : kMultiLane;
  if (lanes.size() == 1) return;
  multi_lanes_[slot] = std::make_unique<MultiLane>();
  multi_lanes_[slot]->id = id;
  multi_lanes_[slot]->steering = std::move(steering);
  multi_lanes_[slot]->unreported = peers_.size();
  for (const Shard* const shard : lanes)
    multi_lanes_[slot]->lanes.push_back(place_of(*shard));
}

void Shard::add_member(PortId id, port::Port& port, const VlanRules& rules, const Policy& policy, std::uint32_t mark) {
  if (auto* const sign = poller_.burst_sign()) mark_ = sign;
  MultiLane* const lanes = multi_lane(id);
  members_.push_back(std::make_unique<Member>(id, port, rules, lanes));
  Member* const member = members_.back().get();
  const std::uint32_t number = port_of_mark(mark);
  const bool is_of_delivery = (mark & kDeliveryMark) != 0;
  member->mark_in = is_of_delivery ? number : mark;
  if (number != 0) member->mark_out = is_of_delivery ? mark : number | kDeliveryMark;
  member->since_ns = monotonic_ns();
  set_policy(id, policy);
  busy_.push_back(member);
  if (lanes == nullptr) {
    by_slot_[slot_of(id)] = member;
    return;
  }
  lanes->here = member;
  if (lanes->lanes.front() == kHere) homes_.push_back(lanes);
}

void Shard::remove_member(PortId id) noexcept {
  by_slot_[slot_of(id)] = nullptr;
  if (MultiLane* const lanes = multi_lane(id)) {
    lanes->here = nullptr;
    std::erase(homes_, lanes);
  }
  const auto is_it = [id](const Member* member) { return member->id == id; };
  std::erase_if(busy_, is_it);
  std::erase_if(quiet_, is_it);
  std::erase_if(members_, [id](const auto& member) {
    if (member->id != id) return false;
    member->port.released();
    return true;
  });
}

void Shard::set_vlan(PortId id, const VlanRules& rules) noexcept {
  for (const auto& member : members_) {
    if (member->id == id) member->vlan = rules;
  }
}

void Shard::set_policy(PortId id, const Policy& policy) noexcept {
  for (const auto& member : members_) {
    if (member->id != id) continue;
    member->policy = policy;
    member->has_policy = policy.is_set();
    if (!policy.may_hold()) member->is_held = false;
    member->held_until_ns = 0;
  }
  deal_flows();
}

void Shard::take_rule_stage(std::unique_ptr<RuleStage>& stage) noexcept {
  if (!rules_) rules_ = std::move(stage);
}

// Each port that rules are about has a part of the cache, all of the same size, and what comes from other pollers has
// one: a guest who sends a flow for each frame pushes out its own.
void Shard::deal_flows() noexcept {
  if (!rules_) return;
  const auto has_rules = [](const auto& member) {
    return member->policy.rules_in != nullptr || member->policy.rules_out != nullptr;
  };
  const auto count = 1 + static_cast<std::size_t>(std::count_if(members_.begin(), members_.end(), has_rules));
  // What senders without rules of their own look up for their receivers lies with what comes over links.
  flows_of_links_ = FlowCache::part(0, count);
  std::size_t index = 0;
  for (const auto& member : members_)
    member->flows = has_rules(member) ? FlowCache::part(++index, count) : flows_of_links_;
}

void Shard::set_options(const SwitchOptions& options) noexcept {
  const std::uint64_t ageing_ns = options.ageing_seconds * 1'000'000'000ull;
  macs_.set_ageing(ageing_ns);
  republish_ns_ = ageing_ns / 4;
  forwarded_groups_ = options.forwarded_groups;
}

void Shard::forget(PortId id) noexcept {
  for (Peer& peer : peers_) {
    for (std::size_t taken = 0; taken < Link::kItems;) {
      const unsigned count = receive(peer);
      if (count == 0) break;
      taken += count;
    }
  }
  macs_.forget(id);
}

void Shard::dismiss(PortId id) noexcept {
  forget(id);
  macs_.pin(id, {});
  if (multi_lane(id) != nullptr) multi_lanes_[slot_of(id)].reset();
}

std::size_t Shard::copy_macs(std::span<MacTable::Entry> into) const noexcept {
  return macs_.copy(into, poller_.now_ns());
}

bool Shard::needs_polling() const noexcept {
  return std::any_of(members_.begin(), members_.end(),
                     [](const auto& member) {
                       return member->is_held || member->rule_debt != 0 || member->port.needs_polling();
                     }) ||
         std::any_of(homes_.begin(), homes_.end(),
                     [this](const MultiLane* multi_lane) { return multi_lane->unreported < peers_.size(); });
}

unsigned Shard::poll() noexcept {
  if (is_held_) [[unlikely]]
    return 0;
  if (!homes_.empty()) follow_steering();
  unsigned done = serve_busy();
  if (!peers_.empty()) {
    for (Peer& peer : peers_)
      done += receive(peer);
    reclaim();
    if (has_copy_links_) [[unlikely]]
      done += serve_copies();
  }
  done += serve_quiet(done > 0);
  const std::uint64_t now_ns = poller_.now_ns();
  if (now_ns >= next_sweep_ns_) {
    housekeep();
  } else if (done == 0 && now_ns >= next_look_ns_) {  // it may be the last round before the poller sleeps
    forget_the_fallen();
  }
  return done;
}

unsigned Shard::serve_busy() noexcept {
  if (++first_ >= busy_.size()) first_ = 0;  // another port begins in every round: room at a receiver is shared fairly
  unsigned done = 0;
  bool has_fallen_quiet = false;
  std::size_t at = first_;
  for (std::size_t i = busy_.size(); i > 0; --i) {
    Member& member = *busy_[at];
    done += serve(member);
    has_fallen_quiet |= member.quiet_rounds >= kQuietRounds;
    if (++at == busy_.size()) at = 0;
  }
  if (has_fallen_quiet) {  // not sooner: each port has its turn in each round
    std::erase_if(busy_, [this](Member* member) {
      if (member->quiet_rounds < kQuietRounds) return false;
      quiet_.push_back(member);
      return true;
    });
  }
  return done;
}

// Looking at idle ports is what a crowd would cost an active one, so they take turns. Only when there was nothing else
// to do are all of them looked at: a round that finds nothing may be the last one before the poller sleeps.
unsigned Shard::serve_quiet(bool is_busy) noexcept {
  std::size_t looks = quiet_.size();
  if (is_busy) {
    due_looks_ += looks;
    looks = std::min(due_looks_ / kQuietStep, kQuietLooks);
    due_looks_ %= kQuietStep;
  }
  unsigned done = 0;
  for (; looks > 0; --looks) {
    if (next_quiet_ >= quiet_.size()) next_quiet_ = 0;
    Member& member = *quiet_[next_quiet_];
    done += serve(member);
    if (member.quiet_rounds != 0) {
      ++next_quiet_;
      continue;
    }
    busy_.push_back(&member);
    quiet_[next_quiet_] = quiet_.back();
    quiet_.pop_back();
  }
  return done;
}

// What may not pass yet is left in the port, which is asked for it again.
std::size_t Shard::take_limited(Member& member) noexcept {
  const std::uint64_t now_ns = poller_.now_ns();
  if (member.is_held && now_ns < member.held_until_ns) return 0;
  const std::size_t taken = member.port.take(burst_.views);
  member.is_held = false;
  if (member.policy.in == nullptr) return taken;
  const std::size_t passed = member.policy.in->pass(std::span{burst_.views}.first(taken), now_ns);
  member.is_held = passed < taken;
  if (!member.is_held) return taken;
  member.held_until_ns = now_ns + member.policy.in->wait_ns(now_ns);
  member.port.counters().held.add();
  return passed;
}

// What is left of a burst when it is known where its frames go. Nothing that is dropped is charged to a share.
void Shard::limit_located(Member& member, Burst& burst) noexcept {
  if (member.policy.flood != nullptr) limit_floods(*member.policy.flood, poller_.now_ns(), burst);
  if (member.policy.share != nullptr) hold_beyond_share(member, burst);
  if (member.policy.rules_in != nullptr) rules_->count_hits(*member.policy.rules_in, burst);
}

// What its own limits were charged for frames from this one on, which are about to be given back to the port.
void Shard::give_back_charges(const Policy& policy, const Burst& burst, std::size_t from) noexcept {
  if (policy.in != nullptr) policy.in->give_back(std::span{burst.views}.first(burst.count).subspan(from));
  if (policy.flood == nullptr) return;
  for (const Run& run : burst.all_runs()) {
    if (!run.frame.is_flood) continue;
    for (std::size_t i = std::max<std::size_t>(run.first, from); i < std::size_t{run.first} + run.count; ++i) {
      if (!burst.is_dropped(i)) policy.flood->give_back({&burst.views[i], 1});
    }
  }
}

// From the first frame on that is beyond the port's part of a limit that it shares, all wait in it: it gets them back
// as they were.
void Shard::hold_beyond_share(Member& member, Burst& burst) noexcept {
  const Policy& policy = member.policy;
  const std::uint64_t now_ns = poller_.now_ns();
  for (std::size_t run = 0; run < burst.run_count; ++run) {
    const Frame& frame = burst.runs[run].frame;
    const bool is_for_it = frame.is_flood ? policy.share_vlans->test(frame.vlan) : frame.to == policy.share_of;
    if (!is_for_it) continue;
    for (Share share = burst.first_share(run); share.count != 0; share = burst.share_behind(share)) {
      const std::size_t passed = policy.share->pass(slot_of(member.id), policy.weight, views_of(share), now_ns);
      if (passed == share.count) continue;
      const std::size_t kept = share.first + passed;
      give_back_charges(policy, burst, kept);
      burst.cut(kept);
      member.is_held = true;
      member.held_until_ns = now_ns + policy.share->wait_ns(slot_of(member.id), now_ns);
      member.port.counters().held.add();
      return;
    }
  }
}

// In frames that are forwarded, so that it does not depend on a clock: a miss takes the time of one for every six sets
// of fields (`vmux-bench rules`), and more.
void Shard::charge_misses(Member& member, const RuleTable& table, unsigned misses) noexcept {
  member.rule_debt += misses * static_cast<std::uint32_t>(2 + table.tuples() / 6);
}

void Shard::follow_rules(Member& member, Burst& burst) noexcept {
  const RuleTable& table = *member.policy.rules_in;
  const unsigned misses = rules_->apply(table, member.flows, burst);
  if (misses != 0) charge_misses(member, table, misses);
}

// What a port took of the time of others it does without: its frames wait in it meanwhile. A round pays for half of a
// turn, as those of others need not be full.
bool Shard::pays_debt(Member& member) noexcept {
  constexpr std::uint32_t kRound = port::kMaxBurst;
  const bool waits = member.rule_debt >= kRound;
  member.rule_debt -= std::min(member.rule_debt, kRound);
  return waits;
}

unsigned Shard::serve(Member& member) noexcept {
  if (!turn_times_.is_due()) [[likely]]
    return serve_untimed(member);
  const std::uint64_t begin_ns = monotonic_ns();
  const unsigned done = serve_untimed(member);
  if (done > 0) turn_times_.add(monotonic_ns() - begin_ns);
  return done;
}

unsigned Shard::serve_untimed(Member& member) noexcept {
  if (member.rule_debt != 0 && pays_debt(member)) [[unlikely]]
    return 0;
  unsigned done = 0;
  port::PortCounters& counters = member.port.counters();
  Burst& burst = burst_;
  burst.sender = &member;
  burst.origin = kHere;
  member.is_in_round = true;
  mark_->store(member.mark_in, std::memory_order_relaxed);
  state::commit_fence();
  member.port.begin_round();
  for (unsigned turn = 0; turn < kBurstsPerTurn; ++turn) {
    burst.count = member.policy.may_hold() ? take_limited(member) : member.port.take(burst.views);
    if (burst.count == 0) break;
    const std::size_t taken = burst.count;
    if (member.vlan.is_retagged) [[unlikely]]
      retag_on_entry(member.vlan, entered_, burst);
    const unsigned groups = forwarded_groups_ & ~static_cast<unsigned>(member.policy.filtered_groups);
    classify({member.id, member.vlan, static_cast<std::uint16_t>(groups)}, burst);
    if (member.has_policy) [[unlikely]] {
      lost_on_links_ = 0;
      judge(member.policy, burst);
      if (member.policy.rules_in != nullptr) follow_rules(member, burst);
    }
    locate(burst);
    if (member.has_policy) [[unlikely]]
      limit_located(member, burst);
    forward(burst);
    count_sent(burst, counters);
    if (member.has_policy) [[unlikely]] {
      mirror_marked(burst);
      if (member.policy.captures != 0) capture_sent(burst);
    }
    member.port.finish(std::span{burst.results}.first(burst.count));
    done += static_cast<unsigned>(burst.count);
    if (taken < burst.views.size() || burst.count < taken || member.rule_debt != 0) break;
  }
  member.is_in_round = false;
  member.port.end_round();
  state::commit_fence();
  mark_->store(0, std::memory_order_relaxed);
  if (suspicion_of(member.mark_in) != 0) [[unlikely]]
    lessen_suspicion(member, done);
  if (done == 0) {
    member.quiet_rounds = std::min(member.quiet_rounds + 1, kQuietRounds);
    return 0;
  }
  member.quiet_rounds = 0;
  end_rounds();
  wake_peers();
  return done;
}

// A port that could have given frames and had none is not the one: its poller spends most of its time in turns of idle
// ports, so their marks are shown whatever the process dies of.
void Shard::lessen_suspicion(Member& member, unsigned done) noexcept {
  const bool was_looked_at = member.port.is_ready() && !member.is_held;
  if (done > 0 || was_looked_at || poller_.now_ns() - member.since_ns > kSuspicion_ns)
    member.mark_in = port_of_mark(member.mark_in);
}

// Frames and updates from another poller. A frame's bytes are the sender's again once they have been delivered.
unsigned Shard::receive(Peer& peer) noexcept {
  unsigned done = 0;
  Burst& burst = burst_;
  burst.sender = nullptr;
  burst.origin = static_cast<ShardRef>(&peer - peers_.data() + 1);
  for (unsigned turn = 0; turn < kBurstsPerTurn; ++turn) {
    std::array<packet::Pool::Slot*, port::kMaxBurst> slots;
    burst.count = burst.run_count = burst.dropped = 0;
    std::array<Item, 2> items;  // the one that is read, and the one before it
    for (std::size_t at = 0; burst.count < slots.size() && peer.from->items.pop(items[at]);) {
      ++done;
      const Item& item = items[at];
      const bool goes_on = burst.run_count > 0 && item.frame != nullptr && item.is_like(items[1 - at]);
      if (!goes_on) {
        const Frame frame = frame_of(item);
        if (item.source != 0) macs_.learn(item.source, item.from, item.heard_ns);
        if (item.frame == nullptr) {
          if (item.source == 0) macs_.forget(item.from);
          items[1 - at].from = {};
          continue;
        }
        burst.runs[burst.run_count++] = {frame, static_cast<std::uint8_t>(burst.count), 0};
      }
      ++burst.runs[burst.run_count - 1].count;
      burst.views[burst.count] = item.frame->view;
      slots[burst.count++] = item.frame;
      at = 1 - at;
    }
    const std::size_t count = burst.count;
    forward(burst);
    for (std::size_t i = 0; i < count; ++i)
      static_cast<void>(peer.from->returns.push(slots[i]));
    if (count < slots.size()) break;
  }
  if (done == 0) return 0;
  end_rounds();
  wake_peers();
  return done;
}

void Shard::reclaim() noexcept {
  if (pool_->free_packets() == kPackets) return;
  packet::Pool::Slot* slot = nullptr;
  for (Peer& peer : peers_) {
    while (peer.to->returns.pop(slot))
      pool_->give_back(*slot);
  }
}

void Shard::housekeep() noexcept {
  macs_.sweep(kSweepCount, poller_.now_ns());
  next_sweep_ns_ = poller_.now_ns() + kSweepEvery_ns;
  forget_the_fallen();
}

// What stood behind a port that went down may be behind another by now, and silent: until it is heard again, frames for
// it go everywhere, as in a bridge whose port stops being operational.
void Shard::forget_the_fallen() noexcept {
  next_look_ns_ = poller_.now_ns() + kLookEvery_ns;
  for (const auto& member : members_) {
    if (member->port.is_ready()) {
      member->has_stations = true;
    } else if (member->has_stations) {
      macs_.forget(member->id);
      member->has_stations = !tell_to_forget(member->id);
    }
  }
  wake_peers();
}

// False when a link was full: then once more, later.
bool Shard::tell_to_forget(PortId id) noexcept {
  bool all_told = true;
  for (Peer& peer : peers_) {
    const bool told = peer.to->items.push(Item{.from = id});
    all_told = all_told && told;
    peer.is_touched = peer.is_touched || told;
  }
  return all_told;
}

}  // namespace vmux::switching

// SPDX-License-Identifier: BSD-3-Clause
#include "switch/rules/rule_stage.hpp"

#include <cstring>

#include "packet/dscp.hpp"

namespace vmux::switching {
namespace {

using port::DropReason;

constexpr StationKey kMac = 0xffff'ffff'ffff;

StationKey in_vlan(StationKey station, std::uint16_t vlan) noexcept {
  return station == 0 ? 0 : station_key(station & kMac, vlan);
}

// A frame that a rule leads elsewhere has no station that it is looked for at.
void change(const RuleAction& action, Frame& frame) noexcept {
  if (action.mark != 0) frame.mark = action.mark;
  if (action.vlan != kNoVlan) {
    frame.vlan = action.vlan;
    frame.source = in_vlan(frame.source, action.vlan);
    frame.target = in_vlan(frame.target, action.vlan);
  }
  if (!action.is_redirect || action.redirect == frame.from) return;
  frame.target = 0;
  frame.is_flood = false;
  frame.to = action.redirect;
}

}  // namespace

// A miss is remembered whatever it found: that no rule matches is an answer too.
std::uint32_t RuleStage::find(const RuleTable& table, CachePart part, const RuleWords& key, std::uint64_t hash,
                              unsigned& misses) noexcept {
  if (const auto known = cache_.find(part, key, hash, table.version())) [[likely]]
    return *known;
  ++misses;
  const std::uint32_t rule = table.find(key);
  cache_.store(part, key, hash, table.version(), rule);
  return rule;
}

// Keys and places of all frames first, so that the cache's lines are on their way when they are looked at. Frames side
// by side of one flow are looked up once.
void RuleStage::find_all(const RuleTable& table, CachePart part, const Burst& burst, unsigned& misses) noexcept {
  const bool needs_ip = table.looks_at_ip();
  std::array<std::uint8_t, port::kMaxBurst> firsts;  // of frames of one flow
  std::size_t flows = 0;
  found_.fill(RuleTable::kNone);
  has_found_ = false;
  for (const Run& run : burst.all_runs()) {
    const RuleContext context{run.frame.vlan, static_cast<std::uint16_t>(slot_of(run.frame.from) + 1), 0};
    packet::Slice plain;  // the header of the flow before, if it is of that kind
    for (std::size_t i = run.first; i < std::size_t{run.first} + run.count; ++i) {
      if (burst.is_dropped(i)) continue;
      const packet::Slice header = burst.views[i].header;
      if (!plain.empty() && table.plain_fields().are_alike(plain, header)) [[likely]] {
        found_[i] = kSought;
        continue;
      }
      plain = {};
      RuleWords& key = keys_[i];
      if (PlainFields::is_plain(header)) [[likely]] {
        plain = header;
        plain_key(header, context, table.fields(), key);
      } else if (!rule_key(burst.views[i], context, table.fields(), key) && needs_ip) [[unlikely]] {
        found_[i] = kUnread;
        has_found_ = true;
        continue;
      }
      found_[i] = kSought;
      if (flows != 0 && is_same(key, keys_[firsts[flows - 1]])) continue;
      firsts[flows++] = static_cast<std::uint8_t>(i);
      hashes_[i] = table.hash()(key);
      cache_.prefetch(part, hashes_[i]);
    }
  }
  for (std::size_t flow = 0; flow < flows; ++flow) {
    const std::size_t first = firsts[flow], end = flow + 1 < flows ? firsts[flow + 1] : burst.count;
    const std::uint32_t rule = find(table, part, keys_[first], hashes_[first], misses);
    has_found_ |= rule != RuleTable::kNone;
    for (std::size_t i = first; i < end; ++i) {
      if (found_[i] == kSought) found_[i] = rule;
    }
  }
}

void RuleStage::count_hits(const RuleTable& table, const Burst& burst) noexcept {
  if (!has_found_) return;
  for (std::size_t i = 0; i < burst.count;) {
    const std::uint32_t rule = found_[i];
    std::uint64_t frames = 0, bytes = 0;
    for (; i < burst.count && found_[i] == rule; ++i) {
      ++frames;
      bytes += burst.views[i].length;
    }
    if (rule >= kUnread) continue;
    Count& count = counts_[table.action(rule).slot];
    count.frames.add(frames);
    count.bytes.add(bytes);
  }
}

void RuleStage::set_dscp(std::size_t index, std::uint8_t dscp, Burst& burst) noexcept {
  packet::FrameView& view = burst.views[index];
  const auto headers = packet::parse(view.header);
  if (!headers || headers->l3 == packet::L3::other) return;
  const std::span<std::byte> room = std::span{headers_[index]}.first(view.header.size());
  std::memcpy(room.data(), view.header.data(), room.size());
  packet::set_dscp(room, *headers, dscp);
  view.header = room;
}

// Runs are of frames that are alike, and rules may have made them unlike: those of one rule stay together.
void RuleStage::split_runs(const RuleTable& table, Burst& burst) noexcept {
  std::size_t count = 0;
  for (const Run& run : burst.all_runs()) {
    const std::size_t end = std::size_t{run.first} + run.count;
    for (std::size_t i = run.first; i < end;) {
      const std::uint32_t rule = found_[i];
      Run& part = runs_[count++];
      part = {run.frame, static_cast<std::uint8_t>(i), 0};
      for (; i < end && found_[i] == rule; ++i)
        ++part.count;
      if (rule < kUnread) change(table.action(rule), part.frame);
    }
  }
  std::memcpy(burst.runs.data(), runs_.data(), count * sizeof(Run));
  burst.run_count = count;
}

void RuleStage::act(const RuleTable& table, Burst& burst) noexcept {
  bool changes_frames = false;
  for (std::size_t i = 0; i < burst.count; ++i) {
    const std::uint32_t rule = found_[i];
    if (rule == RuleTable::kNone) continue;
    if (rule == kUnread) {
      burst.drop(i, DropReason::malformed);
      continue;
    }
    const RuleAction& action = table.action(rule);
    if (action.mirrors != 0) burst.mirror(i, action.mirrors);
    if (action.verdict == RuleVerdict::drop) {
      burst.drop(i, DropReason::rule);
      continue;
    }
    changes_frames |= action.changes_frame();
    if (action.dscp != RuleAction::kSameDscp) set_dscp(i, action.dscp, burst);
  }
  if (changes_frames) split_runs(table, burst);
}

unsigned RuleStage::apply(const RuleTable& table, CachePart part, Burst& burst) noexcept {
  unsigned misses = 0;
  find_all(table, part, burst, misses);
  if (has_found_) act(table, burst);
  return misses;
}

bool RuleStage::may_leave(const RuleTable& table, CachePart part, std::uint32_t slot, const Frame& frame,
                          const packet::FrameView& view, unsigned& misses) noexcept {
  RuleWords key;
  const RuleContext context{frame.vlan, static_cast<std::uint16_t>(slot + 1), frame.mark};
  if (!rule_key(view, context, table.fields(), key) && table.looks_at_ip()) return false;
  const std::uint32_t rule = find(table, part, key, table.hash()(key), misses);
  if (rule == RuleTable::kNone) return true;
  const RuleAction& action = table.action(rule);
  counts_[action.slot].frames.add();
  counts_[action.slot].bytes.add(view.length);
  return action.verdict == RuleVerdict::allow;
}

}  // namespace vmux::switching

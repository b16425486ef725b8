// SPDX-License-Identifier: BSD-3-Clause
// Rules at work on one poller: what they say of the frames of a burst, and what of that is done there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "switch/rules/flow_cache.hpp"
#include "switch/rules/rule_table.hpp"
#include "switch/stages/burst.hpp"
#include "vmux/base/counter.hpp"

namespace vmux::switching {

/// Of one shard, and made with the first rule that it has to follow; nothing is allocated afterwards.
class RuleStage {
 public:
  RuleStage() : counts_(kMaxRules) {}

  /// Of one rule on this poller; readable by any thread.
  struct Count {
    Counter frames, bytes;
  };
  [[nodiscard]] const Count& count(std::size_t slot) const noexcept { return counts_[slot]; }

  /// Behind judge(): verdicts, copies and changes of what a port sends, and from here on the burst is as rules want it.
  /// How many frames no cache knew.
  unsigned apply(const RuleTable& table, CachePart part, Burst& burst) noexcept;

  /// Counts the hits of the burst that apply() had last: what is left of it is what goes.
  void count_hits(const RuleTable& table, const Burst& burst) noexcept;

  /// Of one frame that is for the port in `slot`: whether it may be delivered. `misses` goes up if no cache knew.
  [[nodiscard]] bool may_leave(const RuleTable& table, CachePart part, std::uint32_t slot, const Frame& frame,
                               const packet::FrameView& view, unsigned& misses) noexcept;

 private:
  static constexpr std::uint32_t kUnread = RuleTable::kNone - 1;  // of a frame that no rule can be found for
  static constexpr std::uint32_t kSought = RuleTable::kNone - 2;  // of one that is being looked for
  void find_all(const RuleTable& table, CachePart part, const Burst& burst, unsigned& misses) noexcept;
  [[nodiscard]] std::uint32_t find(const RuleTable& table, CachePart part, const RuleWords& key, std::uint64_t hash,
                                   unsigned& misses) noexcept;
  void act(const RuleTable& table, Burst& burst) noexcept;
  void split_runs(const RuleTable& table, Burst& burst) noexcept;
  void set_dscp(std::size_t index, std::uint8_t dscp, Burst& burst) noexcept;

  std::vector<Count> counts_;  // by slot
  FlowCache cache_;
  std::array<RuleWords, port::kMaxBurst> keys_;  // of a burst
  std::array<std::uint64_t, port::kMaxBurst> hashes_;
  std::array<std::uint32_t, port::kMaxBurst> found_;
  bool has_found_ = false;  // anything for any of them
  std::array<Run, port::kMaxBurst> runs_;
  std::array<std::array<std::byte, packet::kLongestHeader>, port::kMaxBurst> headers_;  // those that were changed
};

}  // namespace vmux::switching

// SPDX-License-Identifier: BSD-3-Clause
// Which rule decides about flows that were seen lately: the exact answer of a RuleTable, for one comparison.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "switch/member.hpp"
#include "switch/rules/rule_key.hpp"

namespace vmux::switching {

/// One thread. A fixed number of sets of four flows (10 MiB); made once, nothing is allocated afterwards.
class FlowCache {
 public:
  static constexpr std::size_t kWays = 4, kSets = 32'768;

  FlowCache();

  /// One of `count` parts of the same size; count from 1 to kSets.
  [[nodiscard]] static CachePart part(std::size_t index, std::size_t count) noexcept;

  void prefetch(CachePart part, std::uint64_t hash) const noexcept {
    __builtin_prefetch(&heads_[set_of(part, hash)]);
    __builtin_prefetch(&keys_[set_of(part, hash) * kWays]);
  }
  /// The rule that was stored for the flow while its table had that version. `hash`: of the key.
  [[nodiscard]] std::optional<std::uint32_t> find(CachePart part, const RuleWords& key, std::uint64_t hash,
                                                  std::uint32_t version) const noexcept {
    const std::size_t set = set_of(part, hash);
    const Head& head = heads_[set];
    for (std::size_t way = 0; way < kWays; ++way) {
      if (head.tags[way] == tag_of(hash) && head.versions[way] == version &&
          is_same(keys_[set * kWays + way].words, key))
        return head.rules[way];
    }
    return std::nullopt;
  }
  /// `version`: see RuleTable::next_versions().
  void store(CachePart part, const RuleWords& key, std::uint64_t hash, std::uint32_t version,
             std::uint32_t rule) noexcept;

 private:
  struct alignas(64) Head {
    std::uint32_t tags[kWays];
    std::uint32_t versions[kWays];  // 0: nothing is stored
    std::uint32_t rules[kWays];
    std::uint32_t next;  // flows that found it full
  };
  [[nodiscard]] static std::size_t set_of(CachePart part, std::uint64_t hash) noexcept {
    return part.first + (static_cast<std::uint32_t>(hash) & part.mask);
  }
  [[nodiscard]] static std::uint32_t tag_of(std::uint64_t hash) noexcept {
    return static_cast<std::uint32_t>(hash >> 32);
  }

  struct alignas(64) Key {
    RuleWords words;
  };
  std::vector<Head> heads_;
  std::vector<Key> keys_;
};

}  // namespace vmux::switching

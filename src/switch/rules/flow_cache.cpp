// SPDX-License-Identifier: BSD-3-Clause
#include "switch/rules/flow_cache.hpp"

#include <bit>

namespace vmux::switching {

FlowCache::FlowCache() : heads_(kSets), keys_(kSets * kWays) {}

CachePart FlowCache::part(std::size_t index, std::size_t count) noexcept {
  const auto sets = static_cast<std::uint32_t>(std::bit_floor(kSets / count));
  return {static_cast<std::uint32_t>(index) * sets, sets - 1};
}

// A free way, or one that an older table filled, first: not one of the other way's, which is in use as well. Of a full
// set one goes, and only for every fourth that comes: of five flows that come in turn four stay known, where each would
// push out the one that is next.
void FlowCache::store(CachePart part, const RuleWords& key, std::uint64_t hash, std::uint32_t version,
                      std::uint32_t rule) noexcept {
  const std::size_t set = set_of(part, hash);
  Head& head = heads_[set];
  std::size_t way = 0;
  while (way < kWays && (head.versions[way] ^ version) <= 1)
    ++way;
  if (way == kWays) {
    constexpr std::uint32_t kComers = 4;
    if (++head.next % kComers != 0) return;
    way = head.next / kComers % kWays;
  }
  head.tags[way] = tag_of(hash);
  head.versions[way] = version;
  head.rules[way] = rule;
  keys_[set * kWays + way].words = key;
}

}  // namespace vmux::switching

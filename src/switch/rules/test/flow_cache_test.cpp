// SPDX-License-Identifier: BSD-3-Clause
#include "switch/rules/flow_cache.hpp"

#include <gtest/gtest.h>

#include "switch/rules/rule_table.hpp"

namespace vmux::switching {
namespace {

RuleWords key_of(std::uint64_t number) { return {number, 0, 0, 0, 0, 0, 0, ~number}; }

struct Cached {
  FlowCache cache;
  RuleHash hash{99};
  void store(CachePart part, std::uint64_t number, std::uint32_t rule, std::uint32_t version = 2) {
    cache.store(part, key_of(number), hash(key_of(number)), version, rule);
  }
  std::optional<std::uint32_t> find(CachePart part, std::uint64_t number, std::uint32_t version = 2) {
    return cache.find(part, key_of(number), hash(key_of(number)), version);
  }
};

TEST(FlowCache, KnowsWhatWasStored) {
  Cached cached;
  const CachePart all = FlowCache::part(0, 1);
  EXPECT_EQ(cached.find(all, 1), std::nullopt);
  cached.store(all, 1, 7);
  cached.store(all, 2, RuleTable::kNone);
  EXPECT_EQ(cached.find(all, 1), 7u);
  EXPECT_EQ(cached.find(all, 2), RuleTable::kNone);
  EXPECT_EQ(cached.find(all, 3), std::nullopt);
}

TEST(FlowCache, OfAnotherTableKnowsNothing) {
  Cached cached;
  const CachePart all = FlowCache::part(0, 1);
  cached.store(all, 1, 7, 2);
  EXPECT_EQ(cached.find(all, 1, 3), std::nullopt);
}

TEST(FlowCache, TellsFlowsOfOneHashApart) {
  FlowCache cache;
  const CachePart all = FlowCache::part(0, 1);
  cache.store(all, key_of(1), 5, 2, 10);
  EXPECT_EQ(cache.find(all, key_of(2), 5, 2), std::nullopt);
  cache.store(all, key_of(2), 5, 2, 20);
  EXPECT_EQ(cache.find(all, key_of(1), 5, 2), 10u);
  EXPECT_EQ(cache.find(all, key_of(2), 5, 2), 20u);
}

// Tables of both ways, made together, have versions that differ in the lowest bit.
TEST(FlowCache, TheTwoWaysDoNotPushEachOtherOut) {
  FlowCache cache;
  const CachePart all = FlowCache::part(0, 1);
  cache.store(all, key_of(1), 5, 2, 10);
  cache.store(all, key_of(1), 5, 3, 20);
  EXPECT_EQ(cache.find(all, key_of(1), 5, 2), 10u);
  EXPECT_EQ(cache.find(all, key_of(1), 5, 3), 20u);
}

TEST(FlowCache, WhatATableOfBeforeFilledIsFree) {
  FlowCache cache;
  const CachePart all = FlowCache::part(0, 1);
  for (const std::uint32_t version : {2u, 3u, 4u, 5u}) {
    for (std::uint64_t i = 0; i < FlowCache::kWays / 2; ++i)
      cache.store(all, key_of(i), 5, version, version);
  }
  for (const std::uint32_t version : {4u, 5u}) {
    for (std::uint64_t i = 0; i < FlowCache::kWays / 2; ++i)
      EXPECT_EQ(cache.find(all, key_of(i), 5, version), version);
  }
}

TEST(FlowCache, OfAFullSetOneGoesForWhoComesOftenEnough) {
  FlowCache cache;
  const CachePart all = FlowCache::part(0, 1);
  const auto known = [&] {
    std::size_t count = 0;
    for (std::uint64_t i = 0; i <= FlowCache::kWays; ++i)
      count += cache.find(all, key_of(i), 5, 2) == static_cast<std::uint32_t>(i) ? 1 : 0;
    return count;
  };
  for (std::uint64_t i = 0; i < FlowCache::kWays; ++i)
    cache.store(all, key_of(i), 5, 2, static_cast<std::uint32_t>(i));
  for (int i = 0; i < 3; ++i)
    cache.store(all, key_of(4), 5, 2, 4);
  EXPECT_EQ(known(), FlowCache::kWays);
  EXPECT_EQ(cache.find(all, key_of(4), 5, 2), std::nullopt);
  cache.store(all, key_of(4), 5, 2, 4);
  EXPECT_EQ(known(), FlowCache::kWays);
  EXPECT_EQ(cache.find(all, key_of(4), 5, 2), 4u);
}

TEST(FlowCache, OfFlowsThatComeInTurnMostStayKnown) {
  FlowCache cache;
  const CachePart all = FlowCache::part(0, 1);
  int misses = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const RuleWords key = key_of(i % 5);
    if (cache.find(all, key, 5, 2)) continue;
    ++misses;
    cache.store(all, key, 5, 2, 0);
  }
  EXPECT_LT(misses, 450);
}

TEST(FlowCache, NoPartReachesIntoAnother) {
  for (const std::size_t count : {2u, 3u, 7u, 1024u}) {
    std::uint32_t end = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const CachePart part = FlowCache::part(i, count);
      EXPECT_GE(part.first, end);
      EXPECT_EQ(part.mask & (part.mask + 1), 0u);
      end = part.first + part.mask + 1;
    }
    EXPECT_LE(end, FlowCache::kSets);
  }
}

TEST(FlowCache, WhoFillsItsPartLeavesOthers) {
  Cached cached;
  const CachePart mine = FlowCache::part(0, 2), theirs = FlowCache::part(1, 2);
  for (std::uint64_t i = 0; i < 1000; ++i)
    cached.store(mine, i, 1);
  for (std::uint64_t i = 0; i < 200'000; ++i)
    cached.store(theirs, i, 2);
  for (std::uint64_t i = 0; i < 1000; ++i)
    ASSERT_EQ(cached.find(mine, i), 1u) << i;
}

}  // namespace
}  // namespace vmux::switching

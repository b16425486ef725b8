// SPDX-License-Identifier: BSD-3-Clause
// The first stage alone, and what a verdict on single frames leaves of a run.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "switch/stages/burst.hpp"
#include "switch/test/switch_bench.hpp"

namespace vmux::switching::test {
namespace {

using port::DropReason;

struct Classified {
  explicit Classified(std::vector<Bytes> frames, packet::Offload last = {}) : bytes(std::move(frames)) {
    rules.tagged.set();
    burst->count = bytes.size();
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      burst->views[i] = {};
      burst->views[i].header = packet::test::slice(bytes[i]);
      burst->views[i].length = static_cast<std::uint32_t>(bytes[i].size());
    }
    burst->views[bytes.size() - 1].offload = last;
    classify({PortId{7}, rules, 1}, *burst);
  }
  [[nodiscard]] std::vector<std::size_t> runs() const {
    std::vector<std::size_t> counts;
    for (const Run& run : burst->all_runs())
      counts.push_back(run.count);
    return counts;
  }
  [[nodiscard]] std::vector<DropReason> verdicts() const {
    std::vector<DropReason> out;
    for (std::size_t i = 0; i < burst->count; ++i)
      out.push_back(burst->results[i].dropped);
    return out;
  }
  [[nodiscard]] std::vector<std::size_t> shares(std::size_t run) const {
    std::vector<std::size_t> out;
    for (Share share = burst->first_share(run); share.count != 0; share = burst->share_behind(share)) {
      for (std::size_t i = 0; i < share.count; ++i)
        out.push_back(share.first + i);
    }
    return out;
  }
  std::vector<Bytes> bytes;
  VlanRules rules;
  std::unique_ptr<Burst> burst = std::make_unique<Burst>();
};

TEST(SwitchClassify, FramesThatAreAlikeAreOneRun) {
  const Classified all{{frame(2, 1), frame(2, 1), frame(2, 3), frame(2, 3), frame(2, 3), frame(4, 3)}};
  EXPECT_EQ(all.runs(), (std::vector<std::size_t>{2, 3, 1}));
  const Frame& second = all.burst->runs[1].frame;
  EXPECT_EQ(second.source, station_key(0x0200'0000'0003, 0));
  EXPECT_EQ(second.target, station_key(0x0200'0000'0002, 0));
  EXPECT_EQ(second.from, PortId{7});
  EXPECT_EQ(all.burst->runs[1].first, 2);
}

TEST(SwitchClassify, ATagBesideTheBytesIsNotAlike) {
  EXPECT_EQ((Classified{{frame(2, 1), frame(2, 1)}, beside(5)}.runs()), (std::vector<std::size_t>{1, 1}));
}

TEST(SwitchClassify, WhatStandsBehindAPriorityTagIsLookedAtEachTime) {
  const Classified all{{frame(2, 1, 0x2000), frame(2, 1, 0x2000), frame(2, 1, 5), frame(2, 1, 5)}};
  EXPECT_EQ(all.runs(), (std::vector<std::size_t>{1, 1, 2}));
}

TEST(SwitchClassify, EachFrameOfADroppedRunHasItsVerdict) {
  const Bytes pause{0x01, 0x80, 0xc2, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x88, 8, 0, 1, 0, 0, 0, 0};
  const Classified all{{Bytes(13), frame(2, 1), pause, pause, frame(2, 1)}};
  EXPECT_EQ(all.verdicts(), (std::vector<DropReason>{DropReason::malformed, DropReason::none, DropReason::filtered,
                                                     DropReason::filtered, DropReason::none}));
  EXPECT_EQ(all.burst->dropped, 3u);
}

// As a stage that looks deeper into frames than classify() does would leave them.
TEST(SwitchBurst, VerdictsOnSomeFramesOfARunLeaveTheOthers) {
  Classified all{std::vector<Bytes>(6, frame(2, 1))};
  EXPECT_EQ(all.runs(), (std::vector<std::size_t>{6}));
  EXPECT_EQ(all.shares(0), (std::vector<std::size_t>{0, 1, 2, 3, 4, 5}));
  for (const std::size_t i : {0u, 3u, 4u})
    all.burst->drop(i, DropReason::filtered);
  EXPECT_EQ(all.shares(0), (std::vector<std::size_t>{1, 2, 5}));
  EXPECT_FALSE(all.burst->is_dropped(all.burst->runs[0]));
  for (const std::size_t i : {1u, 2u, 5u})
    all.burst->drop(i, DropReason::filtered);
  EXPECT_EQ(all.shares(0), std::vector<std::size_t>{});
  EXPECT_TRUE(all.burst->is_dropped(all.burst->runs[0]));
}

TEST(SwitchBurst, AVerdictOnARunIsOneOnWhatIsLeftOfIt) {
  Classified all{std::vector<Bytes>(4, frame(2, 1))};
  all.burst->drop(1, DropReason::rule);
  all.burst->drop(all.burst->runs[0], DropReason::filtered);
  EXPECT_EQ(all.verdicts(), (std::vector<DropReason>{DropReason::filtered, DropReason::rule, DropReason::filtered,
                                                     DropReason::filtered}));
  EXPECT_EQ(all.burst->dropped, 4u);
}

TEST(SwitchBurst, SenderIsToldWhatBecameOfEachFrame) {
  Bench bench{{kPlain, kPlain}};
  bench.introduce(0, frame(9, 3));
  bench[0].results.clear();
  bench[0].send(frame(2, 1));
  bench[0].send(frame(3, 1));  // is behind the same port
  bench[0].send(frame(3, 1));
  bench[0].send(Bytes(10));
  bench[0].send(frame(0xff, 1));
  bench.run();
  EXPECT_EQ(bench[0].results, (std::vector<DropReason>{DropReason::none, DropReason::filtered, DropReason::filtered,
                                                       DropReason::malformed, DropReason::none}));
  EXPECT_EQ(bench[0].counters().drops(DropReason::filtered).get(), 2u);
  EXPECT_EQ(bench[0].counters().drops(DropReason::malformed).get(), 1u);
}

}  // namespace
}  // namespace vmux::switching::test

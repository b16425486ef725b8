// SPDX-License-Identifier: BSD-3-Clause
// Limits of ports on a switch: what a port sends waits in it, what it gets is dropped. No test is decided by time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "switch/test/switch_bench.hpp"

namespace vmux::switching {
namespace {

using namespace test;
using port::DropReason;

constexpr std::size_t kBurst = port::kMaxBurst;
constexpr std::uint64_t kBytes = 1000 * kBurst;  // of a burst of such frames
// No frame passes in the time that a test takes but for those of the burst, and the one that ends it.
constexpr Limit kOnlyABurst{.bits_per_s = 0, .frames_per_s = 1, .burst_bytes = 0};
MATCHER(IsABurst, "") { return arg == 64 || arg == 65; }

Bytes numbered(std::uint8_t to, std::uint8_t from, std::size_t number) {
  Bytes bytes = frame(to, from, {}, 986);
  bytes[500] = static_cast<std::uint8_t>(number);
  bytes[501] = static_cast<std::uint8_t>(number >> 8);
  return bytes;
}

struct Limited : Bench {
  Limited() : Bench{{kPlain, kPlain, kPlain}} {
    introduce(1, frame(9, 2));
    introduce(0, frame(9, 1));
  }
  void send(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
      ports[0]->send(numbered(2, 1, i));
  }
  std::uint64_t dropped(std::size_t at, DropReason why) { return ports[at]->counters().drops(why).get(); }
};

TEST(SwitchLimits, WhatAPortSendsBeyondWaitsInItAndComesInOrder) {
  Limited bench;
  ASSERT_TRUE(bench.sw->set_limits(bench.ids[0], {.in = {.bits_per_s = 100'000'000, .burst_bytes = kBytes}}));
  const std::size_t count = 40 * kBurst;
  bench.send(count);
  bench[1].room = count;
  while (bench[1].inbox.size() < count && bench.dropped(1, DropReason::no_room) == 0)
    bench.poller->run_once(0);
  for (std::size_t i = 0; i < count; ++i)
    ASSERT_EQ(bench[1].inbox[i], numbered(2, 1, i)) << i;
  EXPECT_TRUE(bench[0].outgoing.empty());
  EXPECT_GT(bench[0].counters().held.get(), 0u);
  EXPECT_EQ(bench[0].counters().rx_frames.get(), count + 1);
  for (const port::DropReasonRow& row : port::kDropReasons)
    EXPECT_EQ(bench.dropped(0, row.reason) + bench.dropped(1, row.reason), 0u) << row.name;
}

TEST(SwitchLimits, APortThatIsHeldIsAskedForNothingMeanwhileAndOthersGoOn) {
  Limited bench;
  ASSERT_TRUE(bench.sw->set_limits(bench.ids[0], {.in = kOnlyABurst}));
  bench.send(10 * kBurst);
  bench.run();
  EXPECT_THAT(bench[1].inbox.size(), IsABurst());
  const unsigned looks = bench[0].looks;
  for (int i = 0; i < 100; ++i) {
    bench[2].send(frame(2, 3));
    bench.run();
  }
  EXPECT_EQ(bench[0].looks, looks);
  EXPECT_THAT(bench[1].inbox.size() - 100, IsABurst());
}

TEST(SwitchLimits, WhatAPortGetsBeyondIsDroppedForThatReason) {
  Limited bench;
  ASSERT_TRUE(bench.sw->set_limits(bench.ids[1], {.out = kOnlyABurst}));
  bench.send(10 * kBurst);
  bench.run();
  EXPECT_THAT(bench[1].inbox.size(), IsABurst());
  const std::size_t passed = bench[1].inbox.size();
  for (std::size_t i = 0; i < passed; ++i)
    EXPECT_EQ(bench[1].inbox[i], numbered(2, 1, i));
  EXPECT_EQ(bench.dropped(1, DropReason::limited), 10 * kBurst - passed);
  EXPECT_EQ(bench[1].counters().tx_frames.get(), passed + 1);  // and what introduced the others
  EXPECT_EQ(bench[0].counters().held.get(), 0u);
  for (const DropReason why : bench[0].results)
    EXPECT_EQ(why, DropReason::none);  // its sender has done nothing wrong
}

TEST(SwitchLimits, AFloodIsLimitedForWhoeverHasALimit) {
  Limited bench;
  ASSERT_TRUE(bench.sw->set_limits(bench.ids[1], {.out = kOnlyABurst}));
  for (std::size_t i = 0; i < 100; ++i)
    bench[0].send(frame(0xff, 1));
  bench.run();
  EXPECT_THAT(bench[1].inbox.size(), IsABurst());
  EXPECT_EQ(bench[2].inbox.size(), 100u);
}

TEST(SwitchLimits, CopiesOfAMirrorAreNotCounted) {
  Limited bench;
  ASSERT_TRUE(bench.sw->set_limits(bench.ids[2], {.out = kOnlyABurst}));
  ASSERT_TRUE(bench.sw->set_mirror(bench.ids[0], Mirror{bench.ids[2]}));
  bench.send(100);
  bench.run();
  EXPECT_EQ(bench[2].inbox.size(), 100u);
}

TEST(SwitchLimits, AnotherLimitHoldsAtOnceAndNoneLetsAllGo) {
  Limited bench;
  ASSERT_TRUE(bench.sw->set_limits(bench.ids[0], {.in = kOnlyABurst}));
  bench.send(10 * kBurst);
  bench.run();
  EXPECT_THAT(bench[1].inbox.size(), IsABurst());
  const std::size_t first = bench[1].inbox.size();
  Limit two = kOnlyABurst;
  two.frames_per_s = 2;
  ASSERT_TRUE(bench.sw->set_limits(bench.ids[0], {.in = two}));
  bench.run();
  EXPECT_THAT(bench[1].inbox.size() - first, IsABurst());
  ASSERT_TRUE(bench.sw->set_limits(bench.ids[0], {.in = two, .out = two}));  // `in` goes on where it was
  bench.run();
  EXPECT_THAT(bench[1].inbox.size() - first, IsABurst());
  ASSERT_TRUE(bench.sw->set_limits(bench.ids[0], {}));
  bench.run();
  EXPECT_EQ(bench[1].inbox.size(), 10 * kBurst);
  EXPECT_EQ(bench.sw->ports()[0].config.limits, Limits{});
  EXPECT_FALSE(bench.sw->set_limits(PortId{0xffff}, {}));
}

TEST(SwitchLimits, OfAnAttachmentHoldFromItsFirstFrame) {
  Limited bench;
  FakePort port;
  const auto id = bench.sw->attach(port, *bench.poller, {.name = "late", .limits = {.in = kOnlyABurst}});
  ASSERT_TRUE(id);
  for (std::size_t i = 0; i < 100; ++i)
    port.send(numbered(2, 7, i));
  bench.run();
  EXPECT_THAT(bench[1].inbox.size(), IsABurst());
  EXPECT_TRUE(bench.sw->detach(*id));
}

// To all, to a group, to a station that nobody knows: each is flooded. What has a known receiver is not, and passes.
TEST(SwitchLimits, WhatIsFloodedBeyondItsLimitIsDroppedAndNothingElse) {
  Limited bench;
  ASSERT_TRUE(bench.sw->set_limits(bench.ids[0], {.flood = kOnlyABurst}));
  constexpr std::size_t kEach = 100;
  Bytes broadcast = frame(0, 1);
  std::fill_n(broadcast.begin(), 6, std::uint8_t{0xff});
  Bytes group = frame(0, 1);
  group[0] = 0x01;
  for (std::size_t i = 0; i < kEach; ++i) {
    bench[0].send(broadcast);
    bench[0].send(group);
    bench[0].send(frame(77, 1));
    bench[0].send(numbered(2, 1, i));
  }
  bench[1].room = bench[2].room = 4 * kEach;
  bench.run();
  EXPECT_THAT(bench[2].inbox.size(), IsABurst());
  EXPECT_EQ(bench[1].inbox.size(), bench[2].inbox.size() + kEach);
  EXPECT_EQ(bench.dropped(0, DropReason::storm), 3 * kEach - bench[2].inbox.size());
  std::size_t number = 0;
  for (const Bytes& each : bench[1].inbox) {
    if (each.size() == frame(77, 1).size()) continue;
    EXPECT_EQ(each, numbered(2, 1, number++));
  }
  EXPECT_EQ(number, kEach);
  ASSERT_TRUE(bench.sw->set_limits(bench.ids[0], {}));
  bench[0].send(broadcast);
  const std::size_t before = bench[2].inbox.size();
  bench.run();
  EXPECT_EQ(bench[2].inbox.size(), before + 1);
}

// A station that is known for good, behind a port whose VM is off: what is for it goes everywhere, and counts.
TEST(SwitchLimits, WhatIsForAStationThatCannotBeReachedIsFloodedWithinTheLimitToo) {
  Limited bench;
  ASSERT_TRUE(bench.sw->set_stations(bench.ids[1], {{.mac = {2, 0, 0, 0, 0, 5}, .vlan = 0}}));
  bench[1].ready = false;
  ASSERT_TRUE(bench.sw->set_limits(bench.ids[0], {.flood = kOnlyABurst}));
  constexpr std::size_t kCount = 10 * kBurst;
  for (std::size_t i = 0; i < kCount; ++i)
    bench[0].send(numbered(5, 1, i));
  bench[2].room = kCount;
  bench.run();
  EXPECT_THAT(bench[2].inbox.size(), IsABurst());
  EXPECT_EQ(bench.dropped(0, DropReason::storm), kCount - bench[2].inbox.size());
}

}  // namespace
}  // namespace vmux::switching

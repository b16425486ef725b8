// SPDX-License-Identifier: BSD-3-Clause
// Ports of one isolation group hear nothing of each other, and everything of everyone else.
#include <gtest/gtest.h>

#include "switch/test/switch_bench.hpp"

namespace vmux::switching {
namespace {

using namespace test;
using port::DropReason;

std::uint64_t isolated(const FakePort& port) {
  return const_cast<FakePort&>(port).counters().drops(DropReason::isolated).get();
}

// Ports 0 and 2 are of one group, on two pollers; 1 and 3 are not.
struct Isolated : CrossBench {
  Isolated() {
    for (std::uint8_t i = 0; i < 4; ++i)
      introduce(i, static_cast<std::uint8_t>(i + 1));
    for (const std::size_t i : {0u, 2u})
      EXPECT_TRUE(sw->set_isolation(ids[i], "tenants"));
  }
  /// How many frames each port has got since the last time.
  std::array<std::size_t, 4> got() {
    run();
    std::array<std::size_t, 4> counts{};
    for (std::size_t i = 0; i < 4; ++i)
      counts[i] = std::exchange(ports[i].inbox, {}).size();
    return counts;
  }
};
using Counts = std::array<std::size_t, 4>;

TEST(SwitchIsolation, PortsOfAGroupGetNothingFromEachOther) {
  Isolated bench;
  bench.ports[0].send(frame(3, 1));  // to a known station of the group
  EXPECT_EQ(bench.got(), (Counts{0, 0, 0, 0}));
  EXPECT_EQ(isolated(bench.ports[2]), 1u);
  bench.ports[2].send(frame(1, 3));
  EXPECT_EQ(bench.got(), (Counts{0, 0, 0, 0}));
  EXPECT_EQ(isolated(bench.ports[0]), 1u);
  bench.ports[0].send(frame(0xff, 1));  // to nobody known
  EXPECT_EQ(bench.got(), (Counts{0, 1, 0, 1}));
  EXPECT_EQ(isolated(bench.ports[2]), 2u);
}

TEST(SwitchIsolation, AllOthersTalkToThemAndAmongThemselves) {
  Isolated bench;
  bench.ports[0].send(frame(2, 1));
  bench.ports[0].send(frame(4, 1));
  EXPECT_EQ(bench.got(), (Counts{0, 1, 0, 1}));
  bench.ports[1].send(frame(1, 2));
  bench.ports[1].send(frame(3, 2));
  bench.ports[1].send(frame(4, 2));
  bench.ports[3].send(frame(0xff, 4));
  EXPECT_EQ(bench.got(), (Counts{2, 1, 2, 1}));
  EXPECT_EQ(isolated(bench.ports[0]) + isolated(bench.ports[2]), 0u);
}

// A burst in which frames of the group and of others are for one port.
TEST(SwitchIsolation, FramesOfOthersInABurstStayInOrder) {
  Isolated bench;
  ASSERT_TRUE(bench.sw->set_isolation(bench.ids[3], "tenants"));
  for (std::size_t i = 0; i < 6; ++i) {
    bench.ports[0].send(frame(i % 2 == 0 ? 2 : 3, 1, {}, 60 + i));
    bench.ports[1].send(frame(3, 2, {}, 60 + i));
  }
  bench.run();
  ASSERT_EQ(bench.ports[1].inbox.size(), 3u);
  ASSERT_EQ(bench.ports[2].inbox.size(), 6u);
  for (std::size_t i = 0; i < 6; ++i)
    EXPECT_EQ(bench.ports[2].inbox[i], frame(3, 2, {}, 60 + i));
  EXPECT_EQ(isolated(bench.ports[2]), 3u);
}

TEST(SwitchIsolation, GroupsAreLeftAndJoinedWhileFramesPass) {
  Isolated bench;
  ASSERT_TRUE(bench.sw->set_isolation(bench.ids[2], "others"));  // another group is none of ours
  bench.ports[0].send(frame(3, 1));
  EXPECT_EQ(bench.got(), (Counts{0, 0, 1, 0}));
  ASSERT_TRUE(bench.sw->set_isolation(bench.ids[3], "others"));
  bench.ports[2].send(frame(4, 3));
  EXPECT_EQ(bench.got(), (Counts{0, 0, 0, 0}));
  ASSERT_TRUE(bench.sw->set_isolation(bench.ids[3], ""));
  bench.ports[2].send(frame(4, 3));
  bench.ports[3].send(frame(3, 4));
  EXPECT_EQ(bench.got(), (Counts{0, 0, 1, 1}));
  EXPECT_FALSE(bench.sw->set_isolation(PortId{}, "tenants"));
}

// Whoever takes the place of a port that was in a group is in none.
TEST(SwitchIsolation, ANewPortIsInItsGroupFromItsFirstFrameOnAndTheNextInItsPlaceIsNot) {
  FakePort late, later;  // longer there than the switch
  Isolated bench;
  const auto id = bench.sw->attach(late, *bench.here, {.name = "late", .isolation = "tenants"});
  ASSERT_TRUE(id);
  late.send(frame(3, 9));
  late.send(frame(2, 9));
  EXPECT_EQ(bench.got(), (Counts{0, 1, 0, 0}));
  bench.ports[2].send(frame(9, 3));
  bench.run();
  EXPECT_TRUE(late.inbox.empty());
  ASSERT_TRUE(bench.sw->detach(*id));
  ASSERT_TRUE(bench.sw->attach(later, *bench.here, {.name = "later"}));
  later.send(frame(3, 9));
  EXPECT_EQ(bench.got(), (Counts{0, 0, 1, 0}));
}

}  // namespace
}  // namespace vmux::switching

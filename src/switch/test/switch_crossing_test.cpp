// SPDX-License-Identifier: BSD-3-Clause
// One switch on two pollers, driven in turn: what crosses between them.
#include "switch/switch.hpp"

#include <gtest/gtest.h>

#include "switch/test/switch_bench.hpp"

namespace vmux::switching {
namespace {

using namespace test;

TEST(SwitchAcrossPollers, FloodsToEveryPortOnce) {
  CrossBench bench;
  bench.ports[0].send(frame(0xff, 1));
  bench.run();
  EXPECT_EQ(bench.ports[0].inbox.size(), 0u);
  EXPECT_EQ(bench.ports[1].inbox, std::vector<Bytes>{frame(0xff, 1)});
  EXPECT_EQ(bench.ports[2].inbox, std::vector<Bytes>{frame(0xff, 1)});
  EXPECT_EQ(bench.ports[3].inbox, std::vector<Bytes>{frame(0xff, 1)});
}

TEST(SwitchAcrossPollers, SendsAKnownStationsFramesToItAlone) {
  CrossBench bench;
  bench.introduce(3, 4);
  bench.ports[0].send(frame(4, 1));
  bench.run();
  EXPECT_EQ(bench.ports[1].inbox.size() + bench.ports[2].inbox.size(), 0u);
  EXPECT_EQ(bench.ports[3].inbox, std::vector<Bytes>{frame(4, 1)});
}

TEST(SwitchAcrossPollers, KeepsASuperFrameWholeAndItsOffloads) {
  CrossBench bench;
  bench.introduce(3, 2);
  const Bytes payload = packet::test::pattern(60000);
  Bytes super = packet::test::whole_frame({}, payload);
  super[0] = 2, super[1] = 0, super[5] = 2;  // to station 2
  bench.ports[3].takes = {.checksum = true, .gso_tcp4 = true, .max_frame = 1518};
  bench.ports[0].send(super, {.needs_checksum = true,
                              .gso = packet::Gso::tcp4,
                              .csum_start = 34,
                              .csum_offset = 16,
                              .header_length = 66,
                              .gso_size = 1448});
  bench.run();
  EXPECT_EQ(bench.ports[3].inbox, std::vector<Bytes>{super});
}

TEST(SwitchAcrossPollers, FinishesAChecksumBehindLongHeadersOnEitherPoller) {
  CrossBench bench;
  packet::test::FarFrame frame{440, packet::test::pattern(900)};
  for (Bytes* const bytes : {&frame.whole, &frame.undone})
    bytes->at(0) = 0x03;  // everyone's
  bench.ports[0].header = frame.l4 + 32u;
  bench.ports[0].send(frame.undone, frame.offload());
  bench.run();
  for (const std::size_t receiver : {1u, 2u, 3u})
    EXPECT_EQ(bench.ports[receiver].inbox, std::vector<Bytes>{frame.whole}) << receiver;
}

TEST(SwitchAcrossPollers, HearsOfAStationThatMovedWithoutAFrameThatCrosses) {
  CrossBench bench;
  bench.introduce(2, 5);  // everyone knows station 5 behind port 2
  bench.introduce(1, 6);
  bench.introduce(0, 7);
  bench.ports[1].send(frame(7, 5));  // and now it talks to a neighbour of port 1 only
  bench.run();
  bench.ports[1].inbox.clear();
  bench.ports[3].send(frame(5, 8));
  bench.run();
  EXPECT_EQ(bench.ports[1].inbox, std::vector<Bytes>{frame(5, 8)});
  EXPECT_EQ(bench.ports[2].inbox.size(), 0u);
}

// Who gets a frame for station 5 that port 1 or 3 sends: on the poller of port 0, and on that of port 2.
std::vector<std::size_t> receivers_of_5(CrossBench& bench, std::size_t sender) {
  for (FakePort& port : bench.ports)
    port.inbox.clear();
  bench.ports[sender].send(frame(5, static_cast<std::uint8_t>(sender + 20)));
  bench.run();
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < bench.ports.size(); ++i) {
    if (!bench.ports[i].inbox.empty()) out.push_back(i);
  }
  return out;
}
using Receivers = std::vector<std::size_t>;

TEST(SwitchAcrossPollers, FollowsAStationBackAndForth) {
  CrossBench bench;
  for (int i = 0; i < 3; ++i) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{2}}) {
      bench.introduce(at, 5);
      EXPECT_EQ(receivers_of_5(bench, 1), Receivers{at});
      EXPECT_EQ(receivers_of_5(bench, 3), Receivers{at});
    }
  }
}

TEST(SwitchAcrossPollers, BelievesTheNewestSourceWhateverIsStillUnderWay) {
  CrossBench bench;
  bench.introduce(0, 5);
  bench.ports[0].send(frame(0xff, 5));
  bench.here->run_once(0);              // its last frame from there is on the link
  bench.ports[2].send(frame(0xff, 5));  // its first from here
  bench.there->run_once(0);
  bench.run();
  EXPECT_EQ(receivers_of_5(bench, 1), Receivers{2});
  EXPECT_EQ(receivers_of_5(bench, 3), Receivers{2});
}

TEST(SwitchAcrossPollers, ForgetsTheStationsOfAPortThatGoesDown) {
  CrossBench bench;
  bench.introduce(2, 5);
  bench.ports[2].ready = false;
  bench.ports[0].send(frame(5, 20));  // may be dropped: it is under way to that port when everyone learns of it
  bench.run();
  EXPECT_EQ(receivers_of_5(bench, 0), (Receivers{1, 3}));
  EXPECT_EQ(receivers_of_5(bench, 3), (Receivers{0, 1}));
  bench.ports[2].ready = true;
  bench.introduce(2, 5);
  EXPECT_EQ(receivers_of_5(bench, 0), Receivers{2});
}

TEST(SwitchAcrossPollers, CountsWhatDoesNotFitIntoTheRingAndRecovers) {
  CrossBench bench;
  bench.introduce(2, 3);
  for (int i = 0; i < 3000; ++i)
    bench.ports[0].send(frame(3, 1));
  bench.ports[2].room = 10'000;
  while (bench.here->run_once(0)) {
  }
  const std::uint64_t dropped = bench.ports[0].counters().drops(port::DropReason::ring_full).get();
  EXPECT_GT(dropped, 0u);
  bench.run();
  EXPECT_EQ(bench.ports[2].inbox.size() + dropped, 3000u);
  bench.ports[2].inbox.clear();
  bench.ports[0].send(frame(3, 1));
  bench.run();
  EXPECT_EQ(bench.ports[2].inbox.size(), 1u);
}

TEST(SwitchAcrossPollers, DropsFramesUnderWayToADetachedPort) {
  CrossBench bench;
  bench.introduce(2, 3);
  bench.ports[0].send(frame(3, 1));
  bench.here->run_once(0);
  ASSERT_TRUE(bench.sw->detach(bench.ids[2]));
  bench.run();
  EXPECT_EQ(bench.ports[2].inbox.size(), 0u);
}

TEST(SwitchAcrossPollers, ForgetsADetachedPortEverywhereFramesUnderWayIncluded) {
  CrossBench bench;
  bench.ports[0].send(frame(0xff, 1));
  bench.here->run_once(0);  // on the link, not yet learnt there
  ASSERT_TRUE(bench.sw->detach(bench.ids[0]));
  bench.run();
  bench.ports[3].send(frame(1, 4));
  bench.run();
  EXPECT_EQ(bench.ports[1].inbox, (std::vector<Bytes>{frame(0xff, 1), frame(1, 4)}));
  EXPECT_EQ(bench.ports[2].inbox, (std::vector<Bytes>{frame(0xff, 1), frame(1, 4)}));
}

TEST(SwitchAcrossPollers, ListsAStationOnceWithItsOwner) {
  CrossBench bench;
  bench.introduce(0, 1);
  const auto table = bench.sw->mac_table();
  ASSERT_EQ(table.size(), 1u);
  EXPECT_EQ(table[0].port_name, "p0");
}

}  // namespace
}  // namespace vmux::switching

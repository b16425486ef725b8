// SPDX-License-Identifier: BSD-3-Clause
// What can be changed of a switch and its ports while frames pass.
#include <gtest/gtest.h>

#include "switch/switch.hpp"
#include "switch/test/switch_bench.hpp"

namespace vmux::switching {
namespace {

using namespace test;

std::uint64_t too_long(FakePort& port) { return port.counters().drops(port::DropReason::too_long).get(); }

TEST(SwitchChanges, LongerFramesThanAPortsLimitAreDroppedBothWays) {
  Bench bench{{kPlain, kPlain}};
  ASSERT_TRUE(bench.sw->set_max_frame(bench.ids[0], 100));
  bench[0].send(frame(2, 1, {}, 86));
  bench[0].send(frame(2, 1, {}, 87));
  bench[1].send(frame(0xff, 2, {}, 86));
  bench[1].send(frame(0xff, 2, {}, 87));
  bench.run();
  EXPECT_EQ(bench[1].inbox.size(), 1u);
  EXPECT_EQ(bench[0].inbox.size(), 1u);
  EXPECT_EQ(too_long(bench[0]), 2u);
  EXPECT_EQ(too_long(bench[1]), 0u);
  ASSERT_TRUE(bench.sw->set_max_frame(bench.ids[0], 0));
  bench[0].send(frame(2, 1, {}, 87));
  bench.run();
  EXPECT_EQ(bench[1].inbox.size(), 2u);
}

TEST(SwitchChanges, PiecesOfASuperFrameCountForALimit) {
  Bench bench{{kPlain, kPlain}};
  bench[1].takes = {.checksum = true, .gso_tcp4 = true, .max_frame = 65'535};
  const packet::Offload offload{.gso = packet::Gso::tcp4, .header_length = 54, .gso_size = 1000};
  ASSERT_TRUE(bench.sw->set_max_frame(bench.ids[1], 1053));
  bench[0].send(frame(0xff, 1, {}, 4000), offload);
  bench.run();
  EXPECT_EQ(too_long(bench[1]), 1u);
  ASSERT_TRUE(bench.sw->set_max_frame(bench.ids[1], 1054));
  bench[0].send(frame(0xff, 1, {}, 4000), offload);
  bench.run();
  EXPECT_EQ(too_long(bench[1]), 1u);
}

TEST(SwitchChanges, SuperFramesAreCountedWhereTheyAreCut) {
  Bench bench{{kPlain, kPlain, kPlain}};
  bench[1].takes = {.checksum = true, .gso_tcp4 = true, .max_frame = 65'535};
  bench[2].takes = {.max_frame = 1518};
  const packet::Offload offload{.gso = packet::Gso::tcp4, .header_length = 54, .gso_size = 1000};
  bench[0].send(frame(0xff, 1, {}, 4000), offload);
  bench[0].send(frame(0xff, 1));
  bench.run();
  EXPECT_EQ(bench[1].counters().cut.get(), 0u);
  EXPECT_EQ(bench[2].counters().cut.get(), 1u);
}

TEST(SwitchChanges, GroupsThatPassCanBeOthers) {
  Bench bench{{kPlain, kPlain}};
  Bytes lldp = frame(0xff, 1);
  constexpr std::array kGroup{0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e};
  std::transform(kGroup.begin(), kGroup.end(), lldp.begin(), [](int byte) { return Bytes::value_type(byte); });
  bench[0].send(lldp);
  bench.run();
  EXPECT_TRUE(bench[1].inbox.empty());
  ASSERT_TRUE(bench.sw->set_options(300, 1u << 14));
  bench[0].send(lldp);
  bench.run();
  EXPECT_EQ(bench[1].inbox.size(), 1u);
  EXPECT_FALSE(bench.sw->set_options(300, 1u << 1));
  EXPECT_FALSE(bench.sw->set_options(0, 0));
}

TEST(SwitchChanges, FlushForgetsOnePortsAddressesOrAll) {
  Bench bench{{kPlain, kPlain, kPlain}};
  bench.introduce(0, frame(9, 1));
  bench.introduce(1, frame(9, 2));
  bench.introduce(2, frame(9, 3));
  EXPECT_EQ(bench.sw->flush(bench.ids[1]), 1u);
  ASSERT_EQ(bench.sw->mac_table().size(), 2u);
  bench[0].send(frame(2, 1));  // nobody knows where that is
  bench.run();
  EXPECT_EQ(bench[2].inbox.size(), 1u);
  EXPECT_EQ(bench.sw->flush(), 2u);
  EXPECT_TRUE(bench.sw->mac_table().empty());
}

TEST(SwitchChanges, AStaticStationIsNotLearntElsewhereNorForgotten) {
  Bench bench{{kPlain, kPlain, kPlain}};
  Bytes own = frame(9, 2);
  Station station;
  for (std::size_t i = 0; i < 6; ++i)
    station.mac[i] = static_cast<std::uint8_t>(own[6 + i]);
  bench.introduce(2, frame(9, 2));  // it was there before
  ASSERT_TRUE(bench.sw->set_stations(bench.ids[1], {station}));
  bench.introduce(2, frame(9, 2));
  bench[0].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench[1].inbox.size(), 1u);
  EXPECT_TRUE(bench[2].inbox.empty());
  EXPECT_EQ(bench.sw->flush(), 1u);  // port 0's station
  ASSERT_EQ(bench.sw->mac_table().size(), 1u);
  EXPECT_TRUE(bench.sw->mac_table()[0].is_static);
  EXPECT_EQ(bench.sw->mac_table()[0].port, bench.ids[1]);
  bench[1].ready = false;  // its addresses are forgotten, but for this one
  bench.run();
  EXPECT_EQ(bench.sw->mac_table().size(), 1u);
  ASSERT_TRUE(bench.sw->set_stations(bench.ids[1], {}));
  bench.introduce(2, frame(9, 2));
  EXPECT_EQ(bench.sw->mac_table()[0].port, bench.ids[2]);
}

TEST(SwitchChanges, AStaticStationGoesWithItsPortAndIsKnownOnOtherPollers) {
  CrossBench bench;
  Bytes own = frame(9, 2);
  Station station;
  for (std::size_t i = 0; i < 6; ++i)
    station.mac[i] = static_cast<std::uint8_t>(own[6 + i]);
  ASSERT_TRUE(bench.sw->set_stations(bench.ids[3], {station}));
  bench.ports[0].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench.ports[3].inbox.size(), 1u);
  EXPECT_TRUE(bench.ports[1].inbox.empty());
  ASSERT_TRUE(bench.sw->detach(bench.ids[3]));
  bench.ports[0].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench.ports[1].inbox.size(), 1u);
}

}  // namespace
}  // namespace vmux::switching

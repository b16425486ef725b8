// SPDX-License-Identifier: BSD-3-Clause
#include "switch/switch.hpp"

#include <gtest/gtest.h>

#include "switch/fake_port.hpp"

namespace vmux::switching {
namespace {

using test::Bytes;
using test::FakePort;
using test::frame;

const VlanConfig kPlain{};
VlanConfig access(std::uint16_t vlan) { return {.mode = VlanMode::access, .tag = vlan, .allowed = {}}; }
VlanConfig trunk(std::uint16_t native, std::vector<std::uint16_t> allowed) {
  return {.mode = VlanMode::trunk, .tag = native, .allowed = std::move(allowed)};
}

// A switch on one poller that the test drives round by round.
class Bench {
 public:
  explicit Bench(const std::vector<VlanConfig>& vlans, SwitchOptions options = {})
      : poller{*runtime::Poller::create()}, sw{*Switch::create("sw", options)} {
    for (const VlanConfig& vlan : vlans) {
      ports.push_back(std::make_unique<FakePort>());
      const std::string name = "p" + std::to_string(ports.size() - 1);
      ids.push_back(*sw->attach(*ports.back(), *poller, {.name = name, .vlan = vlan}));
    }
  }
  void run() {
    while (poller->run_once(0)) {
    }
  }
  // Lets a station be heard, and empties all inboxes.
  void introduce(std::size_t at, Bytes bytes) {
    ports[at]->send(std::move(bytes));
    run();
    for (const auto& port : ports)
      port->inbox.clear();
  }
  FakePort& operator[](std::size_t index) { return *ports[index]; }

  std::unique_ptr<runtime::Poller> poller;
  std::vector<std::unique_ptr<FakePort>> ports;
  std::unique_ptr<Switch> sw;  // goes first
  std::vector<PortId> ids;
};

struct Out {
  std::size_t port;
  Bytes bytes;
};
struct Row {
  const char* description;
  std::vector<VlanConfig> ports;
  std::vector<std::pair<std::size_t, Bytes>> heard_before;
  Bytes in;  // sent by port 0
  packet::Offload offload;
  std::vector<Out> out;
  std::uint64_t filtered = 0, malformed = 0;  // counted at port 0
};

Bytes without_ethertype() {
  Bytes bytes = frame(2, 1);
  bytes.resize(13);
  return bytes;
}
Bytes cut_tag() {
  Bytes bytes = frame(2, 1, 5);
  bytes.resize(17);
  return bytes;
}
Bytes to_address(Bytes bytes, const Bytes& address) {
  std::copy(address.begin(), address.end(), bytes.begin());
  return bytes;
}
Bytes from_address(Bytes bytes, const Bytes& address) {
  std::copy(address.begin(), address.end(), bytes.begin() + 6);
  return bytes;
}
packet::Offload beside(std::uint16_t tci) { return {.has_vlan = true, .vlan_tci = tci}; }

const Row kRows[] = {
    {"an unknown station: everyone but the sender",
     {kPlain, kPlain, kPlain},
     {},
     frame(2, 1),
     {},
     {{1, frame(2, 1)}, {2, frame(2, 1)}}},
    {"broadcast: everyone but the sender",
     {kPlain, kPlain, kPlain},
     {{1, frame(9, 2)}},
     frame(0xff, 1),
     {},
     {{1, frame(0xff, 1)}, {2, frame(0xff, 1)}}},
    {"a known station: its port alone",
     {kPlain, kPlain, kPlain},
     {{2, frame(9, 3)}},
     frame(3, 1),
     {},
     {{2, frame(3, 1)}}},
    {"a station behind the sender's own port: nowhere", {kPlain, kPlain}, {{0, frame(9, 2)}}, frame(2, 1), {}, {}, 1},
    {"a station that moved: its new port",
     {kPlain, kPlain, kPlain},
     {{1, frame(9, 3)}, {2, frame(9, 3)}},
     frame(3, 1),
     {},
     {{2, frame(3, 1)}}},
    {"a group address as source is forwarded, and not learnt",
     {kPlain, kPlain, kPlain},
     {{2, from_address(frame(9, 9), {3, 0, 0, 0, 0, 7})}},
     to_address(frame(9, 1), {3, 0, 0, 0, 0, 7}),
     {},
     {{1, to_address(frame(9, 1), {3, 0, 0, 0, 0, 7})}, {2, to_address(frame(9, 1), {3, 0, 0, 0, 0, 7})}}},
    {"bridge group addresses end here",
     {kPlain, kPlain},
     {},
     to_address(frame(9, 1), {0x01, 0x80, 0xc2, 0, 0, 0x0e}),
     {},
     {},
     1},
    {"the next group address does not",
     {kPlain, kPlain},
     {},
     to_address(frame(9, 1), {0x01, 0x80, 0xc2, 0, 0, 0x10}),
     {},
     {{1, to_address(frame(9, 1), {0x01, 0x80, 0xc2, 0, 0, 0x10})}}},
    {"cut Ethernet header", {kPlain, kPlain}, {}, without_ethertype(), {}, {}, 0, 1},
    {"cut tag", {kPlain, kPlain}, {}, cut_tag(), {}, {}, 0, 1},

    {"default ports: a tag passes untouched",
     {kPlain, kPlain},
     {},
     frame(2, 1, 0x6005),
     {},
     {{1, frame(2, 1, 0x6005)}}},
    {"default ports: a tag beside ends in the bytes",
     {kPlain, kPlain},
     {},
     frame(2, 1),
     beside(0x6005),
     {{1, frame(2, 1, 0x6005)}}},
    {"default ports: a priority tag is taken off", {kPlain, kPlain}, {}, frame(2, 1, 0x6000), {}, {{1, frame(2, 1)}}},
    {"VLAN 4095 is reserved", {kPlain, kPlain}, {}, frame(2, 1, 4095), {}, {}, 1},
    {"a service tag is not a VLAN tag",
     {access(5), access(5)},
     {},
     [] {
       Bytes b = frame(2, 1, 7);
       b[12] = 0x88;
       b[13] = 0xa8;
       return b;
     }(),
     {},
     {{1,
       [] {
         Bytes b = frame(2, 1, 7);
         b[12] = 0x88;
         b[13] = 0xa8;
         return b;
       }()}}},
    {"stations are known per VLAN",
     {kPlain, kPlain, kPlain},
     {{1, frame(9, 3, 5)}},
     frame(3, 1, 6),
     {},
     {{1, frame(3, 1, 6)}, {2, frame(3, 1, 6)}}},

    {"access to access of the same VLAN", {access(5), access(5), access(6)}, {}, frame(2, 1), {}, {{1, frame(2, 1)}}},
    {"access to access of another VLAN", {access(5), access(6)}, {}, frame(0xff, 1), {}, {}},
    {"access does not reach untagged segments", {access(5), kPlain}, {}, frame(0xff, 1), {}, {{1, frame(0xff, 1, 5)}}},
    {"access refuses tags", {access(5), access(5)}, {}, frame(2, 1, 5), {}, {}, 1},
    {"access refuses a tag beside", {access(5), access(5)}, {}, frame(2, 1), beside(7), {}, 1},
    {"access takes a priority tag", {access(5), access(5)}, {}, frame(2, 1, 0xe000), {}, {{1, frame(2, 1)}}},
    {"access takes a priority tag beside", {access(5), access(5)}, {}, frame(2, 1), beside(0xe000), {{1, frame(2, 1)}}},
    {"access to trunk: tagged", {access(5), trunk(0, {5, 6})}, {}, frame(2, 1), {}, {{1, frame(2, 1, 5)}}},
    {"access to trunk: the priority stays",
     {access(5), trunk(0, {5})},
     {},
     frame(2, 1, 0xe000),
     {},
     {{1, frame(2, 1, 0xe005)}}},
    {"access to a trunk that does not carry it", {access(5), trunk(0, {6})}, {}, frame(2, 1), {}, {}},
    {"access to a trunk whose native VLAN it is: untagged",
     {access(5), trunk(5, {6})},
     {},
     frame(2, 1),
     {},
     {{1, frame(2, 1)}}},
    {"trunk to access: the tag goes",
     {trunk(0, {5}), access(5), access(6)},
     {},
     frame(2, 1, 0x2005),
     {},
     {{1, frame(2, 1)}}},
    {"trunk to access: a tag beside goes", {trunk(0, {5}), access(5)}, {}, frame(2, 1), beside(5), {{1, frame(2, 1)}}},
    {"trunk to access: only the outer tag goes",
     {trunk(0, {5}), access(5)},
     {},
     frame(2, 1, 7),
     beside(5),
     {{1, frame(2, 1, 7)}}},
    {"trunk to trunk", {trunk(0, {5}), trunk(0, {5}), trunk(0, {6})}, {}, frame(2, 1, 5), {}, {{1, frame(2, 1, 5)}}},
    {"trunk refuses what it does not carry", {trunk(0, {5}), kPlain}, {}, frame(2, 1, 6), {}, {}, 1},
    {"trunk with a native VLAN: untagged frames belong to it",
     {trunk(5, {6}), access(5), access(6)},
     {},
     frame(2, 1),
     {},
     {{1, frame(2, 1)}}},
    {"trunk with a native VLAN: a tag of it is taken",
     {trunk(5, {6}), access(5)},
     {},
     frame(2, 1, 5),
     {},
     {{1, frame(2, 1)}}},
    {"native to tagged trunk: a priority tag gets the VLAN",
     {trunk(5, {6}), trunk(0, {5})},
     {},
     frame(2, 1, 0x6000),
     {},
     {{1, frame(2, 1, 0x6005)}}},
    {"a flood leaves each port in its own form",
     {trunk(0, {5}), access(5), trunk(5, {6}), trunk(0, {5}), access(6)},
     {},
     frame(0xff, 1, 5),
     {},
     {{1, frame(0xff, 1)}, {2, frame(0xff, 1)}, {3, frame(0xff, 1, 5)}}},
};

class SwitchRows : public testing::TestWithParam<Row> {};

TEST_P(SwitchRows, ForwardsAsTheRowSays) {
  const Row& row = GetParam();
  Bench bench{row.ports};
  for (const auto& [at, bytes] : row.heard_before)
    bench.introduce(at, bytes);
  bench[0].send(row.in, row.offload);
  bench.run();
  std::vector<std::vector<Bytes>> expected(row.ports.size());
  for (const Out& out : row.out)
    expected[out.port].push_back(out.bytes);
  for (std::size_t i = 0; i < row.ports.size(); ++i) {
    EXPECT_EQ(bench[i].inbox, expected[i]) << row.description << ", port " << i;
  }
  EXPECT_EQ(bench[0].counters().drop_filtered.get(), row.filtered) << row.description;
  EXPECT_EQ(bench[0].counters().drop_malformed.get(), row.malformed) << row.description;
}

INSTANTIATE_TEST_SUITE_P(Rows, SwitchRows, testing::ValuesIn(kRows));

TEST(Switch, KeepsTheOrderOfAFlowAmongOthers) {
  Bench bench{{kPlain, kPlain, kPlain}};
  bench.introduce(1, frame(9, 2));
  bench.introduce(2, frame(9, 3));
  std::vector<Bytes> to_2, to_3;
  for (std::size_t i = 0; i < 50; ++i) {
    to_2.push_back(frame(2, 1, {}, 46 + i));
    to_3.push_back(frame(i % 3 == 0 ? 0xff : 3, 1, {}, 200 + i));
    bench[0].send(to_2.back());
    bench[0].send(to_3.back());
  }
  bench.run();
  std::erase_if(bench[1].inbox, [](const Bytes& bytes) { return bytes[0] == 0xff; });
  EXPECT_EQ(bench[1].inbox, to_2);
  EXPECT_EQ(bench[2].inbox, to_3);
}

TEST(Switch, DeliversABurstForOnePortAtOnceAndFlushesOnce) {
  Bench bench{{kPlain, kPlain}};
  bench.introduce(1, frame(9, 2));
  for (int i = 0; i < 20; ++i)
    bench[0].send(frame(2, 1));
  bench[1].deliveries.clear();
  bench[1].flushes = 0;
  bench.run();
  EXPECT_EQ(bench[1].deliveries, std::vector<std::size_t>{20});
  EXPECT_EQ(bench[1].flushes, 1u);
}

TEST(Switch, CountsFramesAndBytesOnBothSides) {
  Bench bench{{kPlain, kPlain}};
  bench[0].send(frame(2, 1));
  bench[0].send(frame(2, 1, {}, 100));
  bench.run();
  EXPECT_EQ(bench[0].counters().rx_frames.get(), 2u);
  EXPECT_EQ(bench[0].counters().rx_bytes.get(), 60u + 114u);
  EXPECT_EQ(bench[1].counters().tx_frames.get(), 2u);
  EXPECT_EQ(bench[1].counters().tx_bytes.get(), 60u + 114u);
}

TEST(Switch, CountsWhatAReceiverHasNoRoomFor) {
  Bench bench{{kPlain, kPlain}};
  bench[1].room = 3;
  for (int i = 0; i < 10; ++i)
    bench[0].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench[1].inbox.size(), 3u);
  EXPECT_EQ(bench[1].counters().drop_no_room.get(), 7u);
}

TEST(Switch, CountsWhatAReceiverIsNotReadyFor) {
  Bench bench{{kPlain, kPlain}};
  bench[1].ready = false;
  bench[0].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench[1].inbox.size(), 0u);
  EXPECT_EQ(bench[1].counters().drop_not_ready.get(), 1u);
}

TEST(Switch, DropsWhatIsLongerThanTheReceiverTakesAndKeepsTheRest) {
  Bench bench{{kPlain, kPlain}};
  bench[0].send(frame(2, 1, {}, 1504));
  bench[0].send(frame(2, 1, {}, 1505));
  bench[0].send(frame(2, 1), beside(5));
  bench[0].send(frame(2, 1, {}, 1501), beside(5));  // fits without its tag only
  bench.run();
  EXPECT_EQ(bench[1].inbox, (std::vector<Bytes>{frame(2, 1, {}, 1504), frame(2, 1, 5)}));
  EXPECT_EQ(bench[1].counters().drop_too_long.get(), 2u);
}

TEST(Switch, LetsASuperFramePassWhosePiecesFit) {
  Bench bench{{kPlain, kPlain}};
  const Bytes super = packet::test::whole_frame({}, packet::test::pattern(4000));
  packet::Offload offload{.needs_checksum = true,
                          .gso = packet::Gso::tcp4,
                          .csum_start = 34,
                          .csum_offset = 16,
                          .header_length = 66,
                          .gso_size = 1448};
  bench[0].send(super, offload);
  offload.gso_size = 1460;  // 1526 bytes with its headers
  bench[0].send(super, offload);
  bench.run();
  EXPECT_EQ(bench[1].inbox.size(), 3u);
  EXPECT_EQ(bench[1].counters().drop_too_long.get(), 1u);
}

TEST(Switch, TakesATagOffASuperFrameWithItsOffsets) {
  Bench bench{{trunk(0, {5}), access(5)}};
  const packet::test::FrameSpec spec{.tag = 5};
  const Bytes payload = packet::test::pattern(1000);
  bench[0].send(whole_frame(spec, payload), {.needs_checksum = true,
                                             .gso = packet::Gso::tcp4,
                                             .csum_start = 38,
                                             .csum_offset = 16,
                                             .header_length = 70,
                                             .gso_size = 1448});
  bench.run();
  EXPECT_EQ(bench[1].inbox, std::vector<Bytes>{packet::test::whole_frame({}, payload)});
}

TEST(Switch, GivesEveryPortABoundedTurn) {
  Bench bench{{kPlain, kPlain, kPlain}};
  bench.introduce(2, frame(9, 3));
  for (int i = 0; i < 500; ++i)
    bench[0].send(frame(3, 1));
  bench[1].send(frame(3, 2));
  bench.poller->run_once(0);
  EXPECT_TRUE(bench[1].outgoing.empty());
  EXPECT_FALSE(bench[0].outgoing.empty());
}

TEST(Switch, LooksAtQuietPortsLessOftenWhileOthersAreBusy) {
  Bench bench{{kPlain, kPlain, kPlain}};
  bench[1].room = 1'000'000;
  for (int i = 0; i < 64 * 200; ++i)
    bench[0].send(frame(2, 1));
  bench.run();
  EXPECT_LT(bench[2].peeks, 110u);
  EXPECT_GT(bench[2].peeks, 64u);
}

TEST(Switch, ShowsWhoWasHeardWhere) {
  Bench bench{{kPlain, access(5)}};
  bench.introduce(0, frame(9, 1));
  bench.introduce(1, frame(9, 2));
  auto table = bench.sw->mac_table();
  std::sort(table.begin(), table.end(), [](const MacEntry& a, const MacEntry& b) { return a.mac < b.mac; });
  ASSERT_EQ(table.size(), 2u);
  EXPECT_EQ(table[0].mac, (std::array<std::uint8_t, 6>{2, 0, 0, 0, 0, 1}));
  EXPECT_EQ(table[0].vlan, 0);
  EXPECT_EQ(table[0].port_name, "p0");
  EXPECT_EQ(table[1].vlan, 5);
  EXPECT_EQ(table[1].port, bench.ids[1]);
}

TEST(Switch, ForgetsAPortThatIsDetached) {
  Bench bench{{kPlain, kPlain, kPlain}};
  bench.introduce(1, frame(9, 2));
  ASSERT_TRUE(bench.sw->detach(bench.ids[1]));
  bench.ports[1].reset();
  bench[0].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench[2].inbox.size(), 1u);
  EXPECT_EQ(bench.sw->mac_table().size(), 1u);
  EXPECT_EQ(bench.sw->ports().size(), 2u);
  EXPECT_EQ(bench.sw->detach(bench.ids[1]).error().code, Errc::not_found);
}

TEST(Switch, NeverGivesAnIdTwice) {
  Bench bench{{kPlain}};
  ASSERT_TRUE(bench.sw->detach(bench.ids[0]));
  const auto again = bench.sw->attach(bench[0], *bench.poller, {.name = "p0"});
  ASSERT_TRUE(again);
  EXPECT_NE(*again, bench.ids[0]);
}

TEST(Switch, ChangesTheVlanOfAPort) {
  Bench bench{{access(5), access(6)}};
  ASSERT_TRUE(bench.sw->set_vlan(bench.ids[1], access(5)));
  bench[0].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench[1].inbox.size(), 1u);
}

struct BadConfig {
  const char* description;
  PortConfig config;
  Errc code;
};
const BadConfig kBadConfigs[] = {
    {"name taken", {.name = "p0"}, Errc::already_exists},
    {"access without a VLAN", {.name = "x", .vlan = access(0)}, Errc::invalid_argument},
    {"access with a VLAN that does not exist", {.name = "x", .vlan = access(4095)}, Errc::invalid_argument},
    {"access with a list", {.name = "x", .vlan = {VlanMode::access, 5, {6}}}, Errc::invalid_argument},
    {"trunk with VLAN 0 in its list", {.name = "x", .vlan = trunk(0, {0})}, Errc::invalid_argument},
};

class SwitchRefuses : public testing::TestWithParam<BadConfig> {};
TEST_P(SwitchRefuses, ABadConfig) {
  Bench bench{{kPlain}};
  FakePort port;
  const auto result = bench.sw->attach(port, *bench.poller, GetParam().config);
  ASSERT_FALSE(result) << GetParam().description;
  EXPECT_EQ(result.error().code, GetParam().code) << GetParam().description;
}
INSTANTIATE_TEST_SUITE_P(Rows, SwitchRefuses, testing::ValuesIn(kBadConfigs));

TEST(SwitchFlooder, CannotPushOthersOutOfTheTable) {
  Bench bench{{kPlain, kPlain}};
  bench.introduce(1, frame(9, 2));
  for (unsigned i = 0; i < 5000; ++i) {
    bench[0].send(
        from_address(frame(9, 1), {2, 1, 1, 1, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)}));
  }
  bench.run();
  const auto table = bench.sw->mac_table();
  EXPECT_EQ(std::count_if(table.begin(), table.end(), [](const MacEntry& e) { return e.port_name == "p0"; }), 256);
  EXPECT_EQ(std::count_if(table.begin(), table.end(), [](const MacEntry& e) { return e.port_name == "p1"; }), 1);
}

// Two pollers, driven in turn by the test.
class CrossBench {
 public:
  CrossBench() {
    for (std::size_t i = 0; i < 4; ++i) {  // ports 0 and 1 here, 2 and 3 there
      ids.push_back(*sw->attach(ports[i], i < 2 ? *here : *there, {.name = "p" + std::to_string(i)}));
    }
  }
  void run() {
    while (step()) {
    }
  }
  // A round of each; true when either found something.
  bool step() {
    const bool worked_here = here->run_once(0), worked_there = there->run_once(0);
    return worked_here || worked_there;
  }
  void introduce(std::size_t at, std::uint8_t station) {
    ports[at].send(frame(9, station));
    run();
    for (FakePort& port : ports)
      port.inbox.clear();
  }
  std::unique_ptr<runtime::Poller> here = *runtime::Poller::create(), there = *runtime::Poller::create();
  std::array<FakePort, 4> ports;
  std::unique_ptr<Switch> sw = *Switch::create("sw");
  std::vector<PortId> ids;
};

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

TEST(SwitchAcrossPollers, CountsWhatDoesNotFitIntoTheRingAndRecovers) {
  CrossBench bench;
  bench.introduce(2, 3);
  for (int i = 0; i < 3000; ++i)
    bench.ports[0].send(frame(3, 1));
  bench.ports[2].room = 10'000;
  while (bench.here->run_once(0)) {
  }
  const std::uint64_t dropped = bench.ports[0].counters().drop_ring_full.get();
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

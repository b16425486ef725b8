// SPDX-License-Identifier: BSD-3-Clause
#include "switch/switch.hpp"

#include <gtest/gtest.h>

#include "switch/test/switch_bench.hpp"

namespace vmux::switching {
namespace {

using namespace test;

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

TEST(Switch, DeliversABurstForOnePortAtOnceInOneRound) {
  Bench bench{{kPlain, kPlain}};
  bench.introduce(1, frame(9, 2));
  for (int i = 0; i < 20; ++i)
    bench[0].send(frame(2, 1));
  bench[1].deliveries.clear();
  bench[1].rounds = 0;
  bench.run();
  EXPECT_EQ(bench[1].deliveries, std::vector<std::size_t>{20});
  EXPECT_EQ(bench[1].rounds, 1u);
}

TEST(Switch, TimesOneTurnInSixtyOne) {
  Bench bench{{kPlain, kPlain}};
  const auto timed = [&bench] {
    std::uint64_t sum = 0;
    for (const std::uint64_t count : bench.sw->turns().counts)
      sum += count;
    return sum;
  };
  for (unsigned i = 0; i < kTurnsPerSample; ++i) {  // each round has a turn of either port
    bench[0].send(frame(2, 1));
    bench[1].send(frame(1, 2));
    bench.poller->run_once(0);
  }
  EXPECT_EQ(timed(), 2u);
  EXPECT_GT(bench.sw->turns().sum_ns, 0u);
}

TEST(TurnTimes, CountsATurnBelowItsBound) {
  EXPECT_EQ(TurnTimes::bucket_of(0), 0u);
  EXPECT_EQ(TurnTimes::bucket_of(255), 0u);
  EXPECT_EQ(TurnTimes::bucket_of(256), 1u);
  for (std::size_t i = 0; i + 1 < kTurnBuckets; ++i) {
    EXPECT_EQ(TurnTimes::bucket_of(turn_bound_ns(i) - 1), i);
    EXPECT_EQ(TurnTimes::bucket_of(turn_bound_ns(i)), i + 1);
  }
  EXPECT_EQ(TurnTimes::bucket_of(~0ull), kTurnBuckets - 1);
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
  EXPECT_EQ(bench[1].counters().drops(port::DropReason::no_room).get(), 7u);
}

TEST(Switch, DoesNotCountAsDeliveredWhatAReceiverLoses) {
  Bench bench{{kPlain, kPlain}};
  bench[1].room = 9;
  bench[1].loses = {port::DropReason::no_room, port::DropReason::malformed, port::DropReason::no_room};
  for (std::size_t i = 0; i < 10; ++i)
    bench[0].send(frame(2, 1, {}, 46 + i));
  bench.run();
  EXPECT_EQ(bench[1].inbox.size(), 6u);
  EXPECT_EQ(bench[1].counters().tx_frames.get(), 6u);
  EXPECT_EQ(bench[1].counters().tx_bytes.get(), 63u + 64 + 65 + 66 + 67 + 68);
  EXPECT_EQ(bench[1].counters().drops(port::DropReason::no_room).get(), 3u);
  EXPECT_EQ(bench[1].counters().drops(port::DropReason::malformed).get(), 1u);
}

TEST(Switch, CountsWhatAReceiverIsNotReadyFor) {
  Bench bench{{kPlain, kPlain}};
  bench[1].ready = false;
  bench[0].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench[1].inbox.size(), 0u);
  EXPECT_EQ(bench[1].counters().drops(port::DropReason::not_ready).get(), 1u);
}

TEST(Switch, DropsWhatIsLongerThanTheReceiverTakesAndKeepsTheRest) {
  Bench bench{{kPlain, kPlain}};
  bench[0].send(frame(2, 1, {}, 1504));
  bench[0].send(frame(2, 1, {}, 1505));
  bench[0].send(frame(2, 1), beside(5));
  bench[0].send(frame(2, 1, {}, 1501), beside(5));  // fits without its tag only
  bench.run();
  EXPECT_EQ(bench[1].inbox, (std::vector<Bytes>{frame(2, 1, {}, 1504), frame(2, 1, 5)}));
  EXPECT_EQ(bench[1].counters().drops(port::DropReason::too_long).get(), 2u);
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
  EXPECT_EQ(bench[1].counters().drops(port::DropReason::too_long).get(), 1u);
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
  EXPECT_LT(bench[2].looks, 110u);
  EXPECT_GT(bench[2].looks, 64u);
}

// Port 0 has so many rounds' frames for port 1; the ports behind these two are quiet.
constexpr unsigned kCrowd = 60;
struct CrowdBench : Bench {
  explicit CrowdBench(unsigned rounds) : Bench{std::vector<VlanConfig>(2 + kCrowd, kPlain)} {
    introduce(1, frame(9, 2));
    ports[1]->room = 1'000'000;
    for (unsigned i = 0; i < 64 * rounds; ++i)
      ports[0]->send(frame(2, 1));
  }
};

TEST(Switch, CrowdOfQuietPortsCostsABusyOneTwoLooksARoundAtMost) {
  constexpr unsigned kRounds = 400;
  CrowdBench bench{kRounds};
  const auto looks = [&bench] {
    unsigned sum = 0;
    for (unsigned port = 2; port < 2 + kCrowd; ++port)
      sum += bench[port].looks;
    return sum;
  };
  const unsigned before = looks();
  bench.run();
  EXPECT_LT(looks() - before, kCrowd * 66 + 2 * kRounds);  // until they are quiet, two a round, and all when it is over
  for (unsigned port = 2; port < 2 + kCrowd; ++port)
    EXPECT_GT(bench[port].looks, 64u) << port;
}

TEST(Switch, QuietPortInACrowdIsHeardWhileAnotherIsBusy) {
  CrowdBench bench{200};
  for (unsigned round = 0; round < 100; ++round)
    bench.poller->run_once(0);
  bench[40].send(frame(2, 3));
  for (unsigned round = 0; round < 40; ++round)
    bench.poller->run_once(0);
  EXPECT_FALSE(bench[0].outgoing.empty());
  EXPECT_EQ(bench[40].counters().rx_frames.get(), 1u);
}

TEST(Switch, RoundThatFindsNothingHasLookedAtEveryQuietPort) {
  CrowdBench bench{100};
  while (!bench[0].outgoing.empty())
    ASSERT_TRUE(bench.poller->run_once(0));
  for (unsigned port = 2; port < 2 + kCrowd; ++port)
    bench[port].send(frame(2, 3));
  bench.run();
  for (unsigned port = 2; port < 2 + kCrowd; ++port)
    EXPECT_TRUE(bench[port].outgoing.empty()) << port;
}

// The round in which port 0 falls quiet, whoever has the first turn in it.
class PortFallsQuiet : public testing::TestWithParam<unsigned> {};

TEST_P(PortFallsQuiet, AndTheOthersHaveTheirTurnInThatRound) {
  Bench bench{{kPlain, kPlain, kPlain}};
  const auto rounds = [&bench](unsigned count) {
    for (; count > 0; --count)
      bench.poller->run_once(0);
  };
  rounds(GetParam());
  bench[0].send(frame(9, 1));
  rounds(1 + 32);
  bench[1].send(frame(9, 2));
  bench[2].send(frame(9, 3));
  rounds(31);
  bench[1].send(frame(9, 2));
  bench[2].send(frame(9, 3));
  rounds(1);
  EXPECT_TRUE(bench[1].outgoing.empty());
  EXPECT_TRUE(bench[2].outgoing.empty());
  const unsigned peeks = bench[0].looks;
  rounds(1);
  bench[1].send(frame(9, 2));
  rounds(1);
  EXPECT_LE(bench[0].looks - peeks, 2u);
}

INSTANTIATE_TEST_SUITE_P(FirstTurns, PortFallsQuiet, testing::Values(0, 1, 2));

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

// Ports 1 and 2 may have station 2; who gets a frame of station 1 for it.
struct Moves : Bench {
  Moves() : Bench{{kPlain, kPlain, kPlain}} { introduce(1, frame(9, 2)); }
  std::pair<std::size_t, std::size_t> arrivals() {
    for (const auto& port : ports)
      port->inbox.clear();
    ports[0]->send(frame(2, 1));
    run();
    return {ports[1]->inbox.size(), ports[2]->inbox.size()};
  }
};
using Arrivals = std::pair<std::size_t, std::size_t>;

TEST(SwitchMoves, FollowAStationBackAndForth) {
  Moves bench;
  for (int i = 0; i < 3; ++i) {
    bench.introduce(2, frame(0xff, 2));
    EXPECT_EQ(bench.arrivals(), Arrivals(0, 1));
    bench.introduce(1, frame(0xff, 2));
    EXPECT_EQ(bench.arrivals(), Arrivals(1, 0));
  }
}

TEST(SwitchMoves, FloodFromTheFirstFrameOnForAStationWhosePortIsDown) {
  Moves bench;
  bench[1].ready = false;
  EXPECT_EQ(bench.arrivals(), Arrivals(0, 1));
  EXPECT_EQ(bench[1].counters().drops(port::DropReason::not_ready).get(), 1u);
  EXPECT_EQ(bench.sw->mac_table().size(), 1u) << "the sender";
}

TEST(SwitchMoves, FloodForAStationWhosePortWasDownAndIsUpAgain) {
  Moves bench;
  bench[1].ready = false;
  bench.arrivals();
  bench[1].ready = true;
  EXPECT_EQ(bench.arrivals(), Arrivals(1, 1));
  bench.introduce(1, frame(9, 2));
  EXPECT_EQ(bench.arrivals(), Arrivals(1, 0));
}

TEST(SwitchMoves, FloodForAStationThatOnlySendsAsLongAsItsPortTakesNothing) {
  Moves bench;
  bench[1].ready = false;
  bench.introduce(1, frame(9, 2));
  EXPECT_EQ(bench.arrivals(), Arrivals(0, 1));
  bench.introduce(1, frame(9, 2));
  EXPECT_EQ(bench.arrivals(), Arrivals(0, 1));
}

TEST(SwitchMoves, KeepTheOrderOfABurstForAPortThatIsDown) {
  Moves bench;
  bench[1].ready = false;
  const std::vector<Bytes> sent{frame(2, 1), frame(0xff, 1), frame(2, 1, {}, 60), frame(2, 1, {}, 61)};
  for (const Bytes& bytes : sent)
    bench[0].send(bytes);
  bench.run();
  EXPECT_EQ(bench[2].inbox, sent);
  EXPECT_EQ(bench[1].counters().drops(port::DropReason::not_ready).get(), sent.size());
}

TEST(SwitchMoves, LeaveAloneWhatIsInAnotherVlan) {
  Bench bench{{kPlain, kPlain, kPlain}};
  bench.introduce(1, frame(9, 2, 5));
  bench.introduce(2, frame(9, 2, 6));
  bench[0].send(frame(2, 1, 5));
  bench[0].send(frame(2, 1, 6));
  bench.run();
  EXPECT_EQ(bench[1].inbox, std::vector<Bytes>{frame(2, 1, 5)});
  EXPECT_EQ(bench[2].inbox, std::vector<Bytes>{frame(2, 1, 6)});
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
    {"access that takes only tagged frames",
     {.name = "x", .vlan = {VlanMode::access, 5, {}, true}},
     Errc::invalid_argument},
    {"native VLAN of a trunk that takes only tagged frames",
     {.name = "x", .vlan = {VlanMode::trunk, 5, {6}, true}},
     Errc::invalid_argument},
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

}  // namespace
}  // namespace vmux::switching

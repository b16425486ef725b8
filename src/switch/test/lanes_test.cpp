// SPDX-License-Identifier: BSD-3-Clause
// Ports whose queues are spread over pollers.
#include <gtest/gtest.h>

#include <algorithm>

#include "switch/switch.hpp"
#include "switch/test/fake_port.hpp"

namespace vmux::switching {
namespace {

using test::Bytes;
using test::FakePort;
using test::frame;

/// The sender's station tells the lane: its number, plus a shift, by the count of lanes.
class BySender final : public port::Steering {
 public:
  explicit BySender(unsigned lanes, unsigned shift = 0) noexcept : lanes_(lanes), shift_(shift) {}
  void steer(std::span<const packet::FrameView> frames, std::span<std::uint8_t> lanes) const noexcept override {
    for (std::size_t i = 0; i < frames.size(); ++i) {
      lanes[i] = static_cast<std::uint8_t>((static_cast<unsigned>(frames[i].header[11]) + shift_) % lanes_);
    }
  }

 private:
  unsigned lanes_, shift_;
};

/// Says a lane that the port does not have.
class Beyond final : public port::Steering {
  void steer(std::span<const packet::FrameView>, std::span<std::uint8_t> lanes) const noexcept override {
    std::fill(lanes.begin(), lanes.end(), std::uint8_t{200});
  }
};

// Three pollers, driven in turn by the test. "wide" has a lane on each of the first two; each poller has a port of its
// own besides: single[0], single[1], single[2].
class LanesBench {
 public:
  explicit LanesBench(std::shared_ptr<const port::Steering> steering = nullptr) {
    for (auto& poller : pollers)
      poller = *runtime::Poller::create({.mailbox_capacity = 8});
    lanes[0].publish(std::move(steering));
    wide = attach_wide();
    for (std::size_t i = 0; i < singles.size(); ++i) {
      ids[i] = *sw->attach(singles[i], *pollers[i], {.name = "p" + std::to_string(i)});
    }
    run();
  }
  PortId attach_wide() {
    const Lane both[] = {{lanes[0], *pollers[0]}, {lanes[1], *pollers[1]}};
    return *sw->attach(both, {.name = "wide"});
  }
  void run() {
    for (bool worked = true; worked;) {
      worked = false;
      for (const auto& poller : pollers)
        worked = poller->run_once(0) || worked;
    }
  }
  void introduce(FakePort& port, std::uint8_t station) {
    port.send(frame(200, station));
    run();
    for (FakePort* each : {&lanes[0], &lanes[1], &singles[0], &singles[1], &singles[2]})
      each->inbox.clear();
  }
  [[nodiscard]] std::size_t wide_received() const { return lanes[0].inbox.size() + lanes[1].inbox.size(); }

  std::array<std::unique_ptr<runtime::Poller>, 3> pollers;
  std::array<FakePort, 2> lanes;
  std::array<FakePort, 3> singles;
  std::unique_ptr<Switch> sw = *Switch::create("sw");
  PortId wide;
  std::array<PortId, 3> ids;
};

TEST(Lanes, AFrameTakesTheLaneThatTheSteeringNamesFromEveryPoller) {
  LanesBench bench{std::make_shared<BySender>(2)};
  bench.introduce(bench.lanes[0], 9);
  for (std::uint8_t i = 0; i < 3; ++i) {
    bench.singles[i].send(frame(9, static_cast<std::uint8_t>(20 + i)));
    bench.singles[i].send(frame(9, static_cast<std::uint8_t>(30 + i)));
  }
  bench.run();
  const auto in = [](FakePort& port) {
    std::sort(port.inbox.begin(), port.inbox.end());
    return port.inbox;
  };
  EXPECT_EQ(in(bench.lanes[0]), (std::vector<Bytes>{frame(9, 20), frame(9, 22), frame(9, 30), frame(9, 32)}));
  EXPECT_EQ(in(bench.lanes[1]), (std::vector<Bytes>{frame(9, 21), frame(9, 31)}));
  EXPECT_EQ(bench.singles[0].inbox.size() + bench.singles[1].inbox.size() + bench.singles[2].inbox.size(), 0u);
}

TEST(Lanes, ABurstToTwoPortsAndTwoLanesKeepsEachOnesOrder) {
  LanesBench bench{std::make_shared<BySender>(2)};
  bench.introduce(bench.lanes[0], 9);
  bench.introduce(bench.singles[1], 8);
  const Bytes mixed[] = {frame(9, 2),    frame(9, 4), frame(9, 3), frame(8, 2),
                         frame(0xff, 2), frame(9, 5), frame(9, 6), frame(9, 2, {}, 60)};
  for (const Bytes& bytes : mixed)
    bench.singles[0].send(bytes);
  bench.run();
  EXPECT_EQ(bench.lanes[0].inbox, (std::vector<Bytes>{mixed[0], mixed[1], mixed[4], mixed[6], mixed[7]}));
  EXPECT_EQ(bench.lanes[1].inbox, (std::vector<Bytes>{mixed[2], mixed[5]}));
  EXPECT_EQ(bench.singles[1].inbox, (std::vector<Bytes>{mixed[3], mixed[4]}));
}

TEST(Lanes, WithoutASteeringAFrameTakesTheLaneOfItsOwnPoller) {
  LanesBench bench;
  bench.introduce(bench.lanes[0], 9);
  bench.singles[0].send(frame(9, 1));
  bench.singles[1].send(frame(9, 2));
  bench.run();
  EXPECT_EQ(bench.lanes[0].inbox, std::vector<Bytes>{frame(9, 1)});
  EXPECT_EQ(bench.lanes[1].inbox, std::vector<Bytes>{frame(9, 2)});
}

TEST(Lanes, WithoutASteeringNorALaneOfItsOwnPollerTheFlowDecides) {
  LanesBench bench;
  bench.introduce(bench.lanes[0], 9);
  for (std::uint8_t port = 0; port < 64; ++port) {
    Bytes bytes = packet::test::whole_frame({}, packet::test::pattern(50));
    const Bytes addresses{2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 7};
    std::copy(addresses.begin(), addresses.end(), bytes.begin());
    bytes[35] = port;
    bench.singles[2].send(bytes);
    bench.singles[2].send(bytes);
  }
  bench.run();
  EXPECT_EQ(bench.wide_received(), 128u);
  for (FakePort& lane : bench.lanes) {
    EXPECT_GT(lane.inbox.size(), 30u);
    for (std::size_t i = 0; i + 1 < lane.inbox.size(); i += 2)
      EXPECT_EQ(lane.inbox[i], lane.inbox[i + 1]);
  }
}

TEST(Lanes, AFloodReachesOneLaneAndNotAnotherLaneOfItsSender) {
  for (const bool is_steered : {false, true}) {
    LanesBench bench{is_steered ? std::make_shared<BySender>(2) : nullptr};
    for (std::uint8_t i = 0; i < 3; ++i) {
      for (const std::uint8_t from : std::initializer_list<std::uint8_t>{40, 41}) {
        bench.singles[i].send(frame(0xff, from));
        bench.run();
        EXPECT_EQ(bench.wide_received(), 1u) << "steered " << is_steered << ", from poller " << int{i};
        bench.lanes[0].inbox.clear();
        bench.lanes[1].inbox.clear();
      }
    }
    bench.singles[0].inbox.clear();
    bench.lanes[1].send(frame(0xff, 9));
    bench.run();
    EXPECT_EQ(bench.wide_received(), 0u);
    EXPECT_EQ(bench.singles[0].inbox, std::vector<Bytes>{frame(0xff, 9)});
  }
}

TEST(Lanes, AStationBelongsToThePortWhicheverLaneItSpokeFrom) {
  LanesBench bench{std::make_shared<BySender>(2)};
  bench.introduce(bench.lanes[0], 9);
  bench.introduce(bench.lanes[1], 9);
  ASSERT_EQ(bench.sw->mac_table().size(), 1u);
  EXPECT_EQ(bench.sw->mac_table()[0].port, bench.wide);
  bench.singles[2].send(frame(9, 20));
  bench.run();
  EXPECT_EQ(bench.lanes[0].inbox, std::vector<Bytes>{frame(9, 20)});
  bench.lanes[1].send(frame(9, 10));  // to a station behind the same port, by another lane
  bench.run();
  EXPECT_EQ(bench.wide_received(), 1u);
  EXPECT_EQ(bench.lanes[1].counters().drops(port::DropReason::filtered).get(), 1u);
}

TEST(Lanes, ANewSteeringReachesEveryPoller) {
  LanesBench bench{std::make_shared<BySender>(2)};
  bench.introduce(bench.lanes[0], 9);
  bench.lanes[0].publish(std::make_shared<BySender>(2, 1));
  bench.run();
  for (std::uint8_t i = 0; i < 3; ++i)
    bench.singles[i].send(frame(9, 20));
  bench.run();
  EXPECT_EQ(bench.lanes[0].inbox.size(), 0u);
  EXPECT_EQ(bench.lanes[1].inbox.size(), 3u);
}

TEST(Lanes, ANewSteeringReachesAPollerWhoseMailboxWasFull) {
  LanesBench bench{std::make_shared<BySender>(2)};
  bench.introduce(bench.lanes[0], 9);
  while (bench.pollers[1]->post([] {})) {
  }
  bench.lanes[0].publish(std::make_shared<BySender>(2, 1));
  bench.pollers[0]->run_once(0);
  bench.run();
  bench.run();
  bench.singles[1].send(frame(9, 20));
  bench.singles[2].send(frame(9, 20));
  bench.run();
  EXPECT_EQ(bench.lanes[1].inbox.size(), 2u);
}

TEST(Lanes, APollerThatJoinsLaterKnowsTheSteeringOfTheDay) {
  LanesBench bench{std::make_shared<BySender>(2)};
  bench.introduce(bench.lanes[0], 9);
  bench.lanes[0].publish(std::make_shared<BySender>(2, 1));
  const auto late = *runtime::Poller::create();
  FakePort port;
  const PortId id = *bench.sw->attach(port, *late, {.name = "late"});
  bench.run();
  late->run_once(0);
  bench.introduce(bench.lanes[0], 9);
  late->run_once(0);
  port.send(frame(9, 20));
  late->run_once(0);
  bench.run();
  EXPECT_EQ(bench.lanes[1].inbox, std::vector<Bytes>{frame(9, 20)});
  ASSERT_TRUE(bench.sw->detach(id));
  bench.sw.reset();  // before its poller
}

TEST(Lanes, ALaneThatDoesNotExistMeansTheFirst) {
  LanesBench bench{std::make_shared<Beyond>()};
  bench.introduce(bench.lanes[0], 9);
  bench.singles[1].send(frame(9, 20));
  bench.singles[1].send(frame(0xff, 20));
  bench.run();
  EXPECT_EQ(bench.lanes[0].inbox, (std::vector<Bytes>{frame(9, 20), frame(0xff, 20)}));
}

TEST(Lanes, GoAndComeBackTogether) {
  LanesBench bench{std::make_shared<BySender>(2)};
  bench.introduce(bench.lanes[0], 9);
  bench.singles[2].send(frame(9, 20));
  bench.singles[2].send(frame(9, 21));
  bench.pollers[2]->run_once(0);  // under way to both lanes
  ASSERT_TRUE(bench.sw->detach(bench.wide));
  bench.run();
  EXPECT_EQ(bench.wide_received(), 0u);
  const auto table = bench.sw->mac_table();
  EXPECT_EQ(std::count_if(table.begin(), table.end(), [&](const MacEntry& e) { return e.port == bench.wide; }), 0);

  const PortId again = bench.attach_wide();
  EXPECT_NE(again, bench.wide);
  bench.introduce(bench.lanes[1], 9);
  bench.singles[2].send(frame(9, 20));
  bench.singles[2].send(frame(9, 21));
  bench.run();
  EXPECT_EQ(bench.lanes[0].inbox, std::vector<Bytes>{frame(9, 20)});
  EXPECT_EQ(bench.lanes[1].inbox, std::vector<Bytes>{frame(9, 21)});
}

TEST(Lanes, HaveTheVlanOfTheirPort) {
  LanesBench bench{std::make_shared<BySender>(2)};
  const VlanConfig five{.mode = VlanMode::access, .tag = 5, .allowed = {}};
  ASSERT_TRUE(bench.sw->set_vlan(bench.wide, five));
  bench.singles[2].send(frame(0xff, 20, 5));
  bench.singles[2].send(frame(0xff, 21, 5));
  bench.singles[2].send(frame(0xff, 20, 6));
  bench.run();
  EXPECT_EQ(bench.lanes[0].inbox, std::vector<Bytes>{frame(0xff, 20)});
  EXPECT_EQ(bench.lanes[1].inbox, std::vector<Bytes>{frame(0xff, 21)});
}

TEST(Lanes, CountForThemselves) {
  LanesBench bench{std::make_shared<BySender>(2)};
  bench.introduce(bench.lanes[1], 9);
  bench.lanes[1].ready = false;
  bench.singles[2].send(frame(9, 20));
  bench.singles[2].send(frame(9, 21));
  bench.run();
  const auto ports = bench.sw->ports();
  const auto& lanes =
      std::find_if(ports.begin(), ports.end(), [](const auto& p) { return p.config.name == "wide"; })->lanes;
  ASSERT_EQ(lanes.size(), 2u);
  EXPECT_EQ(lanes[0].counters->tx_frames.get(), 1u);
  EXPECT_EQ(lanes[1].counters->rx_frames.get(), 1u);
  EXPECT_EQ(lanes[1].counters->drops(port::DropReason::not_ready).get(), 1u);
}

TEST(Lanes, AreRefusedOnOnePollerOrUnderTwoPorts) {
  LanesBench bench;
  FakePort a, b;
  const Lane same[] = {{a, *bench.pollers[0]}, {b, *bench.pollers[0]}};
  EXPECT_EQ(bench.sw->attach(same, {.name = "x"}).error().code, Errc::invalid_argument);
  const Lane taken[] = {{a, *bench.pollers[0]}, {bench.lanes[1], *bench.pollers[1]}};
  EXPECT_EQ(bench.sw->attach(taken, {.name = "x"}).error().code, Errc::already_exists);
  EXPECT_EQ(bench.sw->attach(std::span<const Lane>{}, {.name = "x"}).error().code, Errc::invalid_argument);
}

}  // namespace
}  // namespace vmux::switching

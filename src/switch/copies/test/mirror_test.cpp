// SPDX-License-Identifier: BSD-3-Clause
// Copies of a port's frames: which, where to, what they cost, and what their destination may do.
#include <gtest/gtest.h>

#include <memory>

#include "switch/stages/burst.hpp"
#include "switch/test/switch_bench.hpp"

namespace vmux::switching {
namespace {

using namespace test;
using port::DropReason;

constexpr auto kSource = 0, kOther = 1, kListener = 2;

std::uint64_t drops(FakePort& port, DropReason why) { return port.counters().drops(why).get(); }
std::uint64_t mirrored(FakePort& port) { return port.counters().mirrored.get(); }

/// Stations 1 behind port 0 and 2 behind port 1, port 2 listens to port 0.
struct Listening : Bench {
  explicit Listening(bool in = true, bool out = true, const std::vector<VlanConfig>& vlans = {kPlain, kPlain, kPlain})
      : Bench{vlans} {
    EXPECT_TRUE(sw->set_mirror(ids[kSource], Mirror{ids[kListener], in, out}));
    introduce(kOther, frame(9, 2));
    introduce(kSource, frame(9, 1));
  }
  [[nodiscard]] std::vector<Bytes>& heard() { return ports[kListener]->inbox; }
};

TEST(SwitchMirror, CopiesWhatAPortSendsAndGets) {
  Listening bench;
  bench[kSource].send(frame(2, 1));
  bench.run();
  bench[kOther].send(frame(1, 2));
  bench.run();
  EXPECT_EQ(bench.heard(), (std::vector<Bytes>{frame(2, 1), frame(1, 2)}));
  EXPECT_EQ(bench[kOther].inbox, std::vector<Bytes>{frame(2, 1)});
  EXPECT_EQ(bench[kSource].inbox, std::vector<Bytes>{frame(1, 2)});
  EXPECT_EQ(mirrored(bench[kSource]), 4u);  // and a flood each way before
  EXPECT_EQ(mirrored(bench[kOther]), 0u);
  EXPECT_EQ(bench[kListener].counters().tx_frames.get(), 4u);
}

TEST(SwitchMirror, OfOneDirectionCopiesNoOther) {
  for (const bool in : {true, false}) {
    Listening bench{in, !in};
    bench[kSource].send(frame(2, 1));
    bench[kOther].send(frame(1, 2));
    bench.run();
    EXPECT_EQ(bench.heard(), std::vector<Bytes>{in ? frame(2, 1) : frame(1, 2)});
  }
}

TEST(SwitchMirror, CopiesABurstInOneDelivery) {
  Listening bench;
  bench[kListener].deliveries.clear();
  for (std::size_t i = 0; i < port::kMaxBurst; ++i)
    bench[kSource].send(frame(2, 1, {}, 46 + i));
  bench.run();
  EXPECT_EQ(bench[kListener].deliveries, std::vector<std::size_t>{port::kMaxBurst});
  EXPECT_EQ(bench.heard(), bench[kOther].inbox);
}

TEST(SwitchMirror, CopiesAlsoWhatTheSwitchDropsButNoFragments) {
  Listening bench{true, true, {access(7), access(7), kPlain}};
  const Bytes tagged = frame(2, 1, 9);  // not from an access port
  bench[kSource].send(tagged);
  bench[kSource].send(Bytes(13));
  bench.run();
  EXPECT_EQ(bench.heard(), std::vector<Bytes>{tagged});
  EXPECT_TRUE(bench[kOther].inbox.empty());
  EXPECT_EQ(drops(bench[kSource], DropReason::filtered), 1u);
  EXPECT_EQ(drops(bench[kSource], DropReason::malformed), 1u);
}

TEST(SwitchMirror, ShowsTheTagsThatThePortSees) {
  Listening bench{true, true, {access(7), trunk(0, {7}), access(8)}};
  bench[kSource].send(frame(2, 1));
  bench.run();
  bench[kOther].send(frame(1, 2, 7));
  bench.run();
  EXPECT_EQ(bench.heard(), (std::vector<Bytes>{frame(2, 1), frame(1, 2)}));
  bench.heard().clear();
  ASSERT_TRUE(bench.sw->set_mirror(bench.ids[kSource], std::nullopt));
  ASSERT_TRUE(bench.sw->set_mirror(bench.ids[kOther], Mirror{bench.ids[kListener]}));
  bench[kSource].send(frame(2, 1));
  bench.run();
  bench[kOther].send(frame(1, 2, 7));
  bench.run();
  EXPECT_EQ(bench.heard(), (std::vector<Bytes>{frame(2, 1, 7), frame(1, 2, 7)}));
}

TEST(SwitchMirror, FinishesForTheDestinationWhatItDoesNotTake) {
  Listening bench;
  const Bytes payload = packet::test::pattern(4000);
  Bytes super = packet::test::whole_frame({}, payload);
  super[0] = 2, super[1] = 0, super[5] = 2;  // to station 2
  bench[kOther].takes = {.checksum = true, .gso_tcp4 = true, .max_frame = 1518};
  bench[kSource].send(super, {.needs_checksum = true,
                              .gso = packet::Gso::tcp4,
                              .csum_start = 34,
                              .csum_offset = 16,
                              .header_length = 66,
                              .gso_size = 1448});
  bench.run();
  EXPECT_EQ(bench[kOther].inbox, std::vector<Bytes>{super});
  ASSERT_EQ(bench.heard().size(), 3u);
  EXPECT_EQ(bench.heard()[0].size(), 66u + 1448u);
  EXPECT_EQ(bench.heard()[2].size(), 66u + 4000u - 2 * 1448u);
}

// --- a destination that cannot take them ---

TEST(SwitchMirror, LosesAndCountsWhatFindsNoRoomAndDisturbsNobody) {
  Listening bench;
  bench[kListener].room = 3;
  for (int i = 0; i < 10; ++i)
    bench[kSource].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench.heard().size(), 3u);
  EXPECT_EQ(drops(bench[kListener], DropReason::no_room), 7u);
  EXPECT_EQ(bench[kOther].inbox.size(), 10u);
  EXPECT_EQ(bench[kSource].results.size(), 11u);
  EXPECT_EQ(bench[kSource].results.back(), DropReason::none);
}

TEST(SwitchMirror, LosesAndCountsWhatTheDestinationIsNotReadyFor) {
  Listening bench;
  bench[kListener].ready = false;
  bench[kSource].send(frame(2, 1));
  bench.run();
  EXPECT_TRUE(bench.heard().empty());
  EXPECT_EQ(drops(bench[kListener], DropReason::not_ready), 1u);
  EXPECT_EQ(bench[kOther].inbox.size(), 1u);
}

TEST(SwitchMirror, LosesAndCountsWhatIsTooLongForTheDestination) {
  Listening bench;
  ASSERT_TRUE(bench.sw->set_max_frame(bench.ids[kListener], 60));
  bench[kSource].send(frame(2, 1));
  bench[kSource].send(frame(2, 1, {}, 47));
  bench[kSource].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench.heard(), (std::vector<Bytes>{frame(2, 1), frame(2, 1)}));
  EXPECT_EQ(drops(bench[kListener], DropReason::too_long), 1u);
}

TEST(SwitchMirror, DoesNotShowWhatFoundNoRoomAtThePort) {
  Listening bench;
  bench[kSource].room = 1;
  for (int i = 0; i < 3; ++i)
    bench[kOther].send(frame(1, 2));
  bench.run();
  EXPECT_EQ(bench.heard().size(), 1u);
}

// --- the destination and the network ---

TEST(SwitchMirror, LetsNothingInThatTheDestinationSends) {
  Listening bench;
  bench[kListener].send(frame(0xff, 3));
  bench[kListener].send(frame(2, 3));
  bench[kListener].send(Bytes(10));
  bench.run();
  EXPECT_TRUE(bench[kSource].inbox.empty() && bench[kOther].inbox.empty() && bench.heard().empty());
  EXPECT_EQ(drops(bench[kListener], DropReason::mirror_ingress), 3u);
  for (const MacEntry& entry : bench.sw->mac_table())
    EXPECT_NE(entry.port, bench.ids[kListener]);
}

TEST(SwitchMirror, GivesTheDestinationNothingButCopies) {
  Listening bench;
  bench[kOther].send(frame(0xff, 2));  // reaches port 0, and so its copy port 2: once
  bench[kOther].send(frame(9, 2));
  bench.run();
  EXPECT_EQ(bench.heard(), (std::vector<Bytes>{frame(0xff, 2), frame(9, 2)}));
  Bench before{{kPlain, kPlain, kPlain}};
  before.introduce(kListener, frame(9, 3));
  ASSERT_TRUE(before.sw->set_mirror(before.ids[kSource], Mirror{before.ids[kListener]}));
  before[kOther].send(frame(3, 2));  // its station was forgotten
  before.run();
  EXPECT_EQ(before[kSource].inbox, std::vector<Bytes>{frame(3, 2)});
  EXPECT_EQ(before[kListener].inbox, std::vector<Bytes>{frame(3, 2)});  // the copy
}

TEST(SwitchMirror, EndsAndTheDestinationIsBackInTheNetwork) {
  Listening bench;
  ASSERT_TRUE(bench.sw->set_vlan(bench.ids[kListener], access(7)));  // for later
  ASSERT_TRUE(bench.sw->set_mirror(bench.ids[kSource], std::nullopt));
  ASSERT_TRUE(bench.sw->set_vlan(bench.ids[kSource], access(7)));
  bench[kListener].send(frame(0xff, 3));
  bench.run();
  EXPECT_EQ(bench[kSource].inbox, std::vector<Bytes>{frame(0xff, 3)});
  bench[kSource].send(frame(3, 1));
  bench.run();
  EXPECT_EQ(bench.heard(), std::vector<Bytes>{frame(3, 1)});
  EXPECT_EQ(drops(bench[kListener], DropReason::mirror_ingress), 0u);
}

TEST(SwitchMirror, StaysADestinationForAsLongAsOneIsMirroredToIt) {
  Listening bench;
  ASSERT_TRUE(bench.sw->set_mirror(bench.ids[kOther], Mirror{bench.ids[kListener], true, false}));
  bench[kSource].send(frame(2, 1));
  bench[kOther].send(frame(1, 2));
  bench.run();
  EXPECT_EQ(bench.heard(), (std::vector<Bytes>{frame(2, 1), frame(1, 2), frame(1, 2)}));
  ASSERT_TRUE(bench.sw->set_mirror(bench.ids[kSource], std::nullopt));
  bench.heard().clear();
  bench[kListener].send(frame(0xff, 3));
  bench[kSource].send(frame(2, 1));
  bench[kOther].send(frame(1, 2));
  bench.run();
  EXPECT_EQ(bench.heard(), std::vector<Bytes>{frame(1, 2)});
  EXPECT_EQ(drops(bench[kListener], DropReason::mirror_ingress), 1u);
}

// --- what there cannot be ---

TEST(SwitchMirror, IsRefusedToItselfInACircleAndToNobody) {
  Bench bench{{kPlain, kPlain, kPlain, kPlain}};
  EXPECT_FALSE(bench.sw->set_mirror(bench.ids[0], Mirror{bench.ids[0]}));
  EXPECT_FALSE(bench.sw->set_mirror(bench.ids[0], Mirror{PortId{12345}}));
  EXPECT_FALSE(bench.sw->set_mirror(PortId{12345}, Mirror{bench.ids[0]}));
  EXPECT_FALSE(bench.sw->set_mirror(bench.ids[0], Mirror{bench.ids[1], false, false}));
  ASSERT_TRUE(bench.sw->set_mirror(bench.ids[0], Mirror{bench.ids[1]}));
  EXPECT_FALSE(bench.sw->set_mirror(bench.ids[1], Mirror{bench.ids[0]}));
  EXPECT_FALSE(bench.sw->set_mirror(bench.ids[1], Mirror{bench.ids[2]}));
  EXPECT_FALSE(bench.sw->set_mirror(bench.ids[2], Mirror{bench.ids[0]}));
  EXPECT_EQ(bench.sw->ports()[0].mirror, Mirror{bench.ids[1]});
  EXPECT_EQ(bench.sw->ports()[1].mirror, std::nullopt);
}

TEST(SwitchMirror, HasSoManyDestinationsAndNoMore) {
  Bench bench{std::vector<VlanConfig>(2 * kMaxMirrors + 2, kPlain)};
  const auto mirror = [&](std::size_t i) {
    return bench.sw->set_mirror(bench.ids[2 * i], Mirror{bench.ids[2 * i + 1]});
  };
  for (std::size_t i = 0; i < kMaxMirrors; ++i)
    EXPECT_TRUE(mirror(i)) << i;
  EXPECT_FALSE(mirror(kMaxMirrors));
  ASSERT_TRUE(bench.sw->set_mirror(bench.ids[6], std::nullopt));
  EXPECT_TRUE(mirror(kMaxMirrors));
  bench[2 * kMaxMirrors].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench[2 * kMaxMirrors + 1].inbox, std::vector<Bytes>{frame(2, 1)});
}

TEST(SwitchMirror, EndsWithItsDestinationOrItsSource) {
  Listening bench;
  ASSERT_TRUE(bench.sw->detach(bench.ids[kListener]));
  bench[kSource].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench[kOther].inbox, std::vector<Bytes>{frame(2, 1)});
  EXPECT_EQ(mirrored(bench[kSource]), 2u);
  EXPECT_EQ(bench.sw->ports()[0].mirror, std::nullopt);
  Listening other;
  ASSERT_TRUE(other.sw->detach(other.ids[kSource]));
  other[kListener].send(frame(2, 3));
  other.run();
  EXPECT_EQ(other[kOther].inbox, std::vector<Bytes>{frame(2, 3)});
}

// --- between pollers ---

TEST(SwitchMirrorAcrossPollers, CopiesBothDirections) {
  CrossBench bench;
  ASSERT_TRUE(bench.sw->set_mirror(bench.ids[0], Mirror{bench.ids[3]}));
  bench.introduce(0, 1);
  bench.introduce(1, 2);
  bench.ports[0].send(frame(2, 1, {}, 1200));
  bench.run();
  bench.ports[1].send(frame(1, 2));
  bench.run();
  EXPECT_EQ(bench.ports[3].inbox, (std::vector<Bytes>{frame(2, 1, {}, 1200), frame(1, 2)}));
  EXPECT_EQ(bench.ports[1].inbox, (std::vector<Bytes>{frame(2, 1, {}, 1200)}));
  EXPECT_TRUE(bench.ports[2].inbox.empty());
}

TEST(SwitchMirrorAcrossPollers, OfAFrameThatCameOverALink) {
  CrossBench bench;
  ASSERT_TRUE(bench.sw->set_mirror(bench.ids[0], Mirror{bench.ids[3], false, true}));
  bench.introduce(0, 1);
  bench.ports[2].send(frame(1, 4));
  bench.run();
  EXPECT_EQ(bench.ports[3].inbox, std::vector<Bytes>{frame(1, 4)});
  ASSERT_TRUE(bench.sw->set_mirror(bench.ids[0], Mirror{bench.ids[1], false, true}));
  bench.ports[2].send(frame(1, 4, {}, 90));
  bench.run();
  EXPECT_EQ(bench.ports[1].inbox, std::vector<Bytes>{frame(1, 4, {}, 90)});
  EXPECT_EQ(bench.ports[3].inbox.size(), 1u);
}

TEST(SwitchMirrorAcrossPollers, OfAPortOnAPollerThatCameLater) {
  const std::unique_ptr<runtime::Poller> late = *runtime::Poller::create();
  FakePort port;
  CrossBench bench;
  ASSERT_TRUE(bench.sw->set_mirror(bench.ids[0], Mirror{bench.ids[3]}));
  const PortId id = *bench.sw->attach(port, *late, {.name = "late"});
  ASSERT_TRUE(bench.sw->set_mirror(id, Mirror{bench.ids[3], true, false}));
  port.send(frame(0xff, 7));
  while (late->run_once(0) || bench.step()) {
  }
  EXPECT_EQ(bench.ports[3].inbox, (std::vector<Bytes>{frame(0xff, 7), frame(0xff, 7)}));  // and what port 0 gets of it
  ASSERT_TRUE(bench.sw->detach(id));
}

TEST(SwitchMirrorAcrossPollers, LosesAndCountsCopiesAloneWhenTheirWayIsFull) {
  constexpr std::size_t kMany = 1024 + 200;  // Shard::kCopies
  CrossBench bench;
  ASSERT_TRUE(bench.sw->set_mirror(bench.ids[0], Mirror{bench.ids[3], true, false}));
  bench.introduce(0, 1);
  bench.introduce(1, 2);
  const std::uint64_t before = mirrored(bench.ports[0]);
  bench.ports[1].room = bench.ports[3].room = 2 * kMany;
  for (std::size_t i = 0; i < kMany; ++i)
    bench.ports[0].send(frame(2, 1));
  while (bench.here->run_once(0)) {  // the other does not run
  }
  EXPECT_EQ(bench.ports[1].inbox.size(), kMany);
  EXPECT_EQ(mirrored(bench.ports[0]) - before, 1024u);
  EXPECT_EQ(drops(bench.ports[0], DropReason::mirror_full), 200u);
  bench.ports[0].send(frame(7, 1));  // what is forwarded has a way of its own
  bench.run();
  EXPECT_EQ(bench.ports[2].inbox, std::vector<Bytes>{frame(7, 1)});
  EXPECT_EQ(drops(bench.ports[0], DropReason::ring_full), 0u);
  EXPECT_EQ(bench.ports[3].inbox.size(), 1024u);
  bench.ports[0].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench.ports[3].inbox.size(), 1025u);  // the room is back
}

TEST(SwitchMirrorAcrossPollers, DropsCopiesThatAreUnderWayWhenTheirDestinationGoes) {
  CrossBench bench;
  ASSERT_TRUE(bench.sw->set_mirror(bench.ids[0], Mirror{bench.ids[3]}));
  bench.ports[0].send(frame(2, 1));
  while (bench.here->run_once(0)) {
  }
  ASSERT_TRUE(bench.sw->set_mirror(bench.ids[0], std::nullopt));
  bench.run();
  EXPECT_EQ(bench.ports[3].inbox, std::vector<Bytes>{frame(2, 1)});  // the flood, and no copy
  ASSERT_TRUE(bench.sw->set_mirror(bench.ids[0], Mirror{bench.ids[3]}));
  bench.ports[0].send(frame(2, 1));
  while (bench.here->run_once(0)) {
  }
  ASSERT_TRUE(bench.sw->detach(bench.ids[3]));
  bench.run();
  EXPECT_EQ(bench.ports[3].inbox.size(), 1u);
}

// --- lanes ---

/// The last byte of the sender's address tells the lane.
class ByStation final : public port::Steering {
  void steer(std::span<const packet::FrameView> frames, std::span<std::uint8_t> lanes) const noexcept override {
    for (std::size_t i = 0; i < frames.size(); ++i)
      lanes[i] = static_cast<std::uint8_t>(static_cast<unsigned>(frames[i].header[11]) % 2);
  }
};

struct WideAndSingles {
  WideAndSingles() {
    const Lane both[] = {{lanes[0], *pollers[0]}, {lanes[1], *pollers[1]}};
    lanes[0].publish(std::make_shared<ByStation>());
    wide = *sw->attach(both, {.name = "wide"});
    for (std::size_t i = 0; i < singles.size(); ++i)
      ids[i] = *sw->attach(singles[i], *pollers[i], {.name = "p" + std::to_string(i)});
    run();
  }
  void run() {
    for (bool worked = true; worked;) {
      worked = false;
      for (const auto& poller : pollers)
        worked = poller->run_once(0) || worked;
    }
  }
  std::array<std::unique_ptr<runtime::Poller>, 3> pollers{*runtime::Poller::create(), *runtime::Poller::create(),
                                                          *runtime::Poller::create()};
  std::array<FakePort, 2> lanes;
  std::array<FakePort, 3> singles;
  std::unique_ptr<Switch> sw = *Switch::create("sw");
  PortId wide;
  std::array<PortId, 3> ids;
};

TEST(SwitchMirrorLanes, ACopyTakesTheLaneThatItsFlowHas) {
  WideAndSingles bench;
  for (const PortId id : bench.ids)
    ASSERT_TRUE(bench.sw->set_mirror(id, Mirror{bench.wide, true, false}));
  for (std::uint8_t i = 0; i < 3; ++i) {
    bench.singles[i].send(frame(9, static_cast<std::uint8_t>(20 + 2 * i)));
    bench.singles[i].send(frame(9, static_cast<std::uint8_t>(31 + 2 * i)));
    bench.run();
  }
  EXPECT_EQ(bench.lanes[0].inbox, (std::vector<Bytes>{frame(9, 20), frame(9, 22), frame(9, 24)}));
  EXPECT_EQ(bench.lanes[1].inbox, (std::vector<Bytes>{frame(9, 31), frame(9, 33), frame(9, 35)}));
}

TEST(SwitchMirrorLanes, EachLaneOfAMirroredPortIsMirrored) {
  WideAndSingles bench;
  ASSERT_TRUE(bench.sw->set_mirror(bench.wide, Mirror{bench.ids[2]}));
  bench.lanes[0].send(frame(8, 1));
  bench.run();
  bench.lanes[1].send(frame(8, 2));
  bench.run();
  bench.singles[0].send(frame(1, 3));
  bench.run();
  EXPECT_EQ(bench.singles[2].inbox, (std::vector<Bytes>{frame(8, 1), frame(8, 2), frame(1, 3)}));
}

// --- the stage alone ---

TEST(SwitchJudge, SaysOfEachFrameWhyItIsDroppedAndWhereItsCopiesGo) {
  const auto burst = std::make_unique<Burst>();
  const std::vector<Bytes> frames{frame(2, 1), frame(2, 1, {}, 90), Bytes(13)};
  VlanRules rules;
  burst->count = frames.size();
  for (std::size_t i = 0; i < frames.size(); ++i) {
    burst->views[i] = {};
    burst->views[i].header = packet::test::slice(frames[i]);
    burst->views[i].length = static_cast<std::uint32_t>(frames[i].size());
  }
  classify({PortId{7}, rules, 1}, *burst);
  judge({.max_frame = 60, .mirror_in = 5}, *burst);
  EXPECT_EQ(burst->results[0].dropped, DropReason::none);
  EXPECT_EQ(burst->results[1].dropped, DropReason::too_long);
  EXPECT_EQ(burst->results[2].dropped, DropReason::malformed);
  EXPECT_EQ(burst->mirrors[0], 5);
  EXPECT_EQ(burst->mirrors[1], 5);
  EXPECT_EQ(burst->mirrors[2], 0);
  burst->mirror(0, 2);  // a stage of rules, say
  EXPECT_EQ(burst->mirrors[0], 7);
  EXPECT_EQ(burst->all_mirrors, 7);
  judge({.max_frame = 60}, *burst);
  EXPECT_EQ(burst->all_mirrors, 0);
}

}  // namespace
}  // namespace vmux::switching

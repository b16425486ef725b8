// SPDX-License-Identifier: BSD-3-Clause
// Rules on a switch: what becomes of frames, who is counted, and what a change of ports does to them.
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "packet/test/test_frames.hpp"
#include "switch/member.hpp"
#include "switch/test/switch_bench.hpp"

namespace vmux::switching {
namespace {

using namespace test;
using packet::test::Ip;
using packet::test::Proto;
using packet::test::whole_frame;
using port::DropReason;

constexpr std::array<std::uint8_t, 2> kAll16{0xff, 0xff};

Bytes udp(std::uint8_t to, std::uint8_t from, std::uint16_t port) {
  Bytes bytes = whole_frame({.proto = Proto::udp}, packet::test::pattern(20));
  const Bytes macs = frame(to, from);
  std::copy_n(macs.begin(), 12, bytes.begin());
  packet::test::set16(bytes, 36, port);
  return bytes;
}

Rule rule_to_port(const std::string& name, std::uint16_t port, std::uint32_t priority = 100) {
  Rule rule;
  rule.name = name;
  rule.priority = priority;
  rule.match.value.protocol = 17;
  rule.match.mask.protocol = 0xff;
  rule.match.destination_port = L4Ports{port, port};
  return rule;
}
Rule dropping(Rule rule) {
  rule.verdict = RuleVerdict::drop;
  return rule;
}
Rule of_port(Rule rule, const std::string& port) {
  rule.port = port;
  return rule;
}
Rule outwards(Rule rule) {
  rule.way = RuleWay::out;
  return rule;
}

// Stations 1 to 4 behind ports 0 to 3.
struct Ruled : Bench {
  explicit Ruled(const std::vector<VlanConfig>& vlans = {kPlain, kPlain, kPlain, kPlain}) : Bench{vlans} {
    for (std::uint8_t i = 0; i < 4; ++i)
      introduce(i, frame(9, static_cast<std::uint8_t>(i + 1)));
  }
  void set(std::vector<Rule> rules) {
    const auto done = sw->set_rules(std::move(rules));
    ASSERT_TRUE(done) << done.error().text();
  }
  /// How many frames each port has got since the last time.
  std::array<std::size_t, 4> got() {
    run();
    std::array<std::size_t, 4> counts{};
    for (std::size_t i = 0; i < 4; ++i)
      counts[i] = std::exchange(ports[i]->inbox, {}).size();
    return counts;
  }
  std::uint64_t dropped(std::size_t at, DropReason why = DropReason::rule) {
    return ports[at]->counters().drops(why).get();
  }
};
using Counts = std::array<std::size_t, 4>;

TEST(SwitchRules, WhatOneDropsIsDroppedForThatReasonAndOthersPass) {
  Ruled bench;
  bench.set({dropping(rule_to_port("telnet", 23))});
  for (const std::uint16_t port : std::initializer_list<std::uint16_t>{80, 23, 23, 443})
    bench.ports[0]->send(udp(2, 1, port));
  EXPECT_EQ(bench.got(), (Counts{0, 2, 0, 0}));
  EXPECT_EQ(bench.dropped(0), 2u);
  EXPECT_EQ(bench.sw->rule_hits("telnet").frames, 2u);
  EXPECT_EQ(bench.sw->rule_hits("telnet").bytes, 2u * udp(2, 1, 23).size());
  EXPECT_EQ(std::count(bench[0].results.begin(), bench[0].results.end(), DropReason::rule), 2);
}

// A station behind the sender's own port: what a rule has dropped has its verdict, and the rest of the run gets
// another.
TEST(SwitchRules, OfARunThatReturnsToItsPortEachFrameHasOneVerdict) {
  Ruled bench;
  bench.introduce(0, frame(9, 5));
  bench.set({dropping(rule_to_port("telnet", 23))});
  bench[0].results.clear();
  bench.ports[0]->send(udp(5, 1, 23));
  bench.ports[0]->send(udp(5, 1, 80));
  EXPECT_EQ(bench.got(), (Counts{0, 0, 0, 0}));
  EXPECT_EQ(bench[0].results, (std::vector<DropReason>{DropReason::rule, DropReason::filtered}));
  EXPECT_EQ(bench.dropped(0), 1u);
  EXPECT_EQ(bench.dropped(0, DropReason::filtered), 1u);
}

TEST(SwitchRules, TheHighestPriorityDecidesAloneAndOfEqualOnesTheFirst) {
  Ruled bench;
  bench.set({dropping(rule_to_port("a", 80, 1)), rule_to_port("b", 80, 2), dropping(rule_to_port("c", 80, 2))});
  bench.ports[0]->send(udp(2, 1, 80));
  EXPECT_EQ(bench.got(), (Counts{0, 1, 0, 0}));
  EXPECT_EQ(bench.sw->rule_hits("a").frames, 0u);
  EXPECT_EQ(bench.sw->rule_hits("b").frames, 1u);
  EXPECT_EQ(bench.sw->rule_hits("c").frames, 0u);
}

TEST(SwitchRules, OneOfAPortIsAboutItsFramesAlone) {
  Ruled bench;
  bench.set({of_port(dropping(rule_to_port("a", 80)), "p0")});
  bench.ports[0]->send(udp(3, 1, 80));
  bench.ports[1]->send(udp(3, 2, 80));
  EXPECT_EQ(bench.got(), (Counts{0, 0, 1, 0}));
  EXPECT_EQ(bench.dropped(0), 1u);
}

TEST(SwitchRules, OfTheWayOutDropsWhatIsForAPortWhoeverSendsIt) {
  Ruled bench;
  bench.set({outwards(of_port(dropping(rule_to_port("a", 80)), "p1"))});
  for (const std::uint8_t to : std::initializer_list<std::uint8_t>{2, 3, 0xff}) {
    bench.ports[0]->send(udp(to, 1, 80));
    bench.ports[0]->send(udp(to, 1, 81));
  }
  EXPECT_EQ(bench.got(), (Counts{0, 4 - 2, 4, 2}));
  EXPECT_EQ(bench.dropped(1), 2u);
  EXPECT_EQ(bench.dropped(0), 0u);
  EXPECT_EQ(bench.sw->rule_hits("a").frames, 2u);
}

TEST(SwitchRules, OfTheWayOutKeepTheOrderOfWhatIsLeft) {
  Ruled bench;
  bench.set({outwards(of_port(dropping(rule_to_port("a", 80)), "p1"))});
  std::vector<Bytes> expected;
  for (std::uint16_t i = 0; i < 20; ++i) {
    const bool passes = i % 3 != 0;
    Bytes one = udp(2, 1, passes ? static_cast<std::uint16_t>(1000 + i) : std::uint16_t{80});
    if (passes) expected.push_back(one);
    bench.ports[0]->send(one);
  }
  bench.run();
  EXPECT_EQ(bench[1].inbox, expected);
}

TEST(SwitchRules, RedirectsGoThereAndNowhereElseWhateverTheStation) {
  Ruled bench;
  Rule rule = rule_to_port("a", 80);
  rule.redirect = "p3";
  bench.set({rule});
  bench.ports[0]->send(udp(2, 1, 80));     // of a known station,
  bench.ports[0]->send(udp(77, 1, 80));    // of one that nobody knows,
  bench.ports[0]->send(udp(0xff, 1, 80));  // and of all
  bench.ports[0]->send(udp(2, 1, 81));
  EXPECT_EQ(bench.got(), (Counts{0, 1, 0, 3}));
}

TEST(SwitchRules, ARedirectToAPortThatIsNotReadyIsNotFlooded) {
  Ruled bench;
  Rule rule = rule_to_port("a", 80);
  rule.redirect = "p3";
  bench.set({rule});
  bench[3].ready = false;
  bench.ports[0]->send(udp(2, 1, 80));
  EXPECT_EQ(bench.got(), (Counts{0, 0, 0, 0}));
  EXPECT_EQ(bench.dropped(3, DropReason::not_ready), 1u);
}

TEST(SwitchRules, ARedirectToNobodyDrops) {
  Ruled bench;
  Rule rule = rule_to_port("a", 80);
  rule.redirect = "firewall";
  bench.set({rule});
  bench.ports[0]->send(udp(2, 1, 80));
  EXPECT_EQ(bench.got(), (Counts{0, 0, 0, 0}));
  EXPECT_EQ(bench.dropped(0), 1u);
}

TEST(SwitchRules, ARedirectLeadsIntoNoOtherVlan) {
  Ruled bench{{kPlain, kPlain, kPlain, access(7)}};
  Rule rule = rule_to_port("a", 80);
  rule.redirect = "p3";
  bench.set({rule});
  bench.ports[0]->send(udp(2, 1, 80));
  EXPECT_EQ(bench.got(), (Counts{0, 0, 0, 0}));
  EXPECT_EQ(bench.dropped(3, DropReason::filtered), 1u);
}

TEST(SwitchRules, ARedirectLeadsNoTaggedFrameIntoAnotherVlan) {
  Ruled bench{{kPlain, kPlain, kPlain, access(7)}};
  Rule rule = rule_to_port("a", 80);
  rule.redirect = "p3";
  bench.set({rule});
  Bytes tagged = udp(2, 1, 80);
  const Bytes tag{0x81, 0, 0, 8};
  tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());
  bench.ports[0]->send(tagged);
  bench.ports[0]->send(udp(2, 1, 80), beside(8));
  EXPECT_EQ(bench.got(), (Counts{0, 0, 0, 0}));
  EXPECT_EQ(bench.dropped(3, DropReason::filtered), 2u);
}

TEST(SwitchRules, WhatComesBackFromTheRedirectGoesWhereItsStationIs) {
  Ruled bench;
  Rule rule = rule_to_port("a", 80);
  rule.redirect = "p3";
  bench.set({rule});
  bench.ports[3]->send(udp(2, 1, 80));  // as a firewall sends on what it got
  EXPECT_EQ(bench.got(), (Counts{0, 1, 0, 0}));
}

TEST(SwitchRules, CopiesOfAFlowGoToItsMirrorAndTheFrameGoesOn) {
  Ruled bench;
  Rule rule = rule_to_port("a", 80);
  rule.mirror = "p3";
  bench.set({rule});
  bench.ports[0]->send(udp(2, 1, 80));
  bench.ports[0]->send(udp(2, 1, 81));
  bench.ports[0]->send(udp(2, 1, 80));
  EXPECT_EQ(bench.got(), (Counts{0, 2 + 1, 0, 2}));
  EXPECT_EQ(bench[0].counters().mirrored.get(), 2u);
  bench.ports[3]->send(udp(2, 4, 80));  // it is out of the network
  EXPECT_EQ(bench.got(), (Counts{0, 0, 0, 0}));
  EXPECT_EQ(bench.dropped(3, DropReason::mirror_ingress), 1u);
  bench.set({});
  bench.ports[3]->send(udp(2, 4, 80));
  EXPECT_EQ(bench.got(), (Counts{0, 1, 0, 0}));
}

TEST(SwitchRules, ADroppedFrameMayBeCopied) {
  Ruled bench;
  Rule rule = dropping(rule_to_port("a", 80));
  rule.mirror = "p3";
  bench.set({rule});
  bench.ports[0]->send(udp(2, 1, 80));
  EXPECT_EQ(bench.got(), (Counts{0, 0, 0, 1}));
}

TEST(SwitchRules, AMarkOfTheWayInIsThereOnTheWayOut) {
  Ruled bench;
  Rule marks = of_port(rule_to_port("marks", 80), "p0");
  marks.mark = 5;
  Rule drops;
  drops.name = "drops";
  drops.way = RuleWay::out;
  drops.match.mark = 5;
  drops.verdict = RuleVerdict::drop;
  bench.set({marks, drops});
  bench.ports[0]->send(udp(3, 1, 80));
  bench.ports[1]->send(udp(3, 2, 80));
  bench.ports[0]->send(udp(3, 1, 81));
  EXPECT_EQ(bench.got(), (Counts{0, 0, 2, 0}));
  EXPECT_EQ(bench.dropped(2), 1u);
}

TEST(SwitchRules, AFrameThatIsGivenAVlanIsInThatFromHereOn) {
  Ruled bench{{kPlain, kPlain, access(7), trunk(0, {7})}};
  Rule rule = of_port(rule_to_port("a", 80), "p0");
  rule.vlan = 7;
  bench.set({rule});
  bench.ports[0]->send(udp(0xff, 1, 80));
  bench.run();
  EXPECT_EQ(bench[2].inbox, std::vector<Bytes>{udp(0xff, 1, 80)});
  ASSERT_EQ(bench[3].inbox.size(), 1u);
  EXPECT_EQ(bench[3].inbox[0][12], 0x81);
  EXPECT_EQ(bench[3].inbox[0][15], 7);
  EXPECT_EQ(bench[1].inbox.size(), 1u);  // a trunk for every VLAN
  const auto table = bench.sw->mac_table();
  EXPECT_TRUE(std::any_of(table.begin(), table.end(), [](const MacEntry& e) { return e.vlan == 7 && e.mac[5] == 1; }));
}

TEST(SwitchRules, TheDscpIsSetInWhatIsDeliveredAndNotInTheSendersBytes) {
  Ruled bench;
  Rule rule = rule_to_port("a", 80);
  rule.dscp = 46;
  bench.set({rule});
  bench.ports[0]->send(udp(2, 1, 80));
  bench.ports[0]->send(udp(2, 1, 81));
  bench.run();
  ASSERT_EQ(bench[1].inbox.size(), 2u);
  const Bytes& marked = bench[1].inbox[0];
  EXPECT_EQ(marked[15], 46 << 2);
  EXPECT_EQ(packet::test::plain_sum(Bytes(marked.begin() + 14, marked.begin() + 34)), 0xffff);
  const Bytes sent = udp(2, 1, 80);
  EXPECT_EQ(Bytes(marked.begin() + 34, marked.end()), Bytes(sent.begin() + 34, sent.end()));
  EXPECT_EQ(bench[1].inbox[1], udp(2, 1, 81));
}

TEST(SwitchRules, RulesMatchTheVlanInTheSwitchHoweverItIsTagged) {
  Ruled bench{{access(7), trunk(0, {7, 8}), access(7), access(8)}};
  Rule rule;
  rule.name = "a";
  rule.match.value.vlan = {0, 7};
  rule.match.mask.vlan = kAll16;
  rule.verdict = RuleVerdict::drop;
  bench.set({rule});
  bench.ports[0]->send(udp(0xff, 1, 80));
  bench.ports[1]->send(frame(0xff, 2, 7));
  bench.ports[1]->send(frame(0xff, 2, 8));
  EXPECT_EQ(bench.got(), (Counts{0, 0, 0, 1}));
  EXPECT_EQ(bench.sw->rule_hits("a").frames, 2u);
}

TEST(SwitchRules, WhatHidesItsHeadersIsDroppedWhereRulesLookAtThem) {
  Ruled bench;
  Bytes torn = udp(2, 1, 23);
  torn.resize(40);
  torn[20] = 0x20;  // the first fragment
  bench.set({dropping(rule_to_port("a", 23))});
  bench.ports[0]->send(torn);
  EXPECT_EQ(bench.got(), (Counts{0, 0, 0, 0}));
  EXPECT_EQ(bench.dropped(0, DropReason::malformed), 1u);
  Rule mac;
  mac.name = "mac";
  mac.match.mask.source.fill(0xff);
  bench.set({mac});
  bench.ports[0]->send(torn);
  EXPECT_EQ(bench.got(), (Counts{0, 1, 0, 0}));
}

TEST(SwitchRules, FlowsThatAreKnownFollowNewRulesAtOnce) {
  Ruled bench;
  bench.set({rule_to_port("a", 80)});
  bench.ports[0]->send(udp(2, 1, 80));
  EXPECT_EQ(bench.got(), (Counts{0, 1, 0, 0}));
  bench.set({dropping(rule_to_port("a", 80))});
  bench.ports[0]->send(udp(2, 1, 80));
  EXPECT_EQ(bench.got(), (Counts{0, 0, 0, 0}));
  EXPECT_EQ(bench.sw->rule_hits("a").frames, 2u);  // it goes on counting
  bench.set({});
  bench.ports[0]->send(udp(2, 1, 80));
  EXPECT_EQ(bench.got(), (Counts{0, 1, 0, 0}));
  EXPECT_EQ(bench.sw->rule_hits("a").frames, 0u);
}

TEST(SwitchRules, ANewRuleBeginsToCountAtNothing) {
  Ruled bench;
  bench.set({rule_to_port("a", 80)});
  bench.ports[0]->send(udp(2, 1, 80));
  bench.run();
  bench.set({rule_to_port("b", 80)});
  EXPECT_EQ(bench.sw->rule_hits("b").frames, 0u);
  bench.ports[0]->send(udp(2, 1, 80));
  bench.run();
  EXPECT_EQ(bench.sw->rule_hits("b").frames, 1u);
}

TEST(SwitchRules, APortIsBoundByItsRulesFromItsFirstFrameOn) {
  Ruled bench;
  bench.set({of_port(dropping(rule_to_port("a", 80)), "late")});
  FakePort late;
  const PortId id = *bench.sw->attach(late, *bench.poller, {.name = "late"});
  late.send(udp(2, 5, 80));
  late.send(udp(2, 5, 81));
  EXPECT_EQ(bench.got(), (Counts{0, 1, 0, 0}));
  EXPECT_TRUE(bench.sw->detach(id));
  // Another has its place, and is not bound by them.
  FakePort other;
  const PortId other_id = *bench.sw->attach(other, *bench.poller, {.name = "other"});
  ASSERT_EQ(slot_of(other_id), slot_of(id));
  other.send(udp(2, 6, 80));
  EXPECT_EQ(bench.got(), (Counts{0, 1, 0, 0}));
  EXPECT_TRUE(bench.sw->detach(other_id));
}

TEST(SwitchRules, AMirrorThatComesLaterIsOneFromThen) {
  Ruled bench;
  Rule rule = rule_to_port("a", 80);
  rule.mirror = "probe";
  bench.set({rule});
  FakePort probe;
  const PortId id = *bench.sw->attach(probe, *bench.poller, {.name = "probe"});
  bench.ports[0]->send(udp(0xff, 1, 80));
  EXPECT_EQ(bench.got(), (Counts{0, 1, 1, 1}));
  EXPECT_EQ(probe.inbox.size(), 1u);  // the copy, and not what is flooded
  EXPECT_TRUE(bench.sw->detach(id));
  bench.ports[0]->send(udp(2, 1, 80));
  EXPECT_EQ(bench.got(), (Counts{0, 1, 0, 0}));
}

std::vector<Rule> copying_to(const std::string& prefix, std::size_t count) {
  std::vector<Rule> rules;
  for (std::size_t i = 0; i < count; ++i) {
    Rule& rule = rules.emplace_back(rule_to_port(prefix + std::to_string(i), 80 + static_cast<std::uint16_t>(i)));
    rule.mirror = rule.name;
  }
  return rules;
}

TEST(SwitchRules, WhoIsToGetCopiesCountsAmongTheDestinationsBeforeItIsThere) {
  Ruled bench;
  bench.set(copying_to("x", kMaxMirrors));
  const auto more = bench.sw->set_mirror(bench.ids[0], Mirror{bench.ids[1]});
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, Errc::no_space);
  std::array<FakePort, kMaxMirrors> listeners;
  std::vector<PortId> ids;
  for (std::size_t i = 0; i < kMaxMirrors; ++i)
    ids.push_back(*bench.sw->attach(listeners[i], *bench.poller, {.name = "x" + std::to_string(i)}));
  bench.ports[0]->send(udp(2, 1, 80 + kMaxMirrors - 1));
  EXPECT_EQ(bench.got(), (Counts{0, 1, 0, 0}));
  EXPECT_EQ(listeners.back().inbox.size(), 1u);
  for (const PortId id : ids)
    EXPECT_TRUE(bench.sw->detach(id));
}

TEST(SwitchRules, AllDestinationsMayBeOthersAtOnce) {
  Ruled bench;
  std::array<FakePort, 2 * kMaxMirrors> listeners;
  std::vector<PortId> ids;
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    const std::string name = (i < kMaxMirrors ? "x" : "y") + std::to_string(i % kMaxMirrors);
    ids.push_back(*bench.sw->attach(listeners[i], *bench.poller, {.name = name}));
  }
  bench.set(copying_to("x", kMaxMirrors));
  bench.set(copying_to("y", kMaxMirrors));
  bench.ports[0]->send(udp(2, 1, 80));
  bench.run();
  EXPECT_EQ(listeners[0].inbox.size(), 0u);
  EXPECT_EQ(listeners[kMaxMirrors].inbox.size(), 1u);
  bench.ports[0]->send(udp(0xff, 1, 22));  // who was one is back in the network
  bench.run();
  EXPECT_EQ(listeners[0].inbox.size(), 1u);
  EXPECT_EQ(listeners[kMaxMirrors].inbox.size(), 1u);
  for (const PortId id : ids)
    EXPECT_TRUE(bench.sw->detach(id));
}

// Its poller goes on while it is taken off, so that it sends between any two steps of that.
TEST(SwitchRules, APortIsBoundByItsRulesToItsLastFrame) {
  Ruled bench;
  bench.set({of_port(dropping(rule_to_port("a", 80)), "late")});
  FakePort late;
  for (int i = 0; i < 100'000; ++i)
    late.send(udp(2, 5, 80));
  std::thread thread{[&] { bench.poller->run(); }};
  while (!bench.poller->is_running())
    std::this_thread::yield();
  for (int i = 0; i < 10; ++i) {
    const PortId id = *bench.sw->attach(late, *bench.poller, {.name = "late"});
    EXPECT_TRUE(bench.sw->detach(id));
  }
  bench.poller->stop();
  thread.join();
  EXPECT_GT(late.results.size(), 0u);
  EXPECT_EQ(bench[1].inbox.size(), 0u);
}

// What the old table counts until its poller has the new one.
TEST(SwitchRules, ANewRuleHasNoHitsOfTheOneWhosePlaceItHas) {
  Ruled bench;
  for (int i = 0; i < 100'000; ++i)
    bench.ports[0]->send(udp(2, 1, 80));
  bench.set({rule_to_port("a", 80)});
  std::thread thread{[&] { bench.poller->run(); }};
  while (!bench.poller->is_running())
    std::this_thread::yield();
  std::uint64_t hits = 0;
  for (int i = 0; i < 20; ++i) {
    bench.set({rule_to_port("b", 9)});
    hits += bench.sw->rule_hits("b").frames;
    bench.set({rule_to_port("a", 80)});
  }
  bench.poller->stop();
  thread.join();
  EXPECT_EQ(hits, 0u);
}

TEST(SwitchRules, WhatMakesNoSenseIsRefusedAndChangesNothing) {
  Ruled bench;
  bench.set({dropping(rule_to_port("a", 80))});
  const auto refused = [&bench](const std::function<void(Rule&)>& spoil) {
    std::vector<Rule> rules{rule_to_port("b", 80)};
    spoil(rules.front());
    return !bench.sw->set_rules(rules);
  };
  EXPECT_TRUE(refused([](Rule& rule) { rule.vlan = 4095; }));
  EXPECT_TRUE(refused([](Rule& rule) { rule.dscp = 64; }));
  EXPECT_TRUE(refused([](Rule& rule) { rule.match.mark = 1; }));
  EXPECT_TRUE(refused([](Rule& rule) {
    rule.way = RuleWay::out;
    rule.redirect = "p1";
  }));
  EXPECT_FALSE(bench.sw->set_rules({rule_to_port("b", 80), rule_to_port("b", 81)}));
  EXPECT_FALSE(bench.sw->set_rules(std::vector<Rule>(kMaxRules + 1)));
  ASSERT_TRUE(bench.sw->set_mirror(bench.ids[1], Mirror{bench.ids[2]}));
  EXPECT_TRUE(refused([](Rule& rule) { rule.mirror = "p1"; }));
  bench.ports[0]->send(udp(4, 1, 80));
  EXPECT_EQ(bench.got()[3], 0u);
}

TEST(SwitchRules, OnTwoPollersFramesAreRedirectedCopiedAndMarkedAsOnOne) {
  CrossBench bench;
  for (std::uint8_t i = 0; i < 4; ++i)
    bench.introduce(i, static_cast<std::uint8_t>(i + 1));
  Rule redirects = rule_to_port("r", 80), marks = rule_to_port("m", 81), drops;
  redirects.redirect = "p3";
  marks.mark = 1;
  drops.name = "d";
  drops.way = RuleWay::out;
  drops.port = "p2";
  drops.match.mark = 1;
  drops.verdict = RuleVerdict::drop;
  ASSERT_TRUE(bench.sw->set_rules({redirects, marks, drops}));
  bench.ports[0].send(udp(2, 1, 80));
  bench.ports[0].send(udp(3, 1, 81));
  bench.ports[0].send(udp(3, 1, 82));
  bench.run();
  EXPECT_EQ(bench.ports[1].inbox.size(), 0u);
  EXPECT_EQ(bench.ports[2].inbox, std::vector<Bytes>{udp(3, 1, 82)});
  EXPECT_EQ(bench.ports[3].inbox, std::vector<Bytes>{udp(2, 1, 80)});
  EXPECT_EQ(bench.ports[2].counters().drops(DropReason::rule).get(), 1u);
  Rule copies = rule_to_port("c", 80);
  copies.mirror = "p3";
  ASSERT_TRUE(bench.sw->set_rules({copies}));
  bench.ports[0].send(udp(2, 1, 80));
  bench.run();
  EXPECT_EQ(bench.ports[1].inbox.size(), 1u);
  EXPECT_EQ(bench.ports[3].inbox.size(), 2u);
}

// Rules of many masks, and frames of which each is another flow: the port's turns are the fewer.
TEST(SwitchRules, WhoSendsAFlowInEachFrameWaitsForTheTimeItTakes) {
  Ruled bench;
  std::vector<Rule> rules;
  for (unsigned i = 0; i < 64; ++i) {
    Rule& rule = rules.emplace_back();
    rule.name = "r" + std::to_string(i);
    rule.match.mask.source_ip[0] = static_cast<std::uint8_t>(i + 1);
    rule.match.mask.source_port = {};
    rule.match.source_port = L4Ports{1, 1};
    rule.match.mask.source_ip[1] = 0xff;
    rule.match.value.source_ip[1] = 0xee;
  }
  bench.set(rules);
  constexpr int kFrames = 2000, kRounds = 20;
  for (int i = 0; i < kFrames; ++i) {
    Bytes other = udp(2, 1, 80), same = udp(3, 2, 80);
    other[28] = static_cast<std::uint8_t>(i >> 8);
    other[29] = static_cast<std::uint8_t>(i);
    other[26] = static_cast<std::uint8_t>(i >> 8);
    packet::test::set16(other, 34, static_cast<unsigned>(i));
    bench.ports[0]->send(other);
    bench.ports[1]->send(same);
  }
  bench[1].room = bench[2].room = kFrames;
  for (int i = 0; i < kRounds; ++i)
    bench.poller->run_once(0);
  EXPECT_GE(bench[2].inbox.size(), static_cast<std::size_t>((kRounds - 1) * 64));
  EXPECT_LE(bench[1].inbox.size(), static_cast<std::size_t>(kRounds * 64 / 10));
  EXPECT_GE(bench[1].inbox.size(), static_cast<std::size_t>(32));
  for (int i = 0; i < kFrames; ++i)
    bench.poller->run_once(0);
  EXPECT_EQ(bench[1].inbox.size(), static_cast<std::size_t>(kFrames));  // and nothing is lost
}

// As above: what was not known any more would be waited for.
TEST(SwitchRules, OfAPortThatNoRuleNamesOthersNoticeNothing) {
  Ruled bench;
  std::vector<Rule> rules;
  for (unsigned i = 0; i < 64; ++i) {
    Rule& rule = rules.emplace_back(of_port(rule_to_port("r" + std::to_string(i), 9), "p0"));
    rule.match.mask.source_ip[0] = static_cast<std::uint8_t>(i + 1);
    rule.match.value.source_ip[0] = static_cast<std::uint8_t>(i + 1);
    rule.match.mask.source_port = kAll16;
  }
  bench.set(rules);
  const auto send_and_run = [&bench](int rounds) {
    for (std::uint16_t i = 0; i < 32; ++i)
      bench.ports[0]->send(udp(2, 1, static_cast<std::uint16_t>(100 + i)));
    for (std::uint16_t i = 0; i < 32; ++i)
      bench.ports[0]->send(udp(2, 1, static_cast<std::uint16_t>(100 + i)));
    for (int i = 0; i < rounds; ++i)
      bench.poller->run_once(0);
    return std::exchange(bench[1].inbox, {}).size();
  };
  EXPECT_EQ(send_and_run(200), 64u);
  EXPECT_EQ(send_and_run(2), 64u);
  FakePort other;
  const PortId id = *bench.sw->attach(other, *bench.poller, {.name = "other"});
  EXPECT_EQ(send_and_run(2), 64u);
  EXPECT_TRUE(bench.sw->detach(id));
  EXPECT_EQ(send_and_run(2), 64u);
  ASSERT_TRUE(bench.sw->set_rules({rules.begin() + 1, rules.end()}));
  EXPECT_LT(send_and_run(2), 64u);
}

// On a poller that has no copies yet.
TEST(SwitchRules, WhatIsCopiedOfAllIsCopiedOfWhoComesLater) {
  CrossBench bench;
  Rule rule = rule_to_port("a", 80);
  rule.mirror = "p2";
  ASSERT_TRUE(bench.sw->set_rules({rule}));
  const auto third = *runtime::Poller::create();
  FakePort late;
  const PortId id = *bench.sw->attach(late, *third, {.name = "late"});
  late.send(udp(0xff, 5, 80));
  for (int i = 0; i < 10; ++i) {
    third->run_once(0);
    bench.run();
  }
  EXPECT_EQ(bench.ports[2].inbox.size(), 1u);
  EXPECT_TRUE(bench.sw->detach(id));
  bench.sw.reset();
}

}  // namespace
}  // namespace vmux::switching

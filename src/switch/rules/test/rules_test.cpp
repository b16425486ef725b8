// SPDX-License-Identifier: BSD-3-Clause
// Rules on a switch: what becomes of frames, and who is counted.
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "packet/test/test_frames.hpp"
#include "switch/rules/test/ruled.hpp"

namespace vmux::switching {
namespace {

using namespace test;
using packet::test::Ip;
using packet::test::Proto;
using packet::test::whole_frame;
using port::DropReason;

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

}  // namespace
}  // namespace vmux::switching

// SPDX-License-Identifier: BSD-3-Clause
// What a change of rules or of ports does to the frames that pass meanwhile, and to those behind it.
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "switch/rules/test/ruled.hpp"

namespace vmux::switching {
namespace {

using namespace test;
using packet::test::Ip;
using packet::test::Proto;
using packet::test::whole_frame;
using port::DropReason;

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

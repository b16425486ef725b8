// SPDX-License-Identifier: BSD-3-Clause
// Which rule decides: the tables against a plain reading of what rules say.
#include "switch/rules/rule_table.hpp"

#include <gtest/gtest.h>

#include <random>

#include "packet/test/test_frames.hpp"

namespace vmux::switching {
namespace {

using packet::test::Bytes;

packet::FlowFields random_fields(std::mt19937& random, unsigned values) {
  packet::FlowFields fields;
  const auto pick = [&] { return static_cast<std::uint8_t>(random() % values); };
  fields.destination[5] = pick();
  fields.source[5] = pick();
  fields.ethertype[1] = pick();
  fields.vlan[1] = pick();
  for (const std::size_t at : {0u, 1u, 2u, 3u}) {
    fields.source_ip[at] = pick();
    fields.destination_ip[at] = pick();
  }
  fields.source_port[1] = pick();
  fields.destination_port[1] = pick();
  fields.protocol = pick();
  fields.tos = pick();
  return fields;
}

struct Rules {
  std::vector<Rule> rules;
  std::vector<std::uint16_t> ports;
  [[nodiscard]] std::vector<RuleTable::Input> inputs() const {
    std::vector<RuleTable::Input> inputs;
    for (std::size_t i = 0; i < rules.size(); ++i) {
      RuleTable::Input input{&rules[i], {}, ports[i]};
      input.action.slot = static_cast<std::uint16_t>(i);
      inputs.push_back(input);
    }
    return inputs;
  }
  Rule& add(std::uint32_t priority = 0, std::uint16_t port = 0) {
    ports.push_back(port);
    rules.emplace_back();
    rules.back().priority = priority;
    return rules.back();
  }
  [[nodiscard]] std::unique_ptr<const RuleTable> table() const { return *RuleTable::create(inputs(), 42, 2); }
};

constexpr int kNoRule = -1;
int found(const RuleTable& table, const RuleWords& key) {
  const std::uint32_t rule = table.find(key);
  return rule == RuleTable::kNone ? kNoRule : table.action(rule).slot;
}

bool matches(const Rule& rule, std::uint16_t port, const packet::FlowFields& fields, std::uint16_t of_port) {
  const RuleWords is = words_of(fields), value = words_of(rule.match.value), mask = words_of(rule.match.mask);
  for (std::size_t i = 0; i < is.size(); ++i) {
    if (((is[i] ^ value[i]) & mask[i]) != 0) return false;
  }
  const auto within = [](const std::optional<L4Ports>& ports, const std::array<std::uint8_t, 2>& field) {
    const unsigned number = field[0] * 256u + field[1];
    return !ports || (ports->first <= number && number <= ports->last);
  };
  return within(rule.match.source_port, fields.source_port) &&
         within(rule.match.destination_port, fields.destination_port) && (port == 0 || port == of_port);
}

// The first of the highest priority, looked for one by one.
int plainly_found(const Rules& rules, const packet::FlowFields& fields, std::uint16_t of_port) {
  int best = kNoRule;
  for (std::size_t i = 0; i < rules.rules.size(); ++i) {
    if (!matches(rules.rules[i], rules.ports[i], fields, of_port)) continue;
    if (best == kNoRule || rules.rules[i].priority > rules.rules[static_cast<std::size_t>(best)].priority)
      best = static_cast<int>(i);
  }
  return best;
}

TEST(RuleTable, FindsWhatAPlainSearchFinds) {
  std::mt19937 random{7};
  int hits = 0;
  for (int round = 0; round < 20; ++round) {
    Rules rules;
    for (int i = 0; i < 60; ++i) {
      Rule& rule = rules.add(random() % 4, static_cast<std::uint16_t>(random() % 3));
      rule.match.value = random_fields(random, 3);
      rule.match.mask = random_fields(random, 2);  // bits 0 alone, so that much matches
      rule.match.value.source_port = rule.match.value.destination_port = {};
      rule.match.mask.source_port = rule.match.mask.destination_port = {};
      if (random() % 2 == 0) rule.match.source_port = L4Ports{0, static_cast<std::uint16_t>(random() % 3)};
    }
    const auto table = rules.table();
    for (int i = 0; i < 500; ++i) {
      packet::FlowFields fields = random_fields(random, 3);
      const auto port = static_cast<std::uint16_t>(1 + random() % 2);
      fields.spare = spare_of(port, 0);
      const int expected = plainly_found(rules, fields, port);
      ASSERT_EQ(found(*table, words_of(fields)), expected) << round << ' ' << i;
      hits += expected != kNoRule ? 1 : 0;
    }
  }
  EXPECT_GT(hits, 1000);
  EXPECT_LT(hits, 9900);
}

TEST(RuleTable, WhatNoRuleLooksAtDoesNotTellFlowsApart) {
  Rules rules;
  rules.add().match.mask.destination_port = {0xff, 0xff};
  rules.rules.back().match = {};
  rules.rules.back().match.destination_port = L4Ports{80, 80};
  const auto table = rules.table();
  const auto fields = std::bit_cast<packet::FlowFields>(table->fields());
  EXPECT_EQ(fields.destination_port, (std::array<std::uint8_t, 2>{0xff, 0xff}));
  EXPECT_EQ(fields.source_port, (std::array<std::uint8_t, 2>{}));
  EXPECT_EQ(fields.ttl, 0);
  EXPECT_TRUE(table->looks_at_ip());
}

TEST(RuleTable, RulesOfEthernetAloneDoNotLookBehindIt) {
  Rules rules;
  rules.add(0, 3).match.mask.source.fill(0xff);
  EXPECT_FALSE(rules.table()->looks_at_ip());
}

TEST(RuleTable, ARangeIsAsFewPrefixesAsItTakes) {
  EXPECT_EQ(prefixes_of({0, 0xffff}).size(), 1u);
  EXPECT_EQ(prefixes_of({80, 80}).size(), 1u);
  EXPECT_EQ(prefixes_of({1024, 0xffff}).size(), 6u);
  EXPECT_EQ(prefixes_of({1, 0xfffe}).size(), 30u);
  for (const L4Ports range : {L4Ports{1, 0xfffe}, L4Ports{1000, 1999}, L4Ports{7, 7}, L4Ports{0xfff0, 0xffff}}) {
    for (std::uint32_t port = 0; port <= 0xffff; ++port) {
      int count = 0;
      for (const PortPrefix prefix : prefixes_of(range))
        count += (port & prefix.mask) == prefix.value ? 1 : 0;
      ASSERT_EQ(count, range.first <= port && port <= range.last ? 1 : 0) << port;
    }
  }
}

TEST(RuleTable, TooManySetsOfFieldsAreRefused) {
  Rules rules;
  for (unsigned i = 0; i <= RuleTable::kMaxTuples; ++i) {
    packet::FlowFields& mask = rules.add().match.mask;
    mask.source_ip[0] = static_cast<std::uint8_t>(i);
    mask.source_ip[1] = static_cast<std::uint8_t>(i >> 8);
  }
  const auto made = RuleTable::create(rules.inputs(), 1, 2);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::no_space);
  rules.rules.pop_back();
  rules.ports.pop_back();
  EXPECT_EQ(rules.table()->tuples(), RuleTable::kMaxTuples);
}

TEST(RuleTable, TooManyPrefixesAreRefused) {
  Rules rules;
  for (std::uint16_t i = 0; i < 80; ++i) {  // 900 prefixes each
    Rule& rule = rules.add();
    rule.match.value.vlan[1] = static_cast<std::uint8_t>(i);
    rule.match.mask.vlan = {0xff, 0xff};
    rule.match.source_port = rule.match.destination_port = L4Ports{1, 0xfffe};
  }
  EXPECT_FALSE(RuleTable::create(rules.inputs(), 1, 2));
}

TEST(RuleTable, VersionsOfTablesThatAreUsedTogetherDifferInTheLowestBit) {
  const auto one = RuleTable::next_versions(), other = RuleTable::next_versions();
  EXPECT_EQ(one.in ^ one.out, 1u);
  EXPECT_EQ(other.in ^ other.out, 1u);
  EXPECT_GT(one.in ^ other.in, 1u);
  EXPECT_NE(one.in, 0u);
}

}  // namespace
}  // namespace vmux::switching

// SPDX-License-Identifier: BSD-3-Clause
// A switch of four ports, and rules for it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "packet/test/test_frames.hpp"
#include "switch/member.hpp"
#include "switch/test/switch_bench.hpp"

namespace vmux::switching::test {

using packet::test::Proto;
using packet::test::whole_frame;
using port::DropReason;

inline constexpr std::array<std::uint8_t, 2> kAll16{0xff, 0xff};

inline Bytes udp(std::uint8_t to, std::uint8_t from, std::uint16_t port) {
  Bytes bytes = whole_frame({.proto = Proto::udp}, packet::test::pattern(20));
  const Bytes macs = frame(to, from);
  std::copy_n(macs.begin(), 12, bytes.begin());
  packet::test::set16(bytes, 36, port);
  return bytes;
}

inline Rule rule_to_port(const std::string& name, std::uint16_t port, std::uint32_t priority = 100) {
  Rule rule;
  rule.name = name;
  rule.priority = priority;
  rule.match.value.protocol = 17;
  rule.match.mask.protocol = 0xff;
  rule.match.destination_port = L4Ports{port, port};
  return rule;
}
inline Rule dropping(Rule rule) {
  rule.verdict = RuleVerdict::drop;
  return rule;
}
inline Rule of_port(Rule rule, const std::string& port) {
  rule.port = port;
  return rule;
}
inline Rule outwards(Rule rule) {
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

}  // namespace vmux::switching::test

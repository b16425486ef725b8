// SPDX-License-Identifier: BSD-3-Clause
// Which frames are for the station, which queue takes them, what is said of them.
#include "intel/rules/steer.hpp"

#include <gtest/gtest.h>

#include <tuple>
#include <vector>

#include "packet/test/test_frames.hpp"

namespace vmux::intel {
namespace {

using packet::test::Bytes;
using packet::test::FrameSpec;
using packet::test::pattern;
using packet::test::whole_frame;

// The verification suite of the RSS specification (Microsoft, "Verifying the RSS Hash Calculation"): its key.
constexpr std::array<std::uint8_t, 40> kKey{0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                            0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                            0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                            0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

RxRules open_rules() {
  RxRules rules;
  rules.filters.unicast_promisc = rules.filters.multicast_promisc = true;
  rules.queues = 4;
  return rules;
}
RxRules hashing_rules() {
  RxRules rules = open_rules();
  std::copy(kKey.begin(), kKey.end(), rules.rss.key.begin());
  rules.rss.enabled = true;
  rules.rss.hena = kHashedPackets;
  for (std::size_t i = 0; i < rules.rss.lut.size(); ++i)
    rules.rss.lut[i] = static_cast<std::uint8_t>(i % 4);
  rules.prepare_hash();
  return rules;
}
RxInfo info_of(const RxRules& rules, const Bytes& bytes) {
  const packet::test::View v{bytes, 128, {65536}};
  RxInfo info;
  steer(rules, {&v.view, 1}, {&info, 1});
  return info;
}
// A TCP frame between these ends, without a right checksum.
Bytes between(std::uint32_t source, std::uint32_t destination, unsigned source_port, unsigned destination_port) {
  Bytes bytes = whole_frame({}, pattern(10));
  Bytes ends;
  packet::test::append32(ends, source);
  packet::test::append32(ends, destination);
  packet::test::append16(ends, source_port);
  packet::test::append16(ends, destination_port);
  std::copy(ends.begin(), ends.end(), bytes.begin() + 26);
  return bytes;
}

TEST(IntelRss, HashesIpv4AndTcpAsTheSpecificationDoes) {
  EXPECT_EQ(info_of(hashing_rules(), between(0x420995bb, 0xa18e6450, 2794, 1766)).hash, 0x51ccc178u);
  EXPECT_EQ(info_of(hashing_rules(), between(0xc75c6f02, 0x41458c53, 14230, 4739)).hash, 0xc626b0eau);
}

TEST(IntelRss, HashesIpv4AloneAsTheSpecificationDoes) {
  Bytes bytes = between(0x420995bb, 0xa18e6450, 2794, 1766);
  bytes[14 + 9] = 47;  // GRE: no ports
  EXPECT_EQ(info_of(hashing_rules(), bytes).hash, 0x323e8fc2u);
}

TEST(IntelRss, LeadsToTheQueueOfTheTable) {
  EXPECT_EQ(info_of(hashing_rules(), between(0x420995bb, 0xa18e6450, 2794, 1766)).queue, 0x51ccc178 % 64 % 4);
}

TEST(IntelRss, LeadsBothDirectionsTogetherWhenSymmetric) {
  RxRules rules = hashing_rules();
  rules.rss.symmetric = true;
  EXPECT_EQ(info_of(rules, between(0x420995bb, 0xa18e6450, 2794, 1766)).hash,
            info_of(rules, between(0xa18e6450, 0x420995bb, 1766, 2794)).hash);
}

TEST(IntelRss, HashesOnlyWhatHenaNames) {
  RxRules rules = hashing_rules();
  rules.rss.hena = 1ull << pctype::ipv4_udp;
  EXPECT_EQ(info_of(rules, whole_frame({}, pattern(10))).flags & RxInfo::has_hash, 0);
  EXPECT_NE(info_of(rules, whole_frame({.proto = packet::test::Proto::udp}, pattern(10))).flags & RxInfo::has_hash, 0);
}

TEST(IntelSteer, TellsPacketTypes) {
  using packet::test::Ip, packet::test::Proto;
  EXPECT_EQ(info_of(open_rules(), whole_frame({}, {})).ptype, 26);
  EXPECT_EQ(info_of(open_rules(), whole_frame({.proto = Proto::udp}, pattern(20))).ptype, 24);
  EXPECT_EQ(info_of(open_rules(), whole_frame({.ip = Ip::v6}, {})).ptype, 92);
  EXPECT_EQ(info_of(open_rules(), whole_frame({.tag = 5}, {})).ptype, 26);
  Bytes fragment = whole_frame({}, {});
  fragment[14 + 6] = 0x20;
  EXPECT_EQ(info_of(open_rules(), fragment).ptype, 22);
}

TEST(IntelSteer, LeavesFramesForOthersAlone) {
  RxRules rules;
  EXPECT_EQ(info_of(rules, whole_frame({}, {})).queue, RxInfo::kNobody);
  ASSERT_TRUE(rules.filters.add({0x52, 0x54, 0, 0, 0, 2}));
  EXPECT_EQ(info_of(rules, whole_frame({}, {})).queue, 0);
  rules.filters.remove({0x52, 0x54, 0, 0, 0, 2});
  EXPECT_EQ(info_of(rules, whole_frame({}, {})).queue, RxInfo::kNobody);
}

TEST(IntelSteer, TakesBroadcastAlwaysAndMulticastWhenAsked) {
  RxRules rules;
  Bytes bytes = whole_frame({}, {});
  std::fill_n(bytes.begin(), 6, std::uint8_t{0xff});
  EXPECT_EQ(info_of(rules, bytes).queue, 0);
  EXPECT_EQ(info_of(rules, bytes).flags & RxInfo::broadcast, RxInfo::broadcast);
  bytes[5] = 1;
  EXPECT_EQ(info_of(rules, bytes).queue, RxInfo::kNobody);
  rules.filters.multicast_promisc = true;
  EXPECT_EQ(info_of(rules, bytes).flags & RxInfo::multicast, RxInfo::multicast);
}

TEST(IntelSteer, KeepsOutVlansThatAreNotWanted) {
  RxRules rules = open_rules();
  rules.filters.vlan_filtering = true;
  rules.filters.vlans.set(7);
  EXPECT_EQ(info_of(rules, whole_frame({.tag = 0x3007}, {})).queue, 0);
  EXPECT_EQ(info_of(rules, whole_frame({.tag = 8}, {})).queue, RxInfo::kNobody);
  EXPECT_EQ(info_of(rules, whole_frame({}, {})).queue, 0);
}

TEST(IntelSteer, TellsVlansOfBothKindsApart) {
  RxRules rules = open_rules();
  rules.filters.vlan_filtering = true;
  rules.filters.service_vlans.set(7);
  Bytes service = whole_frame({.tag = 7}, {});
  service[12] = 0x88;
  service[13] = 0xa8;
  EXPECT_EQ(info_of(rules, service).queue, 0);
  EXPECT_EQ(info_of(rules, whole_frame({.tag = 7}, {})).queue, RxInfo::kNobody);
  service[12] = 0x91;
  service[13] = 0x00;
  EXPECT_EQ(info_of(rules, service).queue, RxInfo::kNobody);
}

TEST(IntelSteer, StripsTwoTagsToTheirPlaces) {
  RxRules rules = open_rules();
  rules.vlan = {.outer = {true, false, 0x8100, TagPlace::l2tag1}, .inner = {true, false, 0x8100, TagPlace::l2tag2}};
  Bytes bytes = whole_frame({.tag = 5}, {});
  const Bytes outer{0x81, 0x00, 0x00, 0x64};
  bytes.insert(bytes.begin() + 12, outer.begin(), outer.end());
  const RxInfo info = info_of(rules, bytes);
  EXPECT_EQ(info.l2tag1, 100);
  EXPECT_EQ(info.l2tag2, 5);
  EXPECT_EQ(info.cut, 8);
}

TEST(IntelFlow, LeadsAMatchToItsQueueAndMarksIt) {
  RxRules rules = open_rules();
  FlowRule rule;
  rule.value.protocol = 6;
  rule.value.destination_port = {2000 >> 8, 2000 & 0xff};
  rule.mask.protocol = 0xff;
  rule.mask.destination_port = {0xff, 0xff};
  rule.action = FlowAction::queue;
  rule.queue = 3;
  rule.mark = 77;
  ASSERT_TRUE(rules.flows.add(rule));
  const RxInfo hit = info_of(rules, whole_frame({}, {}));
  EXPECT_EQ(hit.queue, 3);
  EXPECT_EQ(hit.mark, 77u);
  EXPECT_EQ(info_of(rules, whole_frame({.proto = packet::test::Proto::udp}, pattern(20))).queue, 0);
}

TEST(IntelFlow, DropsAndForgets) {
  RxRules rules = open_rules();
  FlowRule rule;
  rule.value.ip_version = 4;
  rule.mask.ip_version = 0xff;
  rule.action = FlowAction::drop;
  rule.id = 9;
  ASSERT_TRUE(rules.flows.add(rule));
  EXPECT_EQ(info_of(rules, whole_frame({}, {})).queue, RxInfo::kNobody);
  EXPECT_TRUE(rules.flows.remove(9));
  EXPECT_FALSE(rules.flows.remove(9));
  EXPECT_EQ(info_of(rules, whole_frame({}, {})).queue, 0);
}

// Frames that differ from the first in one thing each, and what is beside their bytes.
struct Variant {
  Bytes bytes;
  bool has_tag_beside = false;
  std::size_t header = 128;
};
std::vector<Variant> variants() {
  const Bytes udp = whole_frame({.proto = packet::test::Proto::udp}, pattern(40));
  const Bytes v6 = whole_frame({.ip = packet::test::Ip::v6, .proto = packet::test::Proto::udp}, pattern(20));
  std::vector<Variant> all{{udp}, {udp, true}, {udp, false, 50}, {whole_frame({}, pattern(30))}, {v6}, {Bytes(10)}};
  all.push_back({whole_frame({.proto = packet::test::Proto::udp, .tag = 5}, pattern(40))});
  const std::pair<std::size_t, std::uint8_t> changes[] = {
      {0, 0x01},                          // the address: a group's
      {5, 0x09},                          // another's
      {14, 0x46},                         // an option
      {15, 0x10},                         // type of service: the sum is wrong
      {20, 0x20},                         // a fragment,
      {21, 0x01},                         // one that is not the first
      {23, 0x06}, {23, 0x84}, {23, 0x2f}  // TCP, SCTP, GRE
  };
  for (const auto& [at, value] : changes) {
    Bytes changed = udp;
    changed[at] = value;
    all.push_back({changed});
  }
  Bytes unsummed = udp;
  packet::test::set16(unsummed, 40, 0);
  all.push_back({unsummed});
  return all;
}

TEST(IntelSteer, FindsOutTheSameOfAFrameWhateverComesBeforeIt) {
  for (RxRules rules : {open_rules(), hashing_rules()}) {
    rules.filters.unicast_promisc = false;
    ASSERT_TRUE(rules.filters.add({0x52, 0x54, 0, 0, 0, 2}));
    for (const Variant& first : variants()) {
      for (const Variant& second : variants()) {
        const packet::test::View a{first.bytes, first.header, {65536}}, b{second.bytes, second.header, {65536}};
        std::array<packet::FrameView, 4> burst{a.view, b.view, a.view, b.view};
        for (std::size_t i = 0; i < burst.size(); ++i)
          burst[i].offload.has_vlan = (i % 2 == 0 ? first : second).has_tag_beside;
        std::array<RxInfo, 4> together, alone;
        steer(rules, burst, together);
        for (std::size_t i = 0; i < burst.size(); ++i) {
          steer(rules, {&burst[i], 1}, {&alone[i], 1});
          EXPECT_EQ(together[i].queue, alone[i].queue);
          if (alone[i].queue == RxInfo::kNobody) continue;
          const auto rest = [](const RxInfo& info) {
            return std::tuple{info.hash, info.mark,  info.l2tag1, info.l2tag2,   info.l3,
                              info.l4,   info.flags, info.ptype,  info.protocol, info.cut};
          };
          EXPECT_EQ(rest(together[i]), rest(alone[i]));
        }
      }
    }
  }
}

TEST(IntelFilters, KeepTheirPromiseWhenFull) {
  Filters filters;
  const auto nth = [](std::size_t i) {
    return MacAddress{2, 0, 0, 0, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)};
  };
  std::size_t added = 0;
  while (filters.add(nth(added)))
    ++added;
  EXPECT_EQ(added, Filters::kMaxMacs);
  for (std::size_t i = 0; i < added; i += 2)
    filters.remove(nth(i));
  std::size_t found = 0;
  for (std::size_t i = 0; i < added; ++i)
    found += filters.has(nth(i)) ? 1 : 0;
  EXPECT_EQ(found, added / 2);
  EXPECT_TRUE(filters.has(nth(1)));
  EXPECT_FALSE(filters.has(nth(2)));
}

}  // namespace
}  // namespace vmux::intel

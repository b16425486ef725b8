// SPDX-License-Identifier: BSD-3-Clause
// Who a port may be: each way to be somebody else is a row, and each thing that an honest guest sends.
#include "switch/policy/sources.hpp"

#include <gtest/gtest.h>

#include <string>

#include "switch/test/switch_bench.hpp"

namespace vmux::switching {
namespace {

using namespace test;
using port::DropReason;

const Bytes kMe{2, 0, 0, 0, 0, 1}, kOther{2, 0, 0, 0, 0, 2}, kAll{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
const Bytes kMyV4{10, 0, 0, 5}, kOtherV4{10, 0, 0, 6}, kNoV4{0, 0, 0, 0};
const Bytes kMyV6{0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5},
    kOtherV6{0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6}, kNoV6(16);
const Bytes kMyLocal{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 1},
    kOtherLocal{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 2};

Bytes join(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts)
    all.insert(all.end(), part.begin(), part.end());
  return all;
}
Bytes ethernet(const Bytes& from, Bytes type, const Bytes& payload) {
  Bytes all = join({kAll, from, type, payload});
  if (all.size() < 60) all.resize(60);
  return all;
}
Bytes arp(const Bytes& mac, const Bytes& ip, const Bytes& kind = {0, 1, 8, 0, 6, 4}) {
  return join({kind, {0, 2}, mac, ip, kOther, kOtherV4});
}
Bytes ipv4(const Bytes& from, std::uint8_t protocol, const Bytes& payload, std::uint16_t fragment = 0,
           std::uint8_t version = 0x45) {
  return join({{version, 0, 0, 40, 0, 1, static_cast<std::uint8_t>(fragment >> 8), static_cast<std::uint8_t>(fragment),
                64, protocol, 0, 0},
               from,
               kOtherV4,
               payload});
}
Bytes udp(std::uint16_t from) {
  return {static_cast<std::uint8_t>(from >> 8), static_cast<std::uint8_t>(from), 0, 99, 0, 12, 0, 0, 1, 2, 3, 4};
}
Bytes ipv6(const Bytes& from, std::uint8_t next, const Bytes& payload) {
  return join({{0x60, 0, 0, 0, 0, static_cast<std::uint8_t>(payload.size()), next, 255}, from, kOtherV6, payload});
}
// Type, 4 bytes, then what the type has.
Bytes icmpv6(std::uint8_t type, const Bytes& rest) { return join({{type, 0, 0, 0, 0, 0, 0, 0}, rest}); }
Bytes option(std::uint8_t type, const Bytes& mac) { return join({{type, 1}, mac}); }

const Bytes kArp{8, 6}, kRarp{0x80, 0x35}, kIpv4{8, 0}, kIpv6{0x86, 0xdd}, kLldp{0x88, 0xcc};
constexpr std::uint8_t kUdp = 17, kTcp = 6, kIcmp6 = 58;

struct Row {
  const char* name;
  Bytes frame;
  bool with_mac, with_addresses;  // allowed, where macs are checked, and addresses as well
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

std::vector<Row> rows() {
  const Bytes tcp(20, 1);
  const Bytes long_chain = join({Bytes{kIcmp6, 31}, Bytes(254, 0)});
  return {
      {"lldp", ethernet(kMe, kLldp, Bytes(46)), true, true},
      {"lldp_of_another", ethernet(kOther, kLldp, Bytes(46)), false, false},
      {"ipv4", ethernet(kMe, kIpv4, ipv4(kMyV4, kTcp, tcp)), true, true},
      {"ipv4_of_another_mac", ethernet(kOther, kIpv4, ipv4(kMyV4, kTcp, tcp)), false, false},
      {"ipv4_of_another", ethernet(kMe, kIpv4, ipv4(kOtherV4, kTcp, tcp)), true, false},
      {"ipv4_of_another_in_a_tag", ethernet(kMe, {0x81, 0, 0, 5, 8, 0}, ipv4(kOtherV4, kTcp, tcp)), true, false},
      {"ipv4_of_another_in_three_tags",
       ethernet(kMe, {0x88, 0xa8, 0, 5, 0x81, 0, 0, 5, 0x81, 0, 0, 6, 8, 0}, ipv4(kOtherV4, kTcp, tcp)), true, false},
      {"ipv4_in_a_tag", ethernet(kMe, {0x81, 0, 0, 5, 8, 0}, ipv4(kMyV4, kTcp, tcp)), true, true},
      {"ipv4_of_another_later_fragment", ethernet(kMe, kIpv4, ipv4(kOtherV4, kUdp, udp(9), 100)), true, false},
      {"ipv4_later_fragment", ethernet(kMe, kIpv4, ipv4(kMyV4, kUdp, udp(kUdp), 100)), true, true},
      {"ipv4_of_no_version", ethernet(kMe, kIpv4, ipv4(kMyV4, kTcp, tcp, 0, 0x65)), true, false},
      {"ipv4_of_a_short_header", ethernet(kMe, kIpv4, ipv4(kMyV4, kTcp, tcp, 0, 0x44)), true, false},
      {"dhcp_discover", ethernet(kMe, kIpv4, ipv4(kNoV4, kUdp, udp(68))), true, true},
      {"nobodys_datagram", ethernet(kMe, kIpv4, ipv4(kNoV4, kUdp, udp(99))), true, false},
      {"nobodys_tcp", ethernet(kMe, kIpv4, ipv4(kNoV4, kTcp, udp(68))), true, false},
      {"dhcp_offer", ethernet(kMe, kIpv4, ipv4(kMyV4, kUdp, udp(67))), true, false},
      {"arp", ethernet(kMe, kArp, arp(kMe, kMyV4)), true, true},
      {"arp_probe", ethernet(kMe, kArp, arp(kMe, kNoV4)), true, true},
      {"arp_of_another_mac", ethernet(kMe, kArp, arp(kOther, kMyV4)), false, false},
      {"arp_of_another", ethernet(kMe, kArp, arp(kMe, kOtherV4)), true, false},
      {"arp_of_another_in_a_tag", ethernet(kMe, {0x81, 0, 0, 5, 8, 6}, arp(kMe, kOtherV4)), true, false},
      {"arp_of_another_mac_in_a_tag", ethernet(kMe, {0x81, 0, 0, 5, 8, 6}, arp(kOther, kMyV4)), false, false},
      {"arp_of_longer_addresses", ethernet(kMe, kArp, arp(kMe, kMyV4, {0, 1, 8, 0, 8, 4})), false, false},
      {"arp_that_is_cut", join({kAll, kMe, kArp, Bytes{0, 1, 8, 0, 6, 4, 0, 1}}), false, false},
      {"rarp_announcement", ethernet(kMe, kRarp, arp(kMe, kNoV4)), true, true},
      {"rarp_of_another", ethernet(kMe, kRarp, arp(kOther, kNoV4)), false, false},
      {"ipv6", ethernet(kMe, kIpv6, ipv6(kMyV6, kTcp, tcp)), true, true},
      {"ipv6_of_another", ethernet(kMe, kIpv6, ipv6(kOtherV6, kTcp, tcp)), true, false},
      {"ipv6_link_local", ethernet(kMe, kIpv6, ipv6(kMyLocal, kTcp, tcp)), true, true},
      {"ipv6_link_local_of_another", ethernet(kMe, kIpv6, ipv6(kOtherLocal, kTcp, tcp)), true, false},
      {"nobodys_ipv6", ethernet(kMe, kIpv6, ipv6(kNoV6, kTcp, tcp)), true, false},
      {"ipv6_of_an_endless_header", ethernet(kMe, kIpv6, ipv6(kMyV6, 0, long_chain)), false, false},
      {"dhcpv6_solicit", ethernet(kMe, kIpv6, ipv6(kMyLocal, kUdp, udp(546))), true, true},
      {"dhcpv6_reply", ethernet(kMe, kIpv6, ipv6(kMyLocal, kUdp, udp(547))), true, false},
      {"dhcpv6_reply_behind_options",
       ethernet(kMe, kIpv6, ipv6(kMyLocal, 0, join({Bytes{kUdp, 0, 1, 4, 0, 0, 0, 0}, udp(547)}))), true, false},
      {"mld_report",
       ethernet(kMe, kIpv6, ipv6(kNoV6, 0, join({Bytes{kIcmp6, 0, 5, 2, 0, 0, 0, 0}, icmpv6(143, Bytes(20))}))), true,
       true},
      {"dad", ethernet(kMe, kIpv6, ipv6(kNoV6, kIcmp6, icmpv6(135, kMyV6))), true, true},
      {"dad_of_its_link_local", ethernet(kMe, kIpv6, ipv6(kNoV6, kIcmp6, icmpv6(135, kMyLocal))), true, true},
      {"dad_of_another", ethernet(kMe, kIpv6, ipv6(kNoV6, kIcmp6, icmpv6(135, kOtherV6))), true, false},
      {"solicitation", ethernet(kMe, kIpv6, ipv6(kMyV6, kIcmp6, icmpv6(135, join({kOtherV6, option(1, kMe)})))), true,
       true},
      {"solicitation_with_another_mac",
       ethernet(kMe, kIpv6, ipv6(kMyV6, kIcmp6, icmpv6(135, join({kOtherV6, option(1, kOther)})))), false, false},
      {"solicitation_with_another_mac_behind_a_nonce",
       ethernet(kMe, kIpv6, ipv6(kMyV6, kIcmp6, icmpv6(135, join({kOtherV6, option(14, kMe), option(1, kOther)})))),
       false, false},
      {"solicitation_that_is_cut", join({kAll, kMe, kIpv6, ipv6(kMyV6, kIcmp6, icmpv6(135, Bytes(8)))}), false, false},
      {"advertisement", ethernet(kMe, kIpv6, ipv6(kMyV6, kIcmp6, icmpv6(136, join({kMyV6, option(2, kMe)})))), true,
       true},
      {"advertisement_for_another",
       ethernet(kMe, kIpv6, ipv6(kMyV6, kIcmp6, icmpv6(136, join({kOtherV6, option(2, kMe)})))), true, false},
      {"advertisement_with_another_mac",
       ethernet(kMe, kIpv6, ipv6(kMyV6, kIcmp6, icmpv6(136, join({kMyV6, option(2, kOther)})))), false, false},
      {"advertisement_in_fragments",
       ethernet(
           kMe, kIpv6,
           ipv6(kMyV6, 44, join({Bytes{kIcmp6, 0, 0, 1, 0, 0, 0, 1}, icmpv6(136, join({kOtherV6, option(2, kMe)}))}))),
       false, false},
      {"advertisement_longer_than_is_seen",
       ethernet(kMe, kIpv6,
                ipv6(kMyV6, kIcmp6, icmpv6(136, join({kMyV6, join({Bytes{14, 24}, Bytes(190)}), option(2, kOther)})))),
       false, false},
      {"router_solicitation", ethernet(kMe, kIpv6, ipv6(kMyLocal, kIcmp6, icmpv6(133, option(1, kMe)))), true, true},
      {"router_advertisement",
       ethernet(kMe, kIpv6, ipv6(kMyLocal, kIcmp6, icmpv6(134, join({Bytes(8), option(1, kMe)})))), true, false},
      {"router_advertisement_with_another_mac",
       ethernet(kMe, kIpv6, ipv6(kMyLocal, kIcmp6, icmpv6(134, join({Bytes(8), option(1, kOther)})))), false, false},
      {"redirect", ethernet(kMe, kIpv6, ipv6(kMyLocal, kIcmp6, icmpv6(137, Bytes(32)))), true, false},
      {"ping_of_ipv6", ethernet(kMe, kIpv6, ipv6(kMyV6, kIcmp6, icmpv6(128, Bytes(8)))), true, true},
  };
}

SourceRules only_mac() { return {.macs = {{2, 0, 0, 0, 0, 1}}, .addresses = {}}; }
SourceRules with_addresses() {
  SourceRules rules = only_mac();
  IpAddress v6{.is_v6 = true};
  std::copy(kMyV6.begin(), kMyV6.end(), v6.bytes.begin());
  rules.addresses = {{.is_v6 = false, .bytes = {10, 0, 0, 5}}, v6};
  return rules;
}

class SourcesOf : public testing::TestWithParam<Row> {};
TEST_P(SourcesOf, AFrameAreAllowedOrNot) {
  for (const bool checks_addresses : {false, true}) {
    Bench bench{{kPlain, kPlain}};
    ASSERT_TRUE(bench.sw->set_sources(bench.ids[0], checks_addresses ? with_addresses() : only_mac()));
    bench[0].send(GetParam().frame);
    bench.run();
    const bool is_allowed = checks_addresses ? GetParam().with_addresses : GetParam().with_mac;
    EXPECT_EQ(bench[1].inbox.size(), is_allowed ? 1u : 0u) << checks_addresses;
    EXPECT_EQ(bench[0].counters().drops(DropReason::spoofed).get(), is_allowed ? 0u : 1u) << checks_addresses;
  }
}
INSTANTIATE_TEST_SUITE_P(Frames, SourcesOf, testing::ValuesIn(rows()),
                         [](const auto& row) { return std::string{row.param.name}; });

// Whatever is cut off, nothing is read that is not there (for AddressSanitizer), and no frame of another passes for it.
TEST(Sources, OfFramesThatAreCutAnywhere) {
  const Sources macs{only_mac()}, all{with_addresses()};
  for (const Row& row : rows()) {
    for (std::size_t size = 14; size <= row.frame.size(); ++size) {
      const Bytes cut(row.frame.begin(), row.frame.begin() + static_cast<std::ptrdiff_t>(size));
      const packet::FrameView view{
          .header = packet::test::slice(cut), .payload = {}, .length = static_cast<std::uint32_t>(size), .offload = {}};
      const bool allowed = macs.allow(view);
      EXPECT_LE(all.allow(view), allowed) << row.name << " " << size;
      EXPECT_TRUE(cut[11] == 1 || !allowed) << row.name << " " << size;
    }
  }
}

TEST(SwitchSources, NobodyIsLearntByWhatIsDropped) {
  Bench bench{{kPlain, kPlain, kPlain}};
  ASSERT_TRUE(bench.sw->set_sources(bench.ids[0], only_mac()));
  bench.introduce(1, frame(9, 2));
  bench.introduce(0, frame(9, 2));
  bench[2].send(frame(2, 3));
  bench.run();
  EXPECT_EQ(bench[1].inbox.size(), 1u);
  EXPECT_TRUE(bench[0].inbox.empty());
}

TEST(SwitchSources, AreChangedWhileFramesPass) {
  Bench bench{{kPlain, kPlain}};
  const auto passes = [&bench] {
    bench[1].inbox.clear();
    bench[0].send(frame(9, 2));
    bench.run();
    return !bench[1].inbox.empty();
  };
  EXPECT_TRUE(passes());
  ASSERT_TRUE(bench.sw->set_sources(bench.ids[0], only_mac()));
  EXPECT_FALSE(passes());
  SourceRules two = only_mac();
  two.macs.push_back({2, 0, 0, 0, 0, 2});
  ASSERT_TRUE(bench.sw->set_sources(bench.ids[0], two));
  EXPECT_EQ(bench.sw->ports()[0].config.sources, two);
  EXPECT_TRUE(passes());
  ASSERT_TRUE(bench.sw->set_sources(bench.ids[0], std::nullopt));
  EXPECT_TRUE(passes());
}

}  // namespace
}  // namespace vmux::switching

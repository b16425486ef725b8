// SPDX-License-Identifier: BSD-3-Clause
#include "control/model/spec/rule_values.hpp"

#include <gtest/gtest.h>

namespace vmux::control {
namespace {

template <class T>
void expect_same_again(Parsed<T> (*parse)(std::string_view), std::initializer_list<const char*> texts) {
  for (const char* const text : texts) {
    const auto value = parse(text);
    ASSERT_TRUE(value) << text << ": " << value.error();
    EXPECT_EQ(to_text(*value), text);
  }
}
template <class T>
void expect_refused(Parsed<T> (*parse)(std::string_view), std::initializer_list<std::string_view> texts) {
  for (const std::string_view text : texts)
    EXPECT_FALSE(parse(text)) << text;
}

TEST(RuleValues, MacsWithAndWithoutAMask) {
  expect_same_again(&parse_mac_match, {"02:00:00:00:00:01", "02:00:00:00:00:00/ff:ff:ff:00:00:00"});
  expect_refused(&parse_mac_match, {"", "02:00:00:00:00", "02:00:00:00:00:01/ff:00:00:00:00:00", "02:00:00:00:00:01/",
                                    "00:00:00:00:00:00/00:00:00:00:00:00", "/ff:ff:ff:ff:ff:ff"});
}

TEST(RuleValues, Prefixes) {
  expect_same_again(&parse_prefix, {"10.0.0.0/8", "10.1.2.3", "fd00::/64", "::1", "0.0.0.0/1"});
  EXPECT_EQ(to_text(*parse_prefix("10.1.2.3/32")), "10.1.2.3");
  expect_refused(&parse_prefix, {"10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "fd00::1/64", "10.0.0.0/0", "10", "::/129",
                                 std::string_view{"10.0.0.1\0x", 10}});
}

TEST(RuleValues, Ports) {
  expect_same_again(&parse_l4_ports, {"0", "80", "1000-1999", "0-65535"});
  expect_refused(&parse_l4_ports, {"", "65536", "20-10", "1-", "-1", "a"});
}

TEST(RuleValues, EtherTypesAndProtocolsByNameAndNumber) {
  expect_same_again(&parse_ethertype, {"ip", "arp", "ipv6", "lldp", "0x8863"});
  EXPECT_EQ(to_text(*parse_ethertype("0x0800")), "ip");
  EXPECT_EQ(to_text(*parse_ethertype("0x88A8")), "0x88a8");
  EXPECT_EQ(parse_ethertype("34916")->number, 0x8864);
  expect_refused(&parse_ethertype, {"", "0x", "0x5ff", "0x10000", "0x1000000000000000000800", "tcp", "-1"});
  expect_same_again(&parse_ip_protocol, {"tcp", "udp", "sctp", "icmp", "icmpv6", "47"});
  expect_refused(&parse_ip_protocol, {"", "0", "255", "ip", "6 "});
}

TEST(RuleValues, Words) {
  expect_same_again(&parse_rule_action, {"allow", "drop", "count"});
  expect_refused(&parse_rule_action, {"", "Drop", "reject"});
  expect_same_again(&parse_rule_way, {"in", "out"});
  expect_refused(&parse_rule_way, {"", "both"});
}

TEST(RuleValues, VlanMaps) {
  expect_same_again(&parse_translations, {"10:100", "10:100,20-29:200", "4094:1"});
  expect_refused(&parse_translations,
                 {"", "10", "10:", ":10", "0:1", "1:0", "20-10:5", "10-20:4090", "10:100,", "1:4095"});
  expect_same_again(&parse_services, {"100", "10-19:100,20:200,300", "0:7"});
  expect_refused(&parse_services, {"", "0", "4095", "10:", "10-5:100", "4095:1", ":5", "100,"});
}

}  // namespace
}  // namespace vmux::control

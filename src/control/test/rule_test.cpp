// SPDX-License-Identifier: BSD-3-Clause
// Rules, shares, and tags as they are given, changed, refused, saved and read again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/config/saved.hpp"
#include "control/live/attach.hpp"
#include "control/test/live_control.hpp"

namespace vmux::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Rules : public test::LiveControl {
 protected:
  void SetUp() override {
    LiveControl::SetUp();
    ASSERT_TRUE(call("port.add", port("vm0")));
    ASSERT_TRUE(call("uplink.add", {{"name", "up"}, {"backend", "tap"}, {"device", "tap0"}}));
  }
  Json add(Json params) {
    const auto added = call("rule.add", std::move(params));
    EXPECT_TRUE(added) << added.error().field << ": " << added.error().text;
    return added ? *added : Json();
  }
  std::vector<std::string> names() {
    std::vector<std::string> names;
    const Json rules = call("rule.list", Json::object()).value();
    for (const Json& rule : rules)
      names.push_back(rule["name"]);
    return names;
  }
  std::string field_of(const Json& params) {
    const auto refused = call("rule.add", params);
    return refused ? "none" : refused.error().field;
  }
};

TEST_F(Rules, AreShownAsTheyWereGivenWithWhatTheyCounted) {
  const Json rule =
      add({{"name", "web"}, {"port", "vm0"}, {"protocol", "tcp"}, {"dst_port", "80-81"}, {"action", "drop"}});
  EXPECT_EQ(rule["switch"], "default");
  EXPECT_EQ(rule["direction"], "in");
  EXPECT_EQ(rule["priority"], 100);
  EXPECT_EQ(rule["dst_port"], "80-81");
  EXPECT_EQ(rule["frames"], 0);
  EXPECT_FALSE(rule.contains("missing"));
  EXPECT_EQ(call("switch.list", Json::object()).value()[0]["rules"], 1);
}

TEST_F(Rules, AreChangedAndRemoved) {
  static_cast<void>(add({{"name", "a"}}));
  static_cast<void>(add({{"name", "b"}, {"priority", 7}}));
  const auto set = call("rule.set", {{"name", "a"}, {"action", "drop"}, {"src_ip", "10.0.0.0/8"}});
  ASSERT_TRUE(set) << set.error().text;
  EXPECT_EQ((*set)["changed"], 2);
  EXPECT_THAT(names(), ElementsAre("a", "b"));
  EXPECT_EQ(call("rule.set", {{"name", "a"}, {"src_ip", nullptr}}).value()["changed"], 1);
  ASSERT_TRUE(call("rule.remove", {{"name", "a"}}));
  EXPECT_THAT(names(), ElementsAre("b"));
}

TEST_F(Rules, AreFlushedOfASwitchOrOfAPort) {
  ASSERT_TRUE(call("switch.add", {{"name", "other"}}));
  static_cast<void>(add({{"name", "a"}, {"port", "vm0"}}));
  static_cast<void>(add({{"name", "b"}}));
  static_cast<void>(add({{"name", "c"}, {"switch", "other"}}));
  EXPECT_EQ(call("rule.flush", {{"port", "vm0"}}).value()["flushed"], 1);
  EXPECT_THAT(names(), ElementsAre("b", "c"));
  EXPECT_EQ(call("rule.flush", Json::object()).value()["flushed"], 1);
  EXPECT_THAT(names(), ElementsAre("c"));
  EXPECT_FALSE(call("switch.remove", {{"name", "other"}}));
  EXPECT_EQ(call("rule.flush", {{"switch", "other"}}).value()["flushed"], 1);
  EXPECT_TRUE(call("switch.remove", {{"name", "other"}}));
  EXPECT_FALSE(call("rule.flush", {{"switch", "other"}}));
}

TEST_F(Rules, PortsThatTheyNameMayComeAndGo) {
  EXPECT_EQ(add({{"name", "a"}, {"port", "vm1"}, {"redirect", "fw"}})["missing"], (Json{"vm1", "fw"}));
  ASSERT_TRUE(call("port.add", port("vm1")));
  ASSERT_TRUE(call("port.add", port("fw")));
  EXPECT_FALSE(call("rule.list", Json::object()).value()[0].contains("missing"));
  ASSERT_TRUE(call("port.remove", {{"name", "vm1"}}));
  EXPECT_EQ(call("rule.list", Json::object()).value()[0]["missing"], Json{"vm1"});
}

TEST_F(Rules, WhatMakesNoSenseIsRefusedByItsName) {
  EXPECT_EQ(field_of({{"name", "a"}, {"dst_port", "80"}}), "dst_port");
  EXPECT_EQ(field_of({{"name", "a"}, {"dst_port", "80"}, {"protocol", "icmp"}}), "dst_port");
  EXPECT_EQ(field_of({{"name", "a"}, {"src_ip", "10.0.0.1"}, {"dst_ip", "::1"}}), "dst_ip");
  EXPECT_EQ(field_of({{"name", "a"}, {"ethertype", "arp"}, {"protocol", "tcp"}}), "ethertype");
  EXPECT_EQ(field_of({{"name", "a"}, {"ethertype", "ip"}, {"src_ip", "::1"}}), "ethertype");
  EXPECT_EQ(field_of({{"name", "a"}, {"direction", "out"}, {"redirect", "up"}}), "redirect");
  EXPECT_EQ(field_of({{"name", "a"}, {"direction", "out"}, {"set_vlan", 7}}), "set_vlan");
  EXPECT_EQ(field_of({{"name", "a"}, {"mark", 7}}), "mark");
  EXPECT_EQ(field_of({{"name", "a"}, {"action", "drop"}, {"set_dscp", 7}}), "set_dscp");
  EXPECT_EQ(field_of({{"name", "a"}, {"switch", "none"}}), "switch");
  EXPECT_EQ(field_of({{"name", "a"}, {"set_vlan", 4095}}), "set_vlan");
  EXPECT_EQ(field_of({{"name", "a"}, {"set_mark", 256}}), "set_mark");
  static_cast<void>(add({{"name", "a"}}));
  EXPECT_EQ(field_of({{"name", "a"}}), "name");
  EXPECT_TRUE(call("rule.add", {{"name", "a"}, {"may_exist", true}}));
  EXPECT_EQ(field_of({{"name", "a"}, {"priority", 3}, {"may_exist", true}}), "name");
}

TEST_F(Rules, ThatLetSomebodyReadWhatOthersSayAreForAdmins) {
  EXPECT_EQ(methods_.role_for("rule.add", {{"name", "a"}, {"action", "drop"}}), Role::operate);
  EXPECT_EQ(methods_.role_for("rule.add", {{"name", "a"}, {"mirror", "up"}}), Role::admin);
  EXPECT_EQ(methods_.role_for("rule.set", {{"name", "a"}, {"redirect", "up"}}), Role::admin);
}

TEST_F(Rules, CopiesAreNotCopied) {
  ASSERT_TRUE(call("port.add", port("probe")));
  static_cast<void>(add({{"name", "a"}, {"mirror", "probe"}}));
  const auto set = call("port.set", {{"name", "probe"}, {"mirror", "up"}});
  ASSERT_FALSE(set);
  EXPECT_THAT(set.error().text, HasSubstr("rule a copies to probe"));
  ASSERT_TRUE(call("port.set", {{"name", "vm0"}, {"mirror", "up"}}));
  EXPECT_EQ(field_of({{"name", "b"}, {"mirror", "vm0"}}), "mirror");
}

TEST_F(Rules, ThousandsComeInABatchOrNone) {
  Json calls = Json::array();
  for (int i = 0; i < 1000; ++i) {
    calls.push_back({{"method", "rule.add"},
                     {"params",
                      {{"name", "r" + std::to_string(i)},
                       {"priority", i % 10},
                       {"src_ip", "10." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ".0/24"}}}});
  }
  ASSERT_TRUE(call("batch", {{"calls", calls}}));
  EXPECT_EQ(names().size(), 1000u);
  ASSERT_TRUE(call("rule.flush", Json::object()));
  calls.push_back({{"method", "rule.add"}, {"params", {{"name", "r0"}}}});
  EXPECT_FALSE(call("batch", {{"calls", calls}}));
  EXPECT_EQ(names().size(), 0u);
}

TEST_F(Rules, AreSavedInTheirOrderInFrontOfPorts) {
  static_cast<void>(add({{"name", "z"}, {"dst_mac", "02:00:00:00:00:00/ff:ff:ff:00:00:00"}}));
  static_cast<void>(add({{"name", "a"}, {"action", "count"}, {"dscp", 46}}));
  const std::string saved = to_toml(controller_->daemon(), controller_->inventory());
  EXPECT_THAT(saved, HasSubstr("[[rule]]\nname = \"z\"\ndst_mac = \"02:00:00:00:00:00/ff:ff:ff:00:00:00\"\n\n"
                               "[[rule]]\nname = \"a\"\ndscp = 46\naction = \"count\"\n"));
  EXPECT_LT(saved.find("[[rule]]\nname"), saved.find("[[port]]\nname"));
}

TEST_F(Rules, InTheWordsOfTheSwitch) {
  RuleSpec spec;
  spec.name = "a";
  spec.src_ip = *parse_prefix("10.128.0.0/9");
  spec.protocol = IpProtocol{6};
  spec.dscp = 46;
  spec.dst_port = switching::L4Ports{80, 80};
  spec.vlan = 0x123;
  spec.action = RuleActionWord::drop;
  const switching::Rule rule = rule_of(spec);
  EXPECT_EQ(rule.verdict, switching::RuleVerdict::drop);
  EXPECT_EQ(rule.match.value.source_ip, (std::array<std::uint8_t, 16>{10, 128}));
  EXPECT_EQ(rule.match.mask.source_ip, (std::array<std::uint8_t, 16>{0xff, 0x80}));
  EXPECT_EQ(rule.match.value.ip_version, 4);
  EXPECT_EQ(rule.match.mask.ip_version, 0xff);
  EXPECT_EQ(rule.match.value.tos, 46 << 2);
  EXPECT_EQ(rule.match.mask.tos, 0xfc);
  EXPECT_EQ(rule.match.value.vlan, (std::array<std::uint8_t, 2>{0x01, 0x23}));
  EXPECT_EQ(rule.match.destination_port, (switching::L4Ports{80, 80}));
}

// Of a frame without an IP header both fields are 0.
TEST_F(Rules, OfAClassOfServiceAreAboutIpAlone) {
  RuleSpec spec;
  spec.dscp = 0;
  const switching::RuleMatch match = rule_of(spec).match;
  const auto is_of = [&match](unsigned version) { return (version & match.mask.ip_version) == match.value.ip_version; };
  EXPECT_TRUE(is_of(4) && is_of(6));
  EXPECT_FALSE(is_of(0));
}

TEST_F(Rules, AnUplinkIsSharedByWeights) {
  EXPECT_FALSE(call("uplink.set", {{"name", "up"}, {"fair_share", true}}));
  ASSERT_TRUE(call("uplink.set", {{"name", "up"}, {"fair_share", true}, {"limit_out", "100M"}}));
  EXPECT_FALSE(call("uplink.set", {{"name", "up"}, {"limit_out", nullptr}}));
  ASSERT_TRUE(call("port.set", {{"name", "vm0"}, {"weight", 3}}));
  EXPECT_FALSE(call("port.set", {{"name", "vm0"}, {"weight", 0}}));
  const auto second =
      call("uplink.add",
           {{"name", "up2"}, {"backend", "tap"}, {"device", "tap1"}, {"fair_share", true}, {"limit_out", "1G"}});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().field, "fair_share");
  const std::string saved = to_toml(controller_->daemon(), controller_->inventory());
  EXPECT_THAT(saved, HasSubstr("limit_out = \"100M\"\nfair_share = true\n"));
  EXPECT_THAT(saved, HasSubstr("weight = 3\n"));
}

TEST_F(Rules, TagsOfAPortThatAreNotThoseOfTheSwitch) {
  ASSERT_TRUE(call("port.set", {{"name", "vm0"}, {"qinq", "10-19:100,200"}}));
  EXPECT_FALSE(call("port.set", {{"name", "vm0"}, {"trunk", "10"}}));
  ASSERT_TRUE(call("port.set", {{"name", "vm0"}, {"qinq", nullptr}, {"trunk", "10"}, {"vlan_map", "5:500"}}));
  const auto twice = call("port.set", {{"name", "vm0"}, {"vlan_map", "5:500,5:501"}});
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().field, "vlan");
  EXPECT_EQ(show("vm0")["vlan_map"], "5:500");
  EXPECT_FALSE(call("port.set", {{"name", "vm0"}, {"trunk", nullptr}, {"vlan", 7}}));
  ASSERT_TRUE(call("uplink.set",
                   {{"name", "up"}, {"service_tags", true}, {"trunk", "100-200"}, {"group_filter_mask", 0x4000}}));
  const std::string saved = to_toml(controller_->daemon(), controller_->inventory());
  EXPECT_THAT(saved, HasSubstr("vlan_map = \"5:500\"\n"));
  EXPECT_THAT(saved, HasSubstr("service_tags = true\n"));
  EXPECT_THAT(saved, HasSubstr("group_filter_mask = 16384\n"));
}

}  // namespace
}  // namespace vmux::control

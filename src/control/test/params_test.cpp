// SPDX-License-Identifier: BSD-3-Clause
#include "control/model/spec/kinds.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmux::control {
namespace {

using testing::HasSubstr;

struct Case {
  const char* params;
  const char* field;
  const char* text;
};

class PortParams : public testing::TestWithParam<Case> {};
TEST_P(PortParams, AreRefusedByName) {
  const auto spec = spec_of<PortSpec>(Json::parse(GetParam().params));
  ASSERT_FALSE(spec);
  EXPECT_EQ(spec.error().field, GetParam().field);
  EXPECT_THAT(spec.error().text, HasSubstr(GetParam().text));
}
INSTANTIATE_TEST_SUITE_P(
    Bad, PortParams,
    testing::Values(
        Case{R"([])", "", "expected an object"}, Case{R"({})", "name", "is missing"},
        Case{R"({"name": 7})", "name", "expected text, got 7"},
        Case{R"({"name": "a b"})", "name", "expected 1 to 32 letters"}, Case{R"({"name": "a"})", "model", "is missing"},
        Case{R"({"name": "a", "model": "e1000"})", "socket", "is missing"},
        Case{R"({"name": "a", "model": "e1000", "socket": ""})", "socket", "expected text"},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s\u0000x"})", "socket", "expected text"},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "socket_owner": "nobody-of-this-name"})",
             "socket_owner", "expected a user of this machine, by name or number, got \"nobody-of-this-name\""},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "socket_owner": "root\u0000x"})", "socket_owner",
             "expected text"},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "socket_owner": ""})", "socket_owner", "got \"\""},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "socket_group": -1})", "socket_group",
             "expected a group of this machine, by name or number, got -1"},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "socket_group": 1.5})", "socket_group", "got 1.5"},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "socket_mode": 660})", "socket_mode",
             "(a mode is the one number that is octal), got 660"},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "socket_mode": "0888"})", "socket_mode",
             "expected octal digits up to 0777 as text"},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "mac": "1:2"})", "mac", "unicast MAC address"},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "vlan": 4095})", "vlan",
             "a number from 1 to 4094, got 4095"},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "vlan": "10"})", "vlan", "got \"10\""},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "vlan": 1.5})", "vlan", "a number"},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "vlan": -1})", "vlan", "a number"},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "vlan": 1, "trunk": "2"})", "vlan", "excludes trunk"},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "native": 1})", "native", "goes with trunk only"},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "trunk": "0"})", "trunk", "VLANs from 1 to 4094"},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "trunk": [1]})", "trunk", "expected text"},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "doorbell": "ring"})", "doorbell", "poll or trap"},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "queues": 0})", "queues", "a number from 1"},
        Case{R"({"name": "a", "model": "e1000", "socket": "/s", "speed": 1})", "speed",
             "is not a parameter here; there are: name, model"}));

TEST(PortParams, RoundTrip) {
  const Json params =
      Json::parse(R"({"name": "vm0", "model": "e1000", "socket": "/s", "socket_owner": "root", "socket_group": "12",
    "socket_mode": "0660", "switch": "br0",
    "mac": "02:00:00:00:00:01", "trunk": "10-20", "native": 5, "doorbell": "trap",
    "variant": "old", "poller": 0})");
  const auto spec = spec_of<PortSpec>(params);
  ASSERT_TRUE(spec);
  EXPECT_EQ(to_json(*spec), params);
}

TEST(PortParams, TakeAnOwnerByNumber) {
  const auto spec =
      spec_of<PortSpec>(Json::parse(R"({"name": "a", "model": "m", "socket": "/s", "socket_owner": 107})"));
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->access.owner->id, 107u);
}

TEST(PortParams, NullCountsAsLeftOut) {
  const auto spec =
      spec_of<PortSpec>(Json::parse(R"({"name": "a", "model": "m", "socket": "/s", "mac": null, "vlan": null})"));
  ASSERT_TRUE(spec);
  EXPECT_FALSE(spec->mac);
  EXPECT_EQ(spec->switch_name, "default");
}

TEST(UplinkParams, RoundTrip) {
  const Json params = Json::parse(
      R"({"name": "up", "switch": "br0", "backend": "tap", "device": "tap0", "queues": 2, "vlan": 7, "poller": 1})");
  const auto spec = spec_of<UplinkSpec>(params);
  ASSERT_TRUE(spec);
  EXPECT_EQ(to_json(*spec), params);
}

TEST(SwitchParams, PassSpanningTreeAloneUnlessToldOtherwise) {
  const auto plain = spec_of<SwitchSpec>(Json::parse(R"({"name": "br0"})"));
  ASSERT_TRUE(plain);
  EXPECT_TRUE(plain->forward_bpdu);
  EXPECT_EQ(plain->group_forward_mask, 0u);
  const Json told =
      Json::parse(R"({"name": "br0", "mac_age_s": 10, "forward_bpdu": false, "group_forward_mask": 16396})");
  const auto spec = spec_of<SwitchSpec>(told);
  ASSERT_TRUE(spec);
  EXPECT_EQ(to_json(*spec), told);
}

class GroupMask : public testing::TestWithParam<const char*> {};
TEST_P(GroupMask, IsRefused) {
  const auto spec = spec_of<SwitchSpec>(Json{{"name", "br0"}, {"group_forward_mask", Json::parse(GetParam())}});
  ASSERT_FALSE(spec);
  EXPECT_EQ(spec.error().field, "group_forward_mask");
}
INSTANTIATE_TEST_SUITE_P(WithSpanningTreeWithPauseOrBeyondTheBlock, GroupMask,
                         testing::Values("1", "2", "65536", "-4", "\"0x4000\"", "true"));

TEST(SwitchParams, RefuseAnAgeThatIsNoNumber) {
  const auto spec = spec_of<SwitchSpec>(Json::parse(R"({"name": "br0", "mac_age_s": "long"})"));
  ASSERT_FALSE(spec);
  EXPECT_EQ(spec.error().field, "mac_age_s");
}

TEST(Cpus, AreTakenAsTextOrList) {
  const Json object = Json::parse(R"({"a": "0-1", "b": [3, 2], "c": [1, 1], "d": 5})");
  Params params{object};
  EXPECT_EQ(to_text(params.cpus("a").value()), "0,1");
  EXPECT_EQ(to_text(params.cpus("b").value()), "3,2");
  EXPECT_FALSE(params.cpus("c"));
  EXPECT_FALSE(params.cpus("d"));
  EXPECT_EQ(params.finish().error().field, "c");
}

}  // namespace
}  // namespace vmux::control

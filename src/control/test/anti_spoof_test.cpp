// SPDX-License-Identifier: BSD-3-Clause
// Who a port may be, as it is written, given and changed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "control/config/saved.hpp"
#include "control/live/attach.hpp"
#include "control/test/live_control.hpp"

namespace vmux::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(AddressesText, AreReadAndWritten) {
  for (const char* text : {"10.0.0.5", "fd00::5", "10.0.0.5,fd00::5", "fe80::1:2,0.0.0.1,223.255.255.255"})
    EXPECT_EQ(to_text(parse_addresses(text).value()), text);
  EXPECT_EQ(to_text(parse_addresses("FD00:0:0::0005").value()), "fd00::5");
}

class NoAddresses : public testing::TestWithParam<std::string> {};
TEST_P(NoAddresses, AreRefused) { EXPECT_FALSE(parse_addresses(GetParam())) << GetParam(); }
std::string many() {
  std::string list = "10.0.0.0";
  for (int i = 1; i < 65; ++i)
    list += ",10.0.0." + std::to_string(i);
  return list;
}
INSTANTIATE_TEST_SUITE_P(Texts, NoAddresses,
                         testing::Values("", ",", "10.0.0.5,", "10.0.0", "10.0.0.256", "10.0.0.5/24", "0.0.0.0", "::",
                                         "224.0.0.1", "255.255.255.255", "ff02::1", "fe80::1%eth0", "10.0.0.5,10.0.0.5",
                                         "fd00::5,FD00::5", "host", "10.0.0.5 ", std::string("10.0.0.5\0", 9), many()));

class AntiSpoof : public test::LiveControl {
 protected:
  void SetUp() override {
    LiveControl::SetUp();
    ASSERT_TRUE(call("port.add", port("vm0", {{"mac", "02:00:00:00:00:05"}})));
  }
  Outcome<Json> set(Json params) {
    params["name"] = "vm0";
    return call("port.set", params);
  }
  std::optional<switching::SourceRules> rules() { return sources_of(*controller_->inventory().find<PortSpec>("vm0")); }
};

TEST_F(AntiSpoof, FollowsTheAddressesOfItsPort) {
  EXPECT_FALSE(rules());
  ASSERT_TRUE(set({{"anti_spoof", true}}));
  EXPECT_THAT(rules()->macs, ElementsAre(MacAddress{2, 0, 0, 0, 0, 5}));
  EXPECT_TRUE(rules()->addresses.empty());
  const auto more = set({{"static_macs", "02:00:00:00:00:06"}, {"addresses", "10.0.0.5,fd00::5"}});
  ASSERT_TRUE(more) << more.error().text;
  EXPECT_THAT(rules()->macs, ElementsAre(MacAddress{2, 0, 0, 0, 0, 5}, MacAddress{2, 0, 0, 0, 0, 6}));
  EXPECT_EQ(rules()->addresses.size(), 2u);
  EXPECT_EQ(show("vm0")["addresses"], "10.0.0.5,fd00::5");
  EXPECT_EQ(show("vm0")["anti_spoof"], true);
  EXPECT_THAT(to_toml(controller_->daemon(), controller_->inventory()),
              HasSubstr("anti_spoof = true\naddresses = \"10.0.0.5,fd00::5\"\n"));
  EXPECT_EQ(set({{"addresses", "10.0.0.5,FD00::5"}}).value()["changed"], 0);
  ASSERT_TRUE(set({{"addresses", nullptr}, {"anti_spoof", nullptr}}));
  EXPECT_FALSE(rules());
}

TEST_F(AntiSpoof, AddressesWithoutItAreRefused) {
  const auto alone = set({{"addresses", "10.0.0.5"}});
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.error().field, "addresses");
  EXPECT_THAT(alone.error().text, HasSubstr("goes with anti_spoof"));
  ASSERT_TRUE(set({{"addresses", "10.0.0.5"}, {"anti_spoof", true}}));
  EXPECT_FALSE(set({{"anti_spoof", false}}));
  EXPECT_EQ(show("vm0")["anti_spoof"], true);
}

}  // namespace
}  // namespace vmux::control

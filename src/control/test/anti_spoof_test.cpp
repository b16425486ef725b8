// SPDX-License-Identifier: BSD-3-Clause
// Who a port may be, as it is written, given and changed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "control/config/saved.hpp"
#include "control/live/attach.hpp"
#include "control/live/controller.hpp"
#include "control/model/hardware.hpp"
#include "control/rpc/methods.hpp"
#include "control/test/fake_catalogue.hpp"

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

class AntiSpoof : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() / ("vmux-anti-spoof-" + std::to_string(::getpid()));
    std::filesystem::create_directory(directory_);
    DaemonSpec daemon;
    daemon.pollers.count = 1;
    controller_ = std::move(*Controller::create(fake::kCatalogue, hardware_, events_, daemon));
    add_methods(methods_, *controller_);
    ASSERT_TRUE(call("port.add", {{"name", "vm0"},
                                  {"model", "silent"},
                                  {"socket", (directory_ / "vm0").string()},
                                  {"mac", "02:00:00:00:00:05"}}));
  }
  void TearDown() override {
    controller_.reset();
    std::filesystem::remove_all(directory_);
  }
  Outcome<Json> call(const std::string& method, const Json& params) { return methods_.call(method, params); }
  Outcome<Json> set(Json params) {
    params["name"] = "vm0";
    return call("port.set", params);
  }
  Json show() { return call("port.show", {{"name", "vm0"}}).value(); }
  std::optional<switching::SourceRules> rules() { return sources_of(*controller_->inventory().find<PortSpec>("vm0")); }

  std::filesystem::path directory_;
  Hardware hardware_;
  EventRing events_;
  std::unique_ptr<Controller> controller_;
  Methods methods_;
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
  EXPECT_EQ(show()["addresses"], "10.0.0.5,fd00::5");
  EXPECT_EQ(show()["anti_spoof"], true);
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
  EXPECT_EQ(show()["anti_spoof"], true);
}

}  // namespace
}  // namespace vmux::control

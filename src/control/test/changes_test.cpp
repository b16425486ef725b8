// SPDX-License-Identifier: BSD-3-Clause
// Settings that change while the object is there: with models and backends of no real kind, on real pollers and
// sockets.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "control/live/controller.hpp"
#include "control/model/hardware.hpp"
#include "control/rpc/methods.hpp"
#include "control/test/fake_catalogue.hpp"
#include "vmux/vfio_user/client.hpp"

namespace vmux::control {
namespace {

class Changes : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() / ("vmux-changes-" + std::to_string(::getpid()));
    std::filesystem::create_directory(directory_);
    DaemonSpec daemon;
    daemon.pollers.count = 2;
    controller_ = std::move(*Controller::create(fake::kCatalogue, hardware_, events_, daemon));
    add_methods(methods_, *controller_);
    ASSERT_TRUE(call("port.add", {{"name", "vm0"}, {"model", "silent"}, {"socket", directory_ / "vm0"}}));
  }
  void TearDown() override {
    controller_.reset();
    std::filesystem::remove_all(directory_);
  }
  Outcome<Json> call(const std::string& method, Json params) { return methods_.call(method, params); }
  Json show() { return call("port.show", {{"name", "vm0"}}).value(); }
  [[nodiscard]] auto attach() const { return std::move(*vfio_user::Client::connect(directory_ / "vm0")); }
  /// All but the state of the moment.
  Json everything() {
    return {call("port.list", {}).value(), call("switch.list", {}).value(), call("uplink.list", {}).value()};
  }

  std::filesystem::path directory_;
  Hardware hardware_;
  EventRing events_;
  std::unique_ptr<Controller> controller_;
  Methods methods_;
};

TEST_F(Changes, OfAPortAreMadeUnderAVm) {
  const auto vmm = attach();
  const auto before = show()["generation"].get<std::uint64_t>();
  const auto set =
      call("port.set", {{"name", "vm0"}, {"vlan", 7}, {"link", "down"}, {"mtu", 1400}, {"mac", "02:00:00:00:00:07"}});
  ASSERT_TRUE(set) << set.error().text;
  EXPECT_EQ((*set)["changed"], 4);
  const Json shown = show();
  EXPECT_EQ(shown["vlan"], 7);
  EXPECT_EQ(shown["link"], "down");
  EXPECT_EQ(shown["mtu"], 1400);
  EXPECT_EQ(shown["mac"], "02:00:00:00:00:07");
  EXPECT_EQ(shown["connected"], true);
  EXPECT_GT(shown["generation"].get<std::uint64_t>(), before);
  EXPECT_EQ(fake::SilentNic::link, Link::down);
  EXPECT_EQ(fake::SilentNic::mac, (MacAddress{{2, 0, 0, 0, 0, 7}}));
  const auto told = events_.read(0, 100).events.back();
  EXPECT_STREQ(text_of(told.type).name, "changed");
  EXPECT_EQ(told.number, 4u);
}

TEST_F(Changes, OfStationsBehindAPortAreInTheTable) {
  const auto table = [this] { return call("switch.show", {{"name", "default"}}).value()["mac_table"]; };
  ASSERT_TRUE(
      call("port.set", {{"name", "vm0"}, {"vlan", 5}, {"static_macs", "02:00:00:00:00:01,02:00:00:00:00:02@9"}}));
  ASSERT_EQ(table().size(), 2u);
  EXPECT_EQ(table()[0]["static"], true);
  ASSERT_TRUE(call("port.add", {{"name", "vm1"}, {"model", "silent"}, {"socket", directory_ / "vm1"}}));
  EXPECT_TRUE(call("port.set", {{"name", "vm1"}, {"static_macs", "02:00:00:00:00:01"}}));  // in no VLAN
  const auto taken = call("port.set", {{"name", "vm1"}, {"static_macs", "02:00:00:00:00:02@9"}});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().kind, ProblemKind::already_exists);
  ASSERT_TRUE(call("port.set", {{"name", "vm0"}, {"static_macs", nullptr}}));
  EXPECT_EQ(table().size(), 1u);
}

TEST_F(Changes, OfNothingAreNone) {
  const Json before = show();
  EXPECT_EQ(call("port.set", {{"name", "vm0"}, {"link", "up"}, {"vlan", nullptr}}).value()["changed"], 0);
  EXPECT_EQ(show(), before);
}

TEST_F(Changes, PutBackWhatIsNull) {
  ASSERT_TRUE(call("port.set", {{"name", "vm0"}, {"vlan", 7}, {"mtu", 1400}, {"link", "down"}}));
  const auto set = call("port.set", {{"name", "vm0"}, {"vlan", nullptr}, {"mtu", nullptr}, {"link", nullptr}});
  ASSERT_TRUE(set);
  EXPECT_FALSE(set->contains("vlan") || set->contains("mtu"));
  EXPECT_EQ((*set)["link"], "up");
  EXPECT_EQ(fake::SilentNic::link, Link::up);
}

TEST_F(Changes, MoveAPortOfAVmToAnotherSwitch) {
  ASSERT_TRUE(call("switch.add", {{"name", "br0"}}));
  const auto vmm = attach();
  fake::SilentNic::links = 0;
  ASSERT_TRUE(call("port.set", {{"name", "vm0"}, {"switch", "br0"}, {"vlan", 5}}));
  EXPECT_EQ(show()["connected"], true);
  EXPECT_EQ(fake::SilentNic::links, 2);  // down and up: it is another network
  EXPECT_EQ(call("switch.show", {{"name", "br0"}}).value()["ports"][0]["vlan"], 5);
  EXPECT_TRUE(call("switch.show", {{"name", "default"}}).value()["ports"].empty());
  EXPECT_TRUE(call("switch.remove", {{"name", "br0"}}).error().kind == ProblemKind::busy);
}

TEST_F(Changes, ThatTakeAnotherCardAreRefusedUnderAVm) {
  const auto vmm = attach();
  const Json before = everything();
  const auto set = call("port.set", {{"name", "vm0"}, {"vlan", 9}, {"doorbell", "poll"}});
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().kind, ProblemKind::busy);
  EXPECT_EQ(set.error().field, "doorbell");
  EXPECT_NE(set.error().text.find("`port remove` and `port add`"), std::string::npos);
  EXPECT_EQ(everything(), before);
}

TEST_F(Changes, ThatTakeAnotherCardAreMadeWhereNoVmIs) {
  const std::string other = directory_ / "other";
  ASSERT_TRUE(call("port.set", {{"name", "vm0"}, {"socket", other}, {"doorbell", "poll"}, {"poller", 1}}));
  EXPECT_TRUE(std::filesystem::is_socket(other));
  EXPECT_FALSE(std::filesystem::exists(directory_ / "vm0"));
  EXPECT_EQ(show()["pollers"], Json{1});
}

TEST_F(Changes, ThatTheMachineRefusesChangeNothing) {
  const Json before = everything();
  const auto set = call("port.set", {{"name", "vm0"}, {"socket", "/nonexistent/vm0"}, {"vlan", 3}});
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().kind, ProblemKind::host) << set.error().text;
  EXPECT_EQ(everything(), before);
  EXPECT_NE(attach(), nullptr);
}

TEST_F(Changes, OfAModelWithoutAnAddressToGiveAreRefused) {
  ASSERT_TRUE(call("port.add", {{"name", "fixed"}, {"model", "silent"}, {"socket", directory_ / "fixed"}}));
  const Json before = everything();
  const auto set = call("port.set", {{"name", "fixed"}, {"mac", "02:00:00:00:00:09"}, {"vlan", 3}});
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().field, "mac");
  EXPECT_EQ(everything(), before);
}

struct Bad {
  const char* method;
  Json params;
  ProblemKind kind;
  const char* field;
};
class BadChange : public Changes, public testing::WithParamInterface<Bad> {};
TEST_P(BadChange, IsRefusedByTheNameOfItsParameterAndChangesNothing) {
  ASSERT_TRUE(call("port.add", {{"name", "vm1"}, {"model", "silent"}, {"socket", directory_ / "vm1"}}));
  ASSERT_TRUE(call("uplink.add", {{"name", "up"}, {"backend", "tap"}, {"device", "tap0"}}));
  const Json before = everything();
  const auto set = call(GetParam().method, GetParam().params);
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().kind, GetParam().kind) << set.error().text;
  EXPECT_EQ(set.error().field, GetParam().field);
  EXPECT_EQ(everything(), before);
}
constexpr auto kInvalid = ProblemKind::invalid;
INSTANTIATE_TEST_SUITE_P(
    Calls, BadChange,
    testing::Values(
        Bad{"port.set", {{"vlan", 7}}, kInvalid, "name"}, Bad{"port.set", {{"name", 7}}, kInvalid, "name"},
        Bad{"port.set", Json::array({"vm0"}), kInvalid, ""},
        Bad{"port.set", {{"name", "vm9"}, {"vlan", 7}}, ProblemKind::not_found, "name"},
        Bad{"port.set", {{"name", "up"}, {"vlan", 7}}, ProblemKind::not_found, "name"},
        Bad{"port.set", {{"name", "../vm0"}}, kInvalid, "name"},
        Bad{"port.set", {{"name", "vm0"}, {"vlan", "7"}}, kInvalid, "vlan"},
        Bad{"port.set", {{"name", "vm0"}, {"vlan", 4095}}, kInvalid, "vlan"},
        Bad{"port.set", {{"name", "vm0"}, {"vlan", 7}, {"trunk", "all"}}, kInvalid, "vlan"},
        Bad{"port.set", {{"name", "vm0"}, {"native", 7}}, kInvalid, "native"},
        Bad{"port.set", {{"name", "vm0"}, {"link", true}}, kInvalid, "link"},
        Bad{"port.set", {{"name", "vm0"}, {"link", "sideways"}}, kInvalid, "link"},
        Bad{"port.set", {{"name", "vm0"}, {"mtu", 67}}, kInvalid, "mtu"},
        Bad{"port.set", {{"name", "vm0"}, {"mtu", -1}}, kInvalid, "mtu"},
        Bad{"port.set", {{"name", "vm0"}, {"static_macs", "01:00:00:00:00:01"}}, kInvalid, "static_macs"},
        Bad{"port.set", {{"name", "vm0"}, {"static_macs", "02:00:00:00:00:01@0"}}, kInvalid, "static_macs"},
        Bad{"port.set", {{"name", "vm0"}, {"mac", "01:00:00:00:00:07"}}, kInvalid, "mac"},
        Bad{"port.set", {{"name", "vm0"}, {"model", nullptr}}, kInvalid, "model"},
        Bad{"port.set", {{"name", "vm0"}, {"switch", "br9"}}, ProblemKind::not_found, "switch"},
        Bad{"port.set", {{"name", "vm0"}, {"colour", "blue"}}, kInvalid, "colour"},
        Bad{"port.set", {{"name", "vm0"}, {"vlan", 7}, {"if_generation", 1}}, ProblemKind::conflict, "if_generation"},
        Bad{"port.remove", {{"name", "vm0"}, {"if_generation", 1}}, ProblemKind::conflict, "if_generation"},
        Bad{"uplink.set", {{"name", "up"}, {"device", "absent0"}}, ProblemKind::not_found, "device"},
        Bad{"uplink.set", {{"name", "up"}, {"backend", nullptr}}, kInvalid, "backend"},
        Bad{"switch.set", {{"name", "default"}, {"mac_age_s", 0}}, kInvalid, "mac_age_s"},
        Bad{"switch.set", {{"name", "default"}, {"group_forward_mask", 2}}, kInvalid, "group_forward_mask"},
        Bad{"switch.flush", {{"name", "br9"}}, ProblemKind::not_found, "name"},
        Bad{"switch.flush", {{"name", "default"}, {"port", "vm9"}}, ProblemKind::not_found, "port"},
        Bad{"switch.flush", {{"name", "default"}, {"port", 7}}, kInvalid, "port"}));

TEST_F(Changes, WithTheGenerationThatItHasAreMade) {
  const Json generation = show()["generation"];
  const auto set = call("port.set", {{"name", "vm0"}, {"vlan", 7}, {"if_generation", generation}});
  ASSERT_TRUE(set);
  EXPECT_FALSE(call("port.set", {{"name", "vm0"}, {"vlan", 8}, {"if_generation", generation}}));
  EXPECT_TRUE(call("port.remove", {{"name", "vm0"}, {"if_generation", (*set)["generation"]}}));
}

TEST_F(Changes, OfASwitchAreMadeUnderItsPorts) {
  ASSERT_TRUE(call("switch.set", {{"name", "default"}, {"mac_age_s", 7}, {"group_forward_mask", 0x4000}}));
  const Json shown = call("switch.show", {{"name", "default"}}).value();
  EXPECT_EQ(shown["mac_age_s"], 7);
  EXPECT_EQ(shown["group_forward_mask"], 0x4000);
  EXPECT_EQ(shown["ports"].size(), 1u);
  EXPECT_EQ(call("switch.flush", {{"name", "default"}, {"port", "vm0"}}).value()["flushed"], 0);
}

TEST_F(Changes, OfAnUplink) {
  ASSERT_TRUE(call("switch.add", {{"name", "br0"}}));
  ASSERT_TRUE(call("uplink.add", {{"name", "up"}, {"backend", "tap"}, {"device", "tap0"}, {"vlan", 3}}));
  ASSERT_TRUE(call("uplink.set", {{"name", "up"}, {"vlan", nullptr}, {"trunk", "3,4"}}));
  ASSERT_TRUE(call("uplink.set", {{"name", "up"}, {"switch", "br0"}}));
  ASSERT_TRUE(call("uplink.set", {{"name", "up"}, {"device", "tap1"}, {"queues", 2}}));
  const Json up = call("uplink.list", {}).value()[0];
  EXPECT_EQ(up["trunk"], "3-4");
  EXPECT_EQ(up["switch"], "br0");
  EXPECT_EQ(up["device"], "tap1");
  EXPECT_EQ(up["pollers"].size(), 2u);
}

}  // namespace
}  // namespace vmux::control

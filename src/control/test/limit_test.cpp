// SPDX-License-Identifier: BSD-3-Clause
// Limits as they are written, given, changed under a VM, saved and read again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "control/config/saved.hpp"
#include "control/test/live_control.hpp"
#include "vmux/vfio_user/client.hpp"

namespace vmux::control {
namespace {

using switching::Limit;
using testing::HasSubstr;

struct Written {
  const char* text;
  Limit limit;
  const char* again;  // as it is told
};
class LimitText : public testing::TestWithParam<Written> {};
TEST_P(LimitText, IsReadAndWritten) {
  const Written& row = GetParam();
  const auto limit = parse_limit(row.text);
  ASSERT_TRUE(limit) << row.text;
  EXPECT_EQ(*limit, row.limit) << row.text;
  EXPECT_EQ(to_text(*limit), row.again);
  EXPECT_EQ(parse_limit(row.again).value(), row.limit);
}
INSTANTIATE_TEST_SUITE_P(
    Texts, LimitText,
    testing::Values(Written{"100M", {100'000'000, 0, 0}, "100M"}, Written{"8000", {8000, 0, 0}, "8k"},
                    Written{"2500M", {2'500'000'000, 0, 0}, "2500M"},
                    Written{"1000G", {1'000'000'000'000, 0, 0}, "1000G"}, Written{"10K", {10'000, 0, 0}, "10k"},
                    Written{"12345", {12'345, 0, 0}, "12345"}, Written{"1pps", {0, 1, 0}, "1pps"},
                    Written{"20kpps", {0, 20'000, 0}, "20kpps"}, Written{"1000Mpps", {0, 1'000'000'000, 0}, "1Gpps"},
                    Written{"burst=512K,200kpps,1G", {1'000'000'000, 200'000, 512 * 1024}, "1G,200kpps,burst=512K"},
                    Written{"1M,burst=2048", {1'000'000, 0, 2048}, "1M,burst=2K"},
                    Written{"1M,burst=1G", {1'000'000, 0, 1u << 30}, "1M,burst=1G"}));

class NoLimit : public testing::TestWithParam<std::string> {};
TEST_P(NoLimit, IsRefused) { EXPECT_FALSE(parse_limit(GetParam())) << GetParam(); }
INSTANTIATE_TEST_SUITE_P(Texts, NoLimit,
                         testing::Values("", ",", "0", "0pps", "7999", "1001G", "1001Mpps", "pps", "k", "M", "-1M",
                                         "1.5G", "1 M", "1M,", ",1M", "1M,2M", "1kpps,2kpps", "1M,burst=2047",
                                         "1M,burst=2G", "1M,burst=4K,burst=4K", "burst=4K", "1kpps,burst=4K", "100Mbit",
                                         "1T", "1kk", "99999999999999999999", "20000000000000G", "18446744073709551616",
                                         std::string("1M\0", 3), "1M burst=4K"));

class Limits : public test::LiveControl {
 protected:
  void SetUp() override {
    LiveControl::SetUp();
    ASSERT_TRUE(call("port.add", port("vm0", {{"limit_in", "1M"}})));
    ASSERT_TRUE(call("uplink.add", {{"name", "up"}, {"backend", "tap"}, {"device", "tap0"}, {"limit_out", "5kpps"}}));
  }
};

TEST_F(Limits, AreGivenChangedAndTakenAwayUnderAVm) {
  const auto vmm = std::move(*vfio_user::Client::connect(directory_ / "vm0"));
  EXPECT_EQ(show("vm0")["limit_in"], "1M");
  const auto set = call("port.set", {{"name", "vm0"}, {"limit_in", "100M,burst=64K"}, {"limit_out", "1G,200kpps"}});
  ASSERT_TRUE(set) << set.error().text;
  EXPECT_EQ((*set)["changed"], 2);
  EXPECT_EQ(show("vm0")["limit_in"], "100M,burst=64K");
  EXPECT_EQ(show("vm0")["limit_out"], "1G,200kpps");
  EXPECT_EQ(call("port.set", {{"name", "vm0"}, {"limit_in", "burst=65536,100000k"}}).value()["changed"], 0);
  ASSERT_TRUE(call("port.set", {{"name", "vm0"}, {"limit_in", nullptr}, {"limit_out", nullptr}}));
  EXPECT_FALSE(show("vm0").contains("limit_in") || show("vm0").contains("limit_out"));
  EXPECT_EQ(show("vm0")["connected"], true);
}

TEST_F(Limits, OfFloodsAndGroupsThatAreIsolatedAreToldSavedAndTakenAway) {
  const auto set = call("port.set", {{"name", "vm0"}, {"limit_flood", "1kpps"}, {"isolation", "tenants"}});
  ASSERT_TRUE(set) << set.error().text;
  EXPECT_EQ((*set)["changed"], 2);
  EXPECT_EQ(show("vm0")["limit_flood"], "1kpps");
  EXPECT_EQ(show("vm0")["isolation"], "tenants");
  ASSERT_TRUE(call("uplink.set", {{"name", "up"}, {"limit_flood", "8M"}}));
  const std::string saved = to_toml(controller_->daemon(), controller_->inventory());
  EXPECT_THAT(saved, HasSubstr("limit_flood = \"1kpps\"\nisolation = \"tenants\"\n"));
  EXPECT_THAT(saved, HasSubstr("limit_flood = \"8M\"\n"));
  EXPECT_FALSE(call("port.set", {{"name", "vm0"}, {"isolation", "no such name"}}));
  ASSERT_TRUE(call("port.set", {{"name", "vm0"}, {"limit_flood", nullptr}, {"isolation", nullptr}}));
  EXPECT_FALSE(show("vm0").contains("limit_flood") || show("vm0").contains("isolation"));
}

TEST_F(Limits, OfAnUplinkAndOnAnotherSwitchStay) {
  EXPECT_EQ(call("uplink.set", {{"name", "up"}, {"limit_in", "10G"}}).value()["changed"], 1);
  ASSERT_TRUE(call("switch.add", {{"name", "br0"}}));
  ASSERT_TRUE(call("uplink.set", {{"name", "up"}, {"switch", "br0"}}));
  ASSERT_TRUE(call("port.set", {{"name", "vm0"}, {"switch", "br0"}}));
  const std::string saved = to_toml(controller_->daemon(), controller_->inventory());
  EXPECT_THAT(saved, HasSubstr("limit_in = \"10G\"\nlimit_out = \"5kpps\"\n"));
  EXPECT_THAT(saved, HasSubstr("limit_in = \"1M\"\n"));
}

TEST_F(Limits, ThatAreNoneChangeNothing) {
  for (const char* wrong : {"fast", "1M,1M", "burst=4K"}) {
    const auto set = call("port.set", {{"name", "vm0"}, {"limit_in", wrong}});
    ASSERT_FALSE(set);
    EXPECT_THAT(set.error().text, HasSubstr("such as 100M or 1G,200kpps,burst=512K"));
  }
  EXPECT_EQ(show("vm0")["limit_in"], "1M");
}

TEST_F(Limits, AreNotForAPortWithoutASideOnASwitch) {
  const auto added = call("port.add", {{"name", "own"},
                                       {"model", "device"},
                                       {"device", "0000:01:00.0"},
                                       {"socket", (directory_ / "own").string()},
                                       {"limit_out", "1M"}});
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().field, "limit_out");
}

}  // namespace
}  // namespace vmux::control

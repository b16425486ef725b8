// SPDX-License-Identifier: BSD-3-Clause
#include "control/model/spec/values.hpp"

#include <gtest/gtest.h>

namespace vmux::control {
namespace {

class VlanText : public testing::TestWithParam<const char*> {};
TEST_P(VlanText, IsRefused) { EXPECT_FALSE(parse_vlan_list(GetParam())) << GetParam(); }
INSTANTIATE_TEST_SUITE_P(Bad, VlanText,
                         testing::Values("", "0", "4095", "10,", "30-20", "a", "1-2-3", "-5", "10, 20", "010",
                                         "1-0x1000"));

TEST(VlanList, IsSortedAndMerged) {
  const auto list = parse_vlan_list("30,10-12,13,11");
  ASSERT_TRUE(list);
  EXPECT_EQ(to_text(*list), "10-13,30");
  EXPECT_TRUE(contains(*list, 13));
  EXPECT_FALSE(contains(*list, 14));
}

TEST(VlanList, AllIsEveryVlan) { EXPECT_EQ(to_text(parse_vlan_list("all").value()), "1-4094"); }

class NameText : public testing::TestWithParam<const char*> {};
TEST_P(NameText, IsNoName) { EXPECT_FALSE(is_name(GetParam())) << GetParam(); }
INSTANTIATE_TEST_SUITE_P(Bad, NameText,
                         testing::Values("", "-x", ".x", "a b", "a/b", "ä", "a\n",
                                         "123456789012345678901234567890123"));

TEST(Name, TakesLettersDigitsAndMarks) { EXPECT_TRUE(is_name("0vm_1.a-B")); }

TEST(LogLevelText, RoundTrips) {
  EXPECT_STREQ(to_text(parse_log_level("warning").value()), "warning");
  EXPECT_FALSE(parse_log_level("loud"));
}

}  // namespace
}  // namespace vmux::control

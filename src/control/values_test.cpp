// SPDX-License-Identifier: BSD-3-Clause
#include "control/values.hpp"

#include <gtest/gtest.h>

namespace vmux::control {
namespace {

class MacText : public testing::TestWithParam<const char*> {};
TEST_P(MacText, IsRefused) { EXPECT_FALSE(parse_mac(GetParam())) << GetParam(); }
INSTANTIATE_TEST_SUITE_P(Bad, MacText,
                         testing::Values("", "02:00:00:00:00", "02:00:00:00:00:0g", "02:00:00:00:00:001",
                                         "02.00.00.00.00.01", "01:00:00:00:00:01", "ff:ff:ff:ff:ff:ff",
                                         "00:00:00:00:00:00", " 2:00:00:00:00:01"));

TEST(MacAddress, RoundTripsThroughText) {
  const auto mac = parse_mac("52-54-00-AB-cd-0e");
  ASSERT_TRUE(mac);
  EXPECT_EQ(to_text(*mac), "52:54:00:ab:cd:0e");
}

TEST(MacAddress, OffsetCarriesButKeepsTheVendorPart) {
  const auto base = parse_mac("52:54:00:ff:ff:fe");
  ASSERT_TRUE(base);
  EXPECT_EQ(to_text(offset_mac(*base, 1)), "52:54:00:ff:ff:ff");
  EXPECT_EQ(to_text(offset_mac(*base, 3)), "52:54:00:00:00:01");
}

class VlanText : public testing::TestWithParam<const char*> {};
TEST_P(VlanText, IsRefused) { EXPECT_FALSE(parse_vlan_list(GetParam())) << GetParam(); }
INSTANTIATE_TEST_SUITE_P(Bad, VlanText, testing::Values("", "0", "4095", "10,", "30-20", "a", "1-2-3", "-5", "10, 20"));

TEST(VlanList, IsSortedAndMerged) {
  const auto list = parse_vlan_list("30,10-12,13,11");
  ASSERT_TRUE(list);
  EXPECT_EQ(to_text(*list), "10-13,30");
  EXPECT_TRUE(contains(*list, 13));
  EXPECT_FALSE(contains(*list, 14));
}

TEST(VlanList, AllIsEveryVlan) { EXPECT_EQ(to_text(parse_vlan_list("all").value()), "1-4094"); }

class CpuText : public testing::TestWithParam<const char*> {};
TEST_P(CpuText, IsRefused) { EXPECT_FALSE(parse_cpu_list(GetParam())) << GetParam(); }
INSTANTIATE_TEST_SUITE_P(Bad, CpuText, testing::Values("", "1,", "2-1", "x", "1,0-2", "1024", "-1", "4294967297"));

TEST(CpuList, KeepsTheOrderWritten) { EXPECT_EQ(to_text(parse_cpu_list("4-6,2").value()), "4,5,6,2"); }

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

TEST(PciAddress, IsCompletedAndInLowerCase) {
  EXPECT_EQ(parse_pci_address("08:00.0"), "0000:08:00.0");
  EXPECT_EQ(parse_pci_address("ABCD:EF:1F.7"), "abcd:ef:1f.7");
}

TEST(PciAddress, IsRefusedInAnyOtherShape) {
  EXPECT_FALSE(parse_pci_address(""));
  EXPECT_FALSE(parse_pci_address("08:00"));
  EXPECT_FALSE(parse_pci_address("0000:08:20.0"));
  EXPECT_FALSE(parse_pci_address("0000:08:00.8"));
  EXPECT_FALSE(parse_pci_address("0000.08:00.0"));
  EXPECT_FALSE(parse_pci_address("0000:0g:00.0"));
}

}  // namespace
}  // namespace vmux::control

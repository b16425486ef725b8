// SPDX-License-Identifier: BSD-3-Clause
#include "host/values.hpp"

#include <gtest/gtest.h>

namespace vmux::host {
namespace {

TEST(PciAddress, TakesFullAndShortForm) {
  EXPECT_EQ(parse_pci_address("0000:01:10.2"), (PciAddress{0, 1, 0x10, 2}));
  EXPECT_EQ(parse_pci_address("af:1f.7"), (PciAddress{0, 0xaf, 0x1f, 7}));
  EXPECT_EQ(parse_pci_address("10000:01:00.0")->text(), "10000:01:00.0");
}

class NoAddress : public testing::TestWithParam<const char*> {};
TEST_P(NoAddress, IsRefused) { EXPECT_FALSE(parse_pci_address(GetParam())); }
INSTANTIATE_TEST_SUITE_P(Texts, NoAddress,
                         testing::Values("", "ens1", "01:00", "01:20.0", "01:00.8", "0000:01:00.0/x", "pci0000:00",
                                         "1:2:3:4.5", "-1:00.0"));

TEST(PciAddress, VirtualFunctionsCrossDevicesAndBuses) {
  EXPECT_EQ(offset({0, 1, 0, 0}, 128).text(), "0000:01:10.0");
  EXPECT_EQ(offset({0, 1, 0x1f, 7}, 1).text(), "0000:02:00.0");
}

TEST(Cpus, AreReadAndWrittenAsTheKernelDoes) {
  EXPECT_EQ(parse_cpus("0-2,8\n"), (CpuSet{0, 1, 2, 8}));
  EXPECT_EQ(parse_cpus(""), CpuSet{});
  EXPECT_EQ(to_text({0, 1, 2, 8, 10, 11}), "0-2,8,10-11");
}
class NoCpus : public testing::TestWithParam<const char*> {};
TEST_P(NoCpus, AreRefused) { EXPECT_FALSE(parse_cpus(GetParam())); }
INSTANTIATE_TEST_SUITE_P(Texts, NoCpus, testing::Values("x", "3-1", "1-", "-1", "1,,2", "0-4000000000"));

TEST(Mac, IsUnicastAndNotZero) {
  EXPECT_EQ(parse_mac("52:54:00:AB-cd:ef"), "52:54:00:ab:cd:ef");
  EXPECT_FALSE(parse_mac("01:00:5e:00:00:01"));
  EXPECT_FALSE(parse_mac("00:00:00:00:00:00"));
  EXPECT_FALSE(parse_mac("52:54:00:ab:cd"));
}

TEST(PageSize, TakesTheUsualUnits) {
  EXPECT_EQ(parse_size_kib("2M"), 2048u);
  EXPECT_EQ(parse_size_kib("1G"), 1048576u);
  EXPECT_EQ(parse_size_kib("2048kB"), 2048u);
  EXPECT_FALSE(parse_size_kib("2"));
  EXPECT_FALSE(parse_size_kib("M"));
  EXPECT_EQ(size_text(1048576), "1G");
}

TEST(Field, FindsAKeyBetweenTabs) { EXPECT_EQ(field("a\t: 1\nflags\t\t: x y\n", "flags"), "x y"); }

}  // namespace
}  // namespace vmux::host

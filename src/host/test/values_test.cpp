// SPDX-License-Identifier: BSD-3-Clause
#include "host/machine/values.hpp"

#include <gtest/gtest.h>

namespace vmux::host {
namespace {

TEST(PciAddress, VirtualFunctionsCrossDevicesAndBuses) {
  EXPECT_EQ(offset({0, 1, 0, 0}, 128).text(), "0000:01:10.0");
  EXPECT_EQ(offset({0, 1, 0x1f, 7}, 1).text(), "0000:02:00.0");
}

TEST(Cpus, AreReadAndWrittenAsTheKernelDoes) {
  EXPECT_EQ(parse_cpus("0-2,8"), (CpuSet{0, 1, 2, 8}));
  EXPECT_EQ(parse_cpus(""), CpuSet{});
  EXPECT_EQ(to_text({0, 1, 2, 8, 10, 11}), "0-2,8,10-11");
}
TEST(PageSize, IsWrittenInTheLargestUnit) {
  EXPECT_EQ(parse_size_kib("2M"), 2048u);
  EXPECT_EQ(size_text(2048), "2M");
  EXPECT_EQ(size_text(1048576), "1G");
  EXPECT_EQ(size_text(64), "64K");
}

TEST(Field, FindsAKeyBetweenTabs) { EXPECT_EQ(field("a\t: 1\nflags\t\t: x y\n", "flags"), "x y"); }

}  // namespace
}  // namespace vmux::host

// SPDX-License-Identifier: BSD-3-Clause
#include "preload/process/settings.hpp"

#include <gtest/gtest.h>

namespace vmux::preload {
namespace {

TEST(BusName, HasTheWholeDomain) {
  EXPECT_EQ(bus_name({0, 0x40, 0, 0}), "pci0000:40");
  EXPECT_EQ(bus_name({0x10000, 0xe1, 0, 0}), "pci10000:e1");
}
TEST(Devices, SplitsListAtCommasAndFirstEquals) {
  const auto devices = parse_devices("40:00.0=/a=b.sock,0000:41:00.0=/c");
  ASSERT_TRUE(devices);
  ASSERT_EQ(devices->size(), 2u);
  EXPECT_EQ((*devices)[0].socket, "/a=b.sock");
  EXPECT_EQ((*devices)[1].address.text(), "0000:41:00.0");
}
TEST(Devices, MayBeInADomainOf32Bits) {
  const auto devices = parse_devices("10000:e1:00.0=/a");
  ASSERT_TRUE(devices);
  EXPECT_EQ(devices->front().address.text(), "10000:e1:00.0");
}
TEST(Devices, RefusesMissingSocketDuplicateAndNothing) {
  EXPECT_FALSE(parse_devices("40:00.0"));
  EXPECT_FALSE(parse_devices("40:00.0="));
  EXPECT_FALSE(parse_devices("40:20.0=/a"));
  EXPECT_FALSE(parse_devices("40:00.0=/a,0000:40:00.0=/b"));
  EXPECT_FALSE(parse_devices(""));
}

}  // namespace
}  // namespace vmux::preload

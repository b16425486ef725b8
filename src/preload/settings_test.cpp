// SPDX-License-Identifier: BSD-3-Clause
#include "preload/settings.hpp"

#include <gtest/gtest.h>

namespace vmux::preload {
namespace {

TEST(PciAddress, TakesFullAndShortForm) {
  EXPECT_EQ(parse_pci_address("0001:40:1f.7")->text(), "0001:40:1f.7");
  EXPECT_EQ(parse_pci_address("40:00.0")->text(), "0000:40:00.0");
  EXPECT_EQ(parse_pci_address("0000:40:00.0")->bus_name(), "pci0000:40");
}
TEST(PciAddress, RefusesWhatIsNone) {
  for (const char* text : {"", "40", "40:00", "40:20.0", "40:00.8", "g0:00.0", "0000:40:00.0 ", "00000:40:00.0"}) {
    EXPECT_FALSE(parse_pci_address(text)) << text;
  }
}
TEST(Devices, SplitsListAtCommasAndFirstEquals) {
  const auto devices = parse_devices("40:00.0=/a=b.sock,0000:41:00.0=/c");
  ASSERT_TRUE(devices);
  ASSERT_EQ(devices->size(), 2u);
  EXPECT_EQ((*devices)[0].socket, "/a=b.sock");
  EXPECT_EQ((*devices)[1].address.text(), "0000:41:00.0");
}
TEST(Devices, RefusesMissingSocketDuplicateAndNothing) {
  EXPECT_FALSE(parse_devices("40:00.0"));
  EXPECT_FALSE(parse_devices("40:00.0="));
  EXPECT_FALSE(parse_devices("40:00.0=/a,0000:40:00.0=/b"));
  EXPECT_FALSE(parse_devices(""));
}

}  // namespace
}  // namespace vmux::preload

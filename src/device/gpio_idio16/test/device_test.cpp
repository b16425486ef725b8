// SPDX-License-Identifier: BSD-3-Clause
#include "device/gpio_idio16/device.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace vmux::device::gpio_idio16 {
namespace {

// What a driver does, with the addresses written out: a second reading of the manual.
struct Driver {
  std::unique_ptr<Device> device = Device::create().value();
  pci::Function& function = device->function();

  std::uint8_t read(std::uint64_t address) {
    std::byte value{};
    EXPECT_TRUE(function.read(pci::Region::bar2, RegionOffset{address}, {&value, 1}));
    return static_cast<std::uint8_t>(value);
  }
  void write(std::uint64_t address, std::uint8_t value) {
    const auto raw = static_cast<std::byte>(value);
    EXPECT_TRUE(function.write(pci::Region::bar2, RegionOffset{address}, {&raw, 1}));
  }
  std::vector<int> bits_of_reads(std::uint64_t address, int bit, int count) {
    std::vector<int> bits;
    for (int i = 0; i < count; ++i)
      bits.push_back(read(address) >> bit & 1);
    return bits;
  }
};

const std::vector<int> kPattern{0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1};

TEST(GpioIdio16, InputsToggleAfterEveryThirdRead) {
  Driver driver;
  EXPECT_EQ(driver.bits_of_reads(1, 0, 12), kPattern);
  EXPECT_EQ(driver.bits_of_reads(5, 7, 12), kPattern);
}

TEST(GpioIdio16, FloatingOutputsToggleAndDrivenOnesReadBack) {
  Driver driver;
  EXPECT_EQ(driver.bits_of_reads(0, 0, 12), kPattern);
  driver.write(0, 0x5a);
  EXPECT_EQ(driver.read(0), 0x5a);
  EXPECT_EQ(driver.read(0), 0x5a);
  driver.write(4, 0x81);
  EXPECT_EQ(driver.read(4), 0x81);
}

TEST(GpioIdio16, ChangedInputRaisesInterruptUntilItIsCleared) {
  Driver driver;
  driver.read(2);  // enable
  driver.bits_of_reads(1, 0, 3);
  EXPECT_EQ(driver.read(6), 0);
  driver.read(1);
  EXPECT_EQ(driver.read(6), 0x05);  // pending, inputs 0-7
  driver.write(1, 0);
  EXPECT_EQ(driver.read(6), 0);
}

TEST(GpioIdio16, DisabledInterruptStaysQuiet) {
  Driver driver;
  driver.read(2);
  driver.write(2, 0);
  driver.bits_of_reads(1, 0, 4);
  EXPECT_EQ(driver.read(6), 0);
}

TEST(GpioIdio16, StateMovesToAnotherDevice) {
  Driver source, target;
  source.write(0, 0x33);
  source.bits_of_reads(1, 0, 4);
  source.function.pause();
  ASSERT_TRUE(target.function.load(source.function.save()));
  target.function.resume();
  EXPECT_EQ(target.read(0), 0x33);
  EXPECT_EQ(target.bits_of_reads(1, 0, 3), (std::vector<int>{1, 1, 0}));
}

TEST(GpioIdio16, PendingInterruptMovesToAnotherDevice) {
  Driver source, target;
  source.read(2);  // enable
  source.bits_of_reads(1, 0, 4);
  source.function.pause();
  ASSERT_TRUE(target.function.load(source.function.save()));
  EXPECT_TRUE(target.function.interrupts().intx_level());
  EXPECT_EQ(target.read(6), 0x05);
}

TEST(GpioIdio16, StateIsTheSameBytesAfterItWasLoaded) {
  Driver source, target;
  source.write(4, 0x81);
  source.bits_of_reads(5, 0, 7);
  source.function.pause();
  const auto image = source.function.save();
  ASSERT_TRUE(target.function.load(image));
  EXPECT_EQ(target.function.save(), image);
}

}  // namespace
}  // namespace vmux::device::gpio_idio16

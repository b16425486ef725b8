// SPDX-License-Identifier: BSD-3-Clause
// The offsets here are read from the PCI specifications again, not taken from wire/.
#include "pci/config/config_space.hpp"

#include <gtest/gtest.h>

#include <array>

#include "pci/test/test_support.hpp"

namespace vmux::pci {
namespace {

using namespace test;

FunctionSpec described() {
  FunctionSpec spec;
  spec.vendor_id = 0x8086;
  spec.device_id = 0x100e;
  spec.subsystem_vendor_id = 0x1af4;
  spec.subsystem_id = 0x1100;
  spec.revision_id = 3;
  spec.class_code = 0x020000;
  spec.intx = true;
  spec.bars[0] = BarSpec{.size = 131072};
  spec.bars[1] = BarSpec{.kind = BarKind::io, .size = 64};
  spec.bars[2] = BarSpec{.kind = BarKind::memory64, .prefetchable = true, .size = 1ull << 33};
  spec.rom.assign(3000, 0xaa);
  spec.capabilities = {PowerManagement{},
                       Msi{.vectors = 4, .per_vector_mask = true},
                       Msix{.vectors = 8, .table_bar = Region::bar0, .pba_bar = Region::bar0, .pba_offset = 2048},
                       Express{},
                       VendorSpecific{{1, 2, 3, 4}},
                       DeviceSerialNumber{0x1122334455667788}};
  return spec;
}

/// The offset of a capability, found as a driver does; 0 when the chain does not have it.
std::uint8_t find_capability(Function& function, std::uint8_t id) {
  auto at = config<std::uint8_t>(function, 0x34);
  while (at != 0 && config<std::uint8_t>(function, at) != id)
    at = config<std::uint8_t>(function, at + 1u);
  return at;
}

class ConfigTest : public ::testing::Test {
 protected:
  RecordingDevice device_;
  std::unique_ptr<Function> function_ = make(described(), device_);
};

TEST_F(ConfigTest, IdentityLiesWhereDriversLook) {
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x00), 0x100e8086u);
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x08), 0x02000003u);
  EXPECT_EQ(config<std::uint8_t>(*function_, 0x0e), 0);
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x2c), 0x11001af4u);
  EXPECT_EQ(config<std::uint8_t>(*function_, 0x3d), 1);
  EXPECT_EQ(config<std::uint16_t>(*function_, 0x06), 0x0010);
}

TEST_F(ConfigTest, IdentityIsReadOnly) {
  set_config<std::uint64_t>(*function_, 0x00, ~0ull);
  set_config<std::uint32_t>(*function_, 0x2c, ~0u);
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x00), 0x100e8086u);
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x2c), 0x11001af4u);
}

TEST_F(ConfigTest, BarsTellTheirSizes) {
  for (std::uint64_t at = 0x10; at < 0x28; at += 4)
    set_config<std::uint32_t>(*function_, at, ~0u);
  set_config<std::uint32_t>(*function_, 0x30, 0xfffff800u);
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x10), 0xfffe0000u);
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x14), 0xffffffc1u);
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x18), 0x0000000cu);
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x1c), 0xfffffffeu);
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x20), 0u);
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x30), 0xfffff000u);
}

TEST_F(ConfigTest, BarsKeepTheirAddressesByTheByte) {
  set_config<std::uint8_t>(*function_, 0x13, 0xfe);
  set_config<std::uint8_t>(*function_, 0x12, 0xb7);
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x10), 0xfeb60000u);
}

TEST_F(ConfigTest, OddAccessesSeeTheSameBytes) {
  std::array<std::byte, 5> bytes{};
  ASSERT_TRUE(function_->read(Region::config, RegionOffset{1}, bytes));
  EXPECT_EQ(bytes[0], std::byte{0x80});
  EXPECT_EQ(bytes[1], std::byte{0x0e});
  EXPECT_EQ(bytes[2], std::byte{0x10});
}

TEST_F(ConfigTest, SpaceEndsWhereItEnds) {
  std::vector<std::byte> all(4096);
  EXPECT_EQ(function_->region(Region::config).size, 4096u);
  EXPECT_TRUE(function_->read(Region::config, RegionOffset{0}, all));
  EXPECT_EQ(function_->read(Region::config, RegionOffset{4095}, std::span{all}.first(2)).error().code,
            Errc::out_of_range);
  EXPECT_EQ(function_->read(Region::config, RegionOffset{~0ull}, std::span{all}.first(2)).error().code,
            Errc::out_of_range);
  RecordingDevice other;
  EXPECT_EQ(make({}, other)->region(Region::config).size, 256u);
}

TEST_F(ConfigTest, CommandHoldsOnlyWhatTheFunctionDecodes) {
  set_config<std::uint16_t>(*function_, 4, 0xffff);
  EXPECT_EQ(config<std::uint16_t>(*function_, 4), 0x0547);
  RecordingDevice other;
  auto bare = make({}, other);
  set_config<std::uint16_t>(*bare, 4, 0xffff);
  EXPECT_EQ(config<std::uint16_t>(*bare, 4), 0x0144);
}

TEST_F(ConfigTest, StatusShowsIntxEvenWhenDisabled) {
  function_->interrupts().set_level(true);
  EXPECT_EQ(config<std::uint16_t>(*function_, 6) & 8, 8);
  set_config<std::uint16_t>(*function_, 4, 0x400);
  EXPECT_EQ(config<std::uint16_t>(*function_, 6) & 8, 8);
  function_->interrupts().set_level(false);
  EXPECT_EQ(config<std::uint16_t>(*function_, 6) & 8, 0);
}

TEST_F(ConfigTest, ChainHasEveryCapabilityInOrder) {
  EXPECT_EQ(config<std::uint8_t>(*function_, 0x34), 0x40);
  EXPECT_EQ(find_capability(*function_, 0x01), 0x40);
  EXPECT_EQ(find_capability(*function_, 0x05), 0x48);
  EXPECT_EQ(find_capability(*function_, 0x11), 0x60);
  EXPECT_EQ(find_capability(*function_, 0x10), 0x6c);
  EXPECT_EQ(find_capability(*function_, 0x09), 0xa8);
  EXPECT_EQ(find_capability(*function_, 0x42), 0);
}

TEST_F(ConfigTest, MsiSaysWhatItCan) {
  EXPECT_EQ(config<std::uint16_t>(*function_, 0x4a), 0x0184);  // 4 vectors, 64 bit, per-vector mask
  set_config<std::uint16_t>(*function_, 0x4a, 0xffff);
  EXPECT_EQ(config<std::uint16_t>(*function_, 0x4a), 0x01f5);
  set_config<std::uint32_t>(*function_, 0x4c, ~0u);
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x4c), 0xfffffffcu);
  set_config<std::uint32_t>(*function_, 0x58, ~0u);
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x58), 0xfu);
}

TEST_F(ConfigTest, MsiPendingBitsFollowTheMask) {
  Event event;
  set_bus_master(*function_, true);
  ASSERT_TRUE(set_sinks(function_->interrupts(), Irq::msi, 2, 1, fds(event)));
  set_config<std::uint32_t>(*function_, 0x58, 0b100);
  function_->interrupts().trigger(2);
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x5c), 0b100u);
  set_config<std::uint8_t>(*function_, 0x58, 0);
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x5c), 0u);
  EXPECT_EQ(event.signals(), 1u);
}

TEST_F(ConfigTest, MsixPointsIntoItsBar) {
  EXPECT_EQ(config<std::uint16_t>(*function_, 0x62), 7);
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x64), 0u);
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x68), 2048u);
  set_config<std::uint16_t>(*function_, 0x62, 0xffff);
  EXPECT_EQ(config<std::uint16_t>(*function_, 0x62), 0xc007);
}

TEST_F(ConfigTest, ExpressIsVersionTwoWithFlr) {
  EXPECT_EQ(config<std::uint16_t>(*function_, 0x6e), 0x0002);
  EXPECT_NE(config<std::uint32_t>(*function_, 0x70) & (1u << 28), 0u);
  set_config<std::uint16_t>(*function_, 0x74, 0x7fff);
  EXPECT_EQ(config<std::uint16_t>(*function_, 0x74) & 0x8000, 0);
  EXPECT_EQ(device_.log, "");
}

TEST_F(ConfigTest, FlrResetsTheFunctionAndReadsAsZero) {
  set_bus_master(*function_, true);
  set_config<std::uint32_t>(*function_, 0x10, 0xfeb00000);
  device_.log.clear();
  set_config<std::uint16_t>(*function_, 0x74, 0x8000);
  EXPECT_EQ(device_.log, "slave reset1 ");
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x10), 0u);
  EXPECT_EQ(config<std::uint16_t>(*function_, 0x04), 0);
  EXPECT_EQ(config<std::uint16_t>(*function_, 0x74), 0x2810);
}

TEST_F(ConfigTest, FlrIsNotThereUnlessOffered) {
  RecordingDevice device;
  FunctionSpec spec;
  spec.capabilities = {Express{.function_level_reset = false, .port_type = 9}};
  auto function = make(spec, device);
  EXPECT_EQ(config<std::uint16_t>(*function, 0x42), 0x0092);
  EXPECT_EQ(config<std::uint32_t>(*function, 0x4c), 0u);  // an integrated endpoint has no link
  set_config<std::uint16_t>(*function, 0x48, 0x8000);
  EXPECT_EQ(device.log, "");
}

TEST_F(ConfigTest, LeavingD3hotResets) {
  set_config<std::uint16_t>(*function_, 0x44, 3);
  EXPECT_EQ(config<std::uint16_t>(*function_, 0x44), 3);
  set_config<std::uint16_t>(*function_, 0x44, 1);
  EXPECT_EQ(config<std::uint16_t>(*function_, 0x44), 3);
  EXPECT_EQ(device_.log, "");
  set_config<std::uint16_t>(*function_, 0x44, 0);
  EXPECT_EQ(device_.log, "reset2 ");
  EXPECT_EQ(config<std::uint16_t>(*function_, 0x44), 0);
}

TEST_F(ConfigTest, D3hotStopsDma) {
  set_bus_master(*function_, true);
  set_config<std::uint16_t>(*function_, 0x44, 3);
  EXPECT_FALSE(function_->is_bus_master());
  EXPECT_EQ(device_.log, "master slave ");
}

TEST_F(ConfigTest, VendorCapabilityIsTheModels) {
  EXPECT_EQ(config<std::uint32_t>(*function_, 0xa8), 0x01070009u);
  set_config<std::uint32_t>(*function_, 0xa8, ~0u);
  EXPECT_EQ(config<std::uint32_t>(*function_, 0xa8), 0x01070009u);
  EXPECT_EQ(device_.log, "c7+170:2 ");
}

TEST_F(ConfigTest, SerialNumberIsTheFirstExtendedCapability) {
  EXPECT_EQ(config<std::uint32_t>(*function_, 0x100), 0x00010003u);
  EXPECT_EQ(config<std::uint64_t>(*function_, 0x104), 0x1122334455667788u);
}

TEST_F(ConfigTest, WhatTheModelPutStaysThroughAReset) {
  function_->config()[0xad] = std::byte{0x5a};
  set_config<std::uint8_t>(*function_, 0x3c, 11);
  function_->reset(ResetKind::client_request);
  EXPECT_EQ(config<std::uint8_t>(*function_, 0xad), 0x5a);
  EXPECT_EQ(config<std::uint8_t>(*function_, 0x3c), 0);
}

Errc refusal(FunctionSpec spec) {
  RecordingDevice device;
  auto made = Function::create(std::move(spec), device);
  return made ? Errc::system : made.error().code;
}

TEST(FunctionSpecCheck, RefusesImpossibleBars) {
  FunctionSpec odd, wide_last, wide_taken, large, small_io;
  odd.bars[0] = BarSpec{.size = 5000};
  wide_last.bars[5] = BarSpec{.kind = BarKind::memory64, .size = 4096};
  wide_taken.bars[0] = BarSpec{.kind = BarKind::memory64, .size = 4096};
  wide_taken.bars[1] = BarSpec{.size = 4096};
  large.bars[0] = BarSpec{.size = 1ull << 32};
  small_io.bars[0] = BarSpec{.kind = BarKind::io, .size = 2};
  EXPECT_EQ(refusal(odd), Errc::invalid_argument);
  EXPECT_EQ(refusal(wide_last), Errc::invalid_argument);
  EXPECT_EQ(refusal(wide_taken), Errc::invalid_argument);
  EXPECT_EQ(refusal(large), Errc::out_of_range);
  EXPECT_EQ(refusal(small_io), Errc::out_of_range);
}

TEST(FunctionSpecCheck, RefusesImpossibleSharedAreas) {
  FunctionSpec beyond, unaligned, overlapping, io;
  beyond.bars[0] = BarSpec{.size = 8192, .shared = {{4096, 8192}}};
  unaligned.bars[0] = BarSpec{.size = 8192, .shared = {{512, 4096}}};
  overlapping.bars[0] = BarSpec{.size = 16384, .shared = {{4096, 8192}, {0, 8192}}};
  io.bars[0] = BarSpec{.kind = BarKind::io, .size = 8192, .shared = {{0, 4096}}};
  EXPECT_EQ(refusal(beyond), Errc::out_of_range);
  EXPECT_EQ(refusal(unaligned), Errc::invalid_argument);
  EXPECT_EQ(refusal(overlapping), Errc::already_exists);
  EXPECT_EQ(refusal(io), Errc::invalid_argument);
}

TEST(FunctionSpecCheck, RefusesImpossibleIoEvents) {
  FunctionSpec beyond, unaligned, odd, shared, msix;
  beyond.bars[0] = BarSpec{.size = 4096, .io_events = {{4096, 4, {}}}};
  unaligned.bars[0] = BarSpec{.size = 4096, .io_events = {{2, 4, {}}}};
  odd.bars[0] = BarSpec{.size = 4096, .io_events = {{0, 3, {}}}};
  shared.bars[0] = BarSpec{.size = 8192, .shared = {{0, 4096}}, .io_events = {{4092, 4, {}}}};
  msix.bars[0] = BarSpec{.size = 4096, .io_events = {{16, 4, {}}}};
  msix.capabilities = {Msix{.vectors = 2, .pba_offset = 2048}};
  EXPECT_EQ(refusal(beyond), Errc::out_of_range);
  EXPECT_EQ(refusal(unaligned), Errc::invalid_argument);
  EXPECT_EQ(refusal(odd), Errc::invalid_argument);
  EXPECT_EQ(refusal(shared), Errc::already_exists);
  EXPECT_EQ(refusal(msix), Errc::already_exists);
}

TEST(FunctionSpecCheck, RefusesImpossibleMsix) {
  FunctionSpec no_bar, beyond, overlapping, many, shared;
  no_bar.capabilities = {Msix{}};
  beyond.bars[0] = overlapping.bars[0] = many.bars[0] = BarSpec{.size = 4096};
  beyond.capabilities = {Msix{.vectors = 8, .pba_offset = 4096}};
  overlapping.capabilities = {Msix{.vectors = 8, .pba_offset = 64}};
  many.capabilities = {Msix{.vectors = 2049, .pba_offset = 2048}};
  shared.bars[0] = BarSpec{.size = 8192, .shared = {{0, 4096}}};
  shared.capabilities = {Msix{.vectors = 8, .pba_offset = 4096}};
  EXPECT_EQ(refusal(no_bar), Errc::invalid_argument);
  EXPECT_EQ(refusal(beyond), Errc::out_of_range);
  EXPECT_EQ(refusal(overlapping), Errc::already_exists);
  EXPECT_EQ(refusal(many), Errc::invalid_argument);
  EXPECT_EQ(refusal(shared), Errc::already_exists);
}

TEST(FunctionSpecCheck, RefusesImpossibleCapabilities) {
  FunctionSpec twice, odd_msi, full, vendor;
  twice.capabilities = {PowerManagement{}, PowerManagement{}};
  odd_msi.capabilities = {Msi{.vectors = 3}};
  full.capabilities = {VendorSpecific{std::vector<std::uint8_t>(180)}, Express{}};
  vendor.capabilities = {VendorSpecific{std::vector<std::uint8_t>(300)}};
  EXPECT_EQ(refusal(twice), Errc::already_exists);
  EXPECT_EQ(refusal(odd_msi), Errc::invalid_argument);
  EXPECT_EQ(refusal(full), Errc::no_space);
  EXPECT_EQ(refusal(vendor), Errc::no_space);
}

}  // namespace
}  // namespace vmux::pci

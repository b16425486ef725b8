// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include "pci/test/test_support.hpp"

namespace vmux::pci {
namespace {

using namespace test;

/// Table at 0x0000 and pending bits at 0x1000 of BAR 0; the model has the rest.
class MsixTest : public ::testing::Test {
 protected:
  MsixTest() {
    set_bus_master(*function_, true);
    EXPECT_TRUE(set_sinks(function_->interrupts(), Irq::msix, 0, 2, fds(a_, b_)));
    device_.log.clear();
  }
  static FunctionSpec spec() {
    FunctionSpec spec;
    spec.bars[0] = BarSpec{.size = 16384};
    spec.capabilities = {Msix{.vectors = 70, .pba_offset = 0x1000}};
    return spec;
  }
  RecordingDevice device_;
  std::unique_ptr<Function> function_ = make(spec(), device_);
  Event a_, b_;
};

TEST_F(MsixTest, EntriesLookMaskedAfterReset) {
  EXPECT_EQ(get<std::uint32_t>(*function_, Region::bar0, 12), 1u);
  EXPECT_EQ(get<std::uint64_t>(*function_, Region::bar0, 69 * 16 + 8), 1ull << 32);
  EXPECT_EQ(device_.log, "");
}

TEST_F(MsixTest, MaskCountsOnlyOnceTheEntryWasWritten) {
  function_->interrupts().trigger(0);  // QEMU keeps the table to itself
  EXPECT_EQ(a_.signals(), 1u);
  put<std::uint32_t>(*function_, Region::bar0, 0, 0xfee00000);
  function_->interrupts().trigger(0);
  EXPECT_EQ(a_.signals(), 0u);
  function_->interrupts().trigger(1);
  EXPECT_EQ(b_.signals(), 1u);
}

TEST_F(MsixTest, UnmaskDeliversWhatIsPending) {
  put<std::uint32_t>(*function_, Region::bar0, 12, 1);
  function_->interrupts().trigger(0);
  EXPECT_EQ(get<std::uint64_t>(*function_, Region::bar0, 0x1000), 1u);
  put<std::uint32_t>(*function_, Region::bar0, 12, 0);
  EXPECT_EQ(a_.signals(), 1u);
  EXPECT_EQ(get<std::uint64_t>(*function_, Region::bar0, 0x1000), 0u);
}

TEST_F(MsixTest, FunctionMaskHoldsAllVectors) {
  set_config<std::uint16_t>(*function_, 0x42, 0xc000);
  function_->interrupts().trigger(0);
  function_->interrupts().trigger(1);
  EXPECT_EQ(get<std::uint32_t>(*function_, Region::bar0, 0x1000), 3u);
  set_config<std::uint16_t>(*function_, 0x42, 0x8000);
  EXPECT_EQ(a_.signals(), 1u);
  EXPECT_EQ(b_.signals(), 1u);
}

TEST_F(MsixTest, PendingBitsSpanWordsAndAreReadOnly) {
  function_->interrupts().trigger(65);  // no sink: stays pending
  EXPECT_EQ(get<std::uint32_t>(*function_, Region::bar0, 0x1008), 2u);
  put<std::uint64_t>(*function_, Region::bar0, 0x1008, 0);
  EXPECT_EQ(get<std::uint8_t>(*function_, Region::bar0, 0x1008), 2u);
}

TEST_F(MsixTest, EntriesKeepAddressAndDataButNotReservedBits) {
  put<std::uint64_t>(*function_, Region::bar0, 16, 0x12345678fee00fffull);
  put<std::uint64_t>(*function_, Region::bar0, 24, 0xfffffffe00004041ull);
  EXPECT_EQ(get<std::uint64_t>(*function_, Region::bar0, 16), 0x12345678fee00ffcull);
  EXPECT_EQ(get<std::uint64_t>(*function_, Region::bar0, 24), 0x0000000000004041ull);
}

TEST_F(MsixTest, ResetMasksTheTableAgain) {
  put<std::uint32_t>(*function_, Region::bar0, 12, 0);
  function_->reset(ResetKind::client_request);
  EXPECT_EQ(get<std::uint32_t>(*function_, Region::bar0, 12), 1u);
}

TEST_F(MsixTest, ModelSeesOnlyWhatIsBesideTheStructures) {
  std::vector<std::byte> all(0x1020);
  ASSERT_TRUE(function_->read(Region::bar0, RegionOffset{69 * 16}, std::span{all}.first(24)));
  EXPECT_EQ(device_.log, "r0+1120:8 ");
}

}  // namespace
}  // namespace vmux::pci

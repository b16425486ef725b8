// SPDX-License-Identifier: BSD-3-Clause
// The driver against a function that is good, and against some that are not.
#include "vdpa/function.hpp"

#include <gtest/gtest.h>

#include "vdpa/test/fake_function.hpp"

namespace vmux::vdpa {
namespace {

constexpr std::uint64_t kVersion1 = 1ull << 32, kPlatform = 1ull << 33;

class AFunction : public testing::Test {
 protected:
  AFunction() : card_(1, 3) { card_.iommu = &iommu_; }
  Result<std::unique_ptr<Function>> open() { return Function::create(std::make_unique<fake::OpenDevice>(card_)); }
  std::unique_ptr<Function> made() {
    auto function = open();
    EXPECT_TRUE(function);
    return function ? std::move(*function) : nullptr;
  }
  fake::Iommu iommu_;
  fake::Card card_;
};

TEST_F(AFunction, IsWhatItsRegistersSay) {
  card_.offered |= 1ull << 16;
  const auto function = made();
  EXPECT_EQ(function->kind(), 1);
  EXPECT_EQ(function->features(), kVersion1 | kPlatform | 1ull << 16);
  EXPECT_EQ(function->queues(), 3u);
  EXPECT_EQ(function->vectors(), 16u);
  EXPECT_FALSE(card_.masters_bus());
}

TEST_F(AFunction, OfAnotherVendorIsNone) {
  card_.put16(0, 0x8086);
  EXPECT_EQ(open().error().code, Errc::not_supported);
}
TEST_F(AFunction, OfBeforeVersion1IsNone) {
  card_.config[0x34] = std::byte{0};
  EXPECT_EQ(open().error().code, Errc::not_supported);
}
TEST_F(AFunction, WithoutTheFeatureVersion1IsNone) {
  card_.offered &= ~kVersion1;
  EXPECT_EQ(open().error().code, Errc::not_supported);
}
TEST_F(AFunction, WithoutMsixIsNone) {
  card_.vectors = 0;
  EXPECT_EQ(open().error().code, Errc::not_supported);
}
TEST_F(AFunction, WithRegistersBeyondItsBarIsNone) {
  card_.capability(0x40, 0x58, 1, 0x3ff0, 64, 0);
  EXPECT_EQ(open().error().code, Errc::not_supported);
}
TEST_F(AFunction, WithACapabilityOfAReservedBarUsesTheNext) {
  card_.capability(0x40, 0x90, 1, 0, 64, 0);
  card_.config[0x44] = std::byte{6};
  card_.capability(0x90, 0x58, 1, fake::kCommon, 64, 0);
  EXPECT_EQ(made()->queues(), 3u);
}
TEST_F(AFunction, WhoseCapabilitiesAreALoopIsFoundAllTheSame) {
  card_.capability(0x70, 0x40, 4, fake::kDevice, 0x100, 0);
  EXPECT_EQ(made()->queues(), 3u);
}
TEST_F(AFunction, ThatDoesNotAnswerIsAnError) {
  card_.is_answering = false;
  EXPECT_FALSE(open());
}

TEST_F(AFunction, MastersTheBusOnceFeaturesAreAgreedUpon) {
  const auto function = made();
  ASSERT_TRUE(function->negotiate(kVersion1 | kPlatform));
  EXPECT_EQ(card_.accepted, kVersion1 | kPlatform);
  EXPECT_EQ(card_.status, 1 | 2 | 8);
  EXPECT_TRUE(card_.masters_bus());
}
TEST_F(AFunction, ThatRefusesFeaturesDoesNotMasterTheBus) {
  const auto function = made();
  card_.refuses_features = true;
  EXPECT_EQ(function->negotiate(kVersion1).error().code, Errc::not_supported);
  EXPECT_FALSE(card_.masters_bus());
}

TEST_F(AFunction, FindsItsQueueWhereItWasPut) {
  const auto function = made();
  ASSERT_TRUE(function->negotiate(kVersion1));
  ASSERT_TRUE(function->set_up(1, {Iova{0x1'2345'6000}, Iova{0x7000}, Iova{0x2'0000'8000}, 4}, 2));
  ASSERT_TRUE(function->drive());
  const fake::Card::Queue& queue = card_.queues[1];
  EXPECT_EQ(queue.descriptors, 0x1'2345'6000u);
  EXPECT_EQ(queue.driver, 0x7000u);
  EXPECT_EQ(queue.device, 0x2'0000'8000u);
  EXPECT_EQ(queue.size, 4);
  EXPECT_EQ(queue.vector, 2);
  EXPECT_EQ(queue.enabled, 1);
  function->kick(1);
  EXPECT_EQ(queue.kicks, 1);
}
TEST_F(AFunction, WithAShorterQueueIsNotGivenALongerOne) {
  const auto function = made();
  ASSERT_TRUE(function->negotiate(kVersion1));
  EXPECT_EQ(function->set_up(1, {{}, {}, {}, 16}, 2).error().code, Errc::out_of_range);
}
TEST_F(AFunction, WithoutAVectorLeftIsAnError) {
  const auto function = made();
  ASSERT_TRUE(function->negotiate(kVersion1));
  EXPECT_EQ(function->set_up(1, {{}, {}, {}, 8}, 16).error().code, Errc::no_space);
}
TEST_F(AFunction, WithADoorbellBeyondItsRegionIsAnError) {
  card_.capability(0x58, 0x70, 2, fake::kNotify, 4, fake::kMultiplier);
  const auto function = made();
  ASSERT_TRUE(function->negotiate(kVersion1));
  EXPECT_EQ(function->set_up(1, {{}, {}, {}, 8}, 2).error().code, Errc::out_of_range);
}

TEST_F(AFunction, ThatStopsIsOffTheBus) {
  const auto function = made();
  ASSERT_TRUE(function->negotiate(kVersion1));
  ASSERT_TRUE(function->drive());
  ASSERT_TRUE(function->stop());
  EXPECT_EQ(card_.status, 0);
  EXPECT_FALSE(card_.masters_bus());
  EXPECT_EQ(card_.bus_resets, 0);
}
TEST_F(AFunction, ThatStaysOnTheBusHasNotStopped) {
  const auto function = made();
  ASSERT_TRUE(function->negotiate(kVersion1));
  card_.keeps_bus_master = true;
  EXPECT_FALSE(function->stop());
}
TEST_F(AFunction, ThatDoesNotResetItselfIsResetByItsBus) {
  const auto function = made();
  ASSERT_TRUE(function->negotiate(kVersion1));
  card_.keeps_status = true;
  ASSERT_TRUE(function->stop());
  EXPECT_EQ(card_.bus_resets, 1);
  EXPECT_EQ(card_.status, 0);
}

TEST_F(AFunction, WhoseConfigurationChangesMeanwhileIsReadAgain) {
  const auto function = made();
  int reads = 0;
  card_.on_generation = [&] {
    // It changes behind the first look at its generation, and is different then.
    if (++reads == 2) {
      ++card_.generation;
      card_.device_config[0] = std::byte{7};
    }
  };
  std::array<std::byte, 6> bytes{};
  ASSERT_TRUE(function->read_config(0, bytes));
  EXPECT_EQ(bytes[0], std::byte{7});
  EXPECT_EQ(reads, 4);
}
TEST_F(AFunction, WhoseConfigurationNeverKeepsStillIsAnError) {
  const auto function = made();
  card_.on_generation = [&] { ++card_.generation; };
  std::array<std::byte, 6> bytes{};
  EXPECT_EQ(function->read_config(0, bytes).error().code, Errc::timed_out);
}

}  // namespace
}  // namespace vmux::vdpa

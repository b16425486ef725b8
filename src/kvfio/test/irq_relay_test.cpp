// SPDX-License-Identifier: BSD-3-Clause
#include "kvfio/irq_relay.hpp"

#include <optional>

#include "kvfio/test/fake_kernel.hpp"

namespace vmux::kvfio {
namespace {

using pci::Irq;
using pci::IrqAction;
using pci::IrqData;

class AnIrqRelay : public testing::Test {
 protected:
  /// Listens on `count` vectors from `start` on.
  Result<void> listen(Irq irq, std::uint32_t start = 0, std::uint32_t count = 1) {
    std::vector<UniqueFd> fds;
    for (std::uint32_t i = 0; i < count; ++i) {
      heard_[start + i] = std::move(*make_eventfd());
      fds.push_back(std::move(*heard_[start + i].duplicate()));
    }
    return relay_.configure({irq, IrqAction::trigger, IrqData::eventfd, start, count, {}, fds});
  }
  Result<void> act(Irq irq, IrqAction action, std::uint32_t start = 0, std::uint32_t count = 1) {
    return relay_.configure({irq, action, IrqData::none, start, count, {}, {}});
  }
  std::uint64_t heard(std::uint32_t vector = 0) { return drain_eventfd(heard_[vector].get()); }

  fake::Card card_;
  fake::Device device_{card_};
  std::array<UniqueFd, 4> heard_;
  IrqRelay relay_{device_};
};

TEST_F(AnIrqRelay, HandsTheClientsEventfdToTheKernel) {
  ASSERT_TRUE(listen(Irq::msix, 0, 2));
  card_.fire(Irq::msix, 1);
  EXPECT_EQ(heard(0), 0u);
  EXPECT_EQ(heard(1), 1u);
}

TEST_F(AnIrqRelay, AddsVectorsToLiveOnesThoughTheKernelCannot) {
  ASSERT_TRUE(listen(Irq::msix, 0));
  ASSERT_TRUE(listen(Irq::msix, 1));
  ASSERT_TRUE(listen(Irq::msix, 3));
  card_.fire(Irq::msix, 0);
  card_.fire(Irq::msix, 1);
  card_.fire(Irq::msix, 3);
  EXPECT_EQ(heard(0) + heard(1) + heard(3), 3u);
  EXPECT_FALSE(card_.fire(Irq::msix, 2));
}

TEST_F(AnIrqRelay, LeavesLiveVectorsAloneWhereTheKernelCanAdd) {
  card_.irqs[Irq::msix].noresize = false;
  IrqRelay relay{device_};
  std::vector<UniqueFd> fds;
  fds.push_back(std::move(*make_eventfd()));
  ASSERT_TRUE(relay.configure({Irq::msix, IrqAction::trigger, IrqData::eventfd, 0, 1, {}, fds}));
  EXPECT_EQ(card_.log.find("off"), std::string::npos);
}

TEST_F(AnIrqRelay, AnswersRequestsOfNoVectorsAsTheKernel) {
  const auto of_none = [this](IrqAction action, IrqData data, std::uint32_t start = 0) {
    const auto done = relay_.configure({Irq::msix, action, data, start, 0, {}, {}});
    return done ? 0 : done.error().as_errno();
  };
  EXPECT_EQ(of_none(IrqAction::mask, IrqData::eventfd), ENOTTY);
  EXPECT_EQ(of_none(IrqAction::trigger, IrqData::boolean), EINVAL);
  ASSERT_TRUE(listen(Irq::msix));
  EXPECT_EQ(of_none(IrqAction::trigger, IrqData::boolean), 0);
  EXPECT_EQ(of_none(IrqAction::trigger, IrqData::eventfd), 0);
  EXPECT_EQ(of_none(IrqAction::trigger, IrqData::eventfd, 3), 0);
  EXPECT_EQ(card_.log.find("off"), std::string::npos);
  EXPECT_TRUE(card_.fire(Irq::msix, 0));
}

TEST_F(AnIrqRelay, TakesVectorsWithoutSinks) {
  ASSERT_TRUE(relay_.configure({Irq::msix, IrqAction::trigger, IrqData::eventfd, 0, 4, {}, {}}));
  EXPECT_FALSE(card_.fire(Irq::msix, 0));
  ASSERT_TRUE(listen(Irq::msix, 2));
  card_.fire(Irq::msix, 2);
  EXPECT_EQ(heard(2), 1u);
}

TEST_F(AnIrqRelay, ForgetsSinksWhenTheClientSwitchesOff) {
  ASSERT_TRUE(listen(Irq::msix, 0, 2));
  ASSERT_TRUE(act(Irq::msix, IrqAction::trigger, 0, 0));
  EXPECT_FALSE(card_.fire(Irq::msix, 0));
  ASSERT_TRUE(listen(Irq::msix, 1));
  EXPECT_FALSE(card_.fire(Irq::msix, 0));
}

TEST_F(AnIrqRelay, SwitchingOffWhatIsNotOnAsksTheKernelNothing) {
  ASSERT_TRUE(act(Irq::msi, IrqAction::trigger, 0, 0));
  EXPECT_EQ(card_.log, "");
}

TEST_F(AnIrqRelay, ServesTheKindThatWasAskedForLast) {
  ASSERT_TRUE(listen(Irq::intx));
  ASSERT_TRUE(listen(Irq::msix));
  EXPECT_FALSE(card_.fire(Irq::intx));
  EXPECT_TRUE(card_.fire(Irq::msix));
}

TEST_F(AnIrqRelay, KeepsWhatAMaskedVectorMissesAndPassesItOnOnce) {
  ASSERT_TRUE(listen(Irq::msix, 0, 2));
  relay_.set_table_mask(1, true);
  card_.fire(Irq::msix, 1);
  card_.fire(Irq::msix, 1);
  EXPECT_EQ(heard(1), 0u);
  EXPECT_EQ(relay_.pending_word(0), 2u);
  relay_.set_table_mask(1, false);
  EXPECT_EQ(heard(1), 1u);
  EXPECT_EQ(relay_.pending_word(0), 0u);
  card_.fire(Irq::msix, 1);
  EXPECT_EQ(heard(1), 1u);
}

TEST_F(AnIrqRelay, UnmasksOnlyWhenNoMaskIsLeft) {
  ASSERT_TRUE(listen(Irq::msix));
  relay_.set_table_mask(0, true);
  relay_.set_function_mask(true);
  ASSERT_TRUE(act(Irq::msix, IrqAction::mask));
  card_.fire(Irq::msix);
  relay_.set_table_mask(0, false);
  relay_.set_function_mask(false);
  EXPECT_EQ(heard(), 0u);
  ASSERT_TRUE(act(Irq::msix, IrqAction::unmask));
  EXPECT_EQ(heard(), 1u);
}

TEST_F(AnIrqRelay, AResetDropsMasksAndWhatIsPending) {
  ASSERT_TRUE(listen(Irq::msix));
  relay_.set_table_mask(0, true);
  card_.fire(Irq::msix);
  relay_.clear_masks();
  EXPECT_EQ(heard(), 0u);
  card_.fire(Irq::msix);
  EXPECT_EQ(heard(), 1u);
}

TEST_F(AnIrqRelay, AMaskedVectorCanBeSetUp) {
  relay_.set_table_mask(0, true);
  ASSERT_TRUE(listen(Irq::msix));
  card_.fire(Irq::msix);
  EXPECT_EQ(heard(), 0u);
  relay_.set_table_mask(0, false);
  EXPECT_EQ(heard(), 1u);
}

TEST_F(AnIrqRelay, LeavesMaskingOfIntxToTheKernel) {
  ASSERT_TRUE(listen(Irq::intx));
  ASSERT_TRUE(act(Irq::intx, IrqAction::mask));
  std::vector<UniqueFd> resample;
  resample.push_back(std::move(*make_eventfd()));
  ASSERT_TRUE(relay_.configure({Irq::intx, IrqAction::unmask, IrqData::eventfd, 0, 1, {}, resample}));
  EXPECT_EQ(card_.log, "irq0:0+1 irq0 mask irq0 unmask ");
}

TEST_F(AnIrqRelay, ALoopbackReachesTheSinkWhateverTheMasks) {
  ASSERT_TRUE(listen(Irq::msix));
  relay_.set_table_mask(0, true);
  ASSERT_TRUE(act(Irq::msix, IrqAction::trigger));
  EXPECT_EQ(heard(), 1u);
}

TEST_F(AnIrqRelay, DropsEverythingAtOnce) {
  ASSERT_TRUE(listen(Irq::msi, 0, 4));
  relay_.drop();
  EXPECT_FALSE(card_.fire(Irq::msi, 3));
}

TEST_F(AnIrqRelay, RefusesWhatMakesNoSense) {
  EXPECT_FALSE(act(Irq::msix, IrqAction::mask, 4));
  EXPECT_FALSE(act(Irq::msix, IrqAction::mask, 0, 0));
  EXPECT_FALSE(relay_.configure({Irq::msix, IrqAction::mask, IrqData::eventfd, 0, 1, {}, {}}));
  EXPECT_FALSE(relay_.configure({Irq::msix, IrqAction::trigger, IrqData::boolean, 0, 2, {}, {}}));
  std::vector<UniqueFd> two(2);
  EXPECT_FALSE(relay_.configure({Irq::msix, IrqAction::trigger, IrqData::eventfd, 0, 1, {}, two}));
  EXPECT_EQ(card_.log, "");
}

}  // namespace
}  // namespace vmux::kvfio

// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/pci/interrupts.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "pci/test/test_support.hpp"

namespace vmux::pci {
namespace {

using namespace test;

FunctionSpec all_kinds() {
  FunctionSpec spec;
  spec.intx = true;
  spec.bars[0] = BarSpec{.size = 65536};
  spec.capabilities = {Msi{.vectors = 4, .per_vector_mask = true}, Msix{.vectors = 8, .pba_offset = 2048}};
  return spec;
}

class InterruptsTest : public ::testing::Test {
 protected:
  InterruptsTest() : irqs_(std::move(*Interrupts::create(all_kinds()))) { irqs_->set_bus_master(true); }
  void listen_to_intx() { ASSERT_TRUE(set_sinks(*irqs_, Irq::intx, 0, 1, fds(a_))); }
  void listen_to_msix() { ASSERT_TRUE(set_sinks(*irqs_, Irq::msix, 0, 2, fds(a_, b_))); }
  std::unique_ptr<Interrupts> irqs_;
  Event a_, b_;
};

TEST_F(InterruptsTest, CountsFollowTheDescription) {
  EXPECT_EQ(irqs_->info(Irq::intx).count, 1u);
  EXPECT_TRUE(irqs_->info(Irq::intx).maskable);
  EXPECT_TRUE(irqs_->info(Irq::intx).automasked);
  EXPECT_EQ(irqs_->info(Irq::msi).count, 4u);
  EXPECT_EQ(irqs_->info(Irq::msix).count, 8u);
  EXPECT_EQ(irqs_->info(Irq::err).count, 1u);
  EXPECT_EQ((*Interrupts::create({.err_irq = false}))->info(Irq::err).count, 0u);
}

TEST_F(InterruptsTest, FlagsAreThoseOfTheKindAlsoOfOneThatIsNotThere) {
  const auto none = std::move(*Interrupts::create({}));
  EXPECT_EQ(none->info(Irq::intx).count, 0u);
  EXPECT_FALSE(none->info(Irq::intx).eventfd || none->info(Irq::intx).maskable || none->info(Irq::intx).automasked);
  EXPECT_FALSE(none->info(Irq::msi).eventfd);
  EXPECT_FALSE(none->info(Irq::msi).maskable || none->info(Irq::msi).automasked);
}

TEST_F(InterruptsTest, TriggerWithoutMessagesAsksForIntx) {
  EXPECT_FALSE(irqs_->trigger(0));
  EXPECT_FALSE(irqs_->is_message_signalled());
  listen_to_msix();
  EXPECT_TRUE(irqs_->trigger(0));
  EXPECT_TRUE(irqs_->is_message_signalled());
}

TEST_F(InterruptsTest, TriggerReachesItsVectorOnly) {
  listen_to_msix();
  EXPECT_TRUE(irqs_->trigger(1));
  EXPECT_EQ(a_.signals(), 0u);
  EXPECT_EQ(b_.signals(), 1u);
  EXPECT_TRUE(irqs_->trigger(8));
  EXPECT_TRUE(irqs_->trigger(~0u));
}

TEST_F(InterruptsTest, NoMessageWithoutBusMastering) {
  listen_to_msix();
  irqs_->set_bus_master(false);
  EXPECT_TRUE(irqs_->trigger(0));
  irqs_->set_bus_master(true);
  EXPECT_EQ(a_.signals(), 0u);
}

TEST_F(InterruptsTest, MsixBeforeMsi) {
  Event msi;
  ASSERT_TRUE(set_sinks(*irqs_, Irq::msi, 0, 1, fds(msi)));
  irqs_->trigger(0);
  listen_to_msix();
  irqs_->trigger(0);
  EXPECT_EQ(msi.signals(), 1u);
  EXPECT_EQ(a_.signals(), 1u);
}

TEST_F(InterruptsTest, MaskedVectorStaysPendingUntilUnmasked) {
  listen_to_msix();
  irqs_->set_msix_vector_mask(0, true);
  irqs_->trigger(0);
  irqs_->trigger(0);
  EXPECT_EQ(a_.signals(), 0u);
  EXPECT_TRUE(irqs_->is_pending(0));
  EXPECT_EQ(irqs_->pending_word(Irq::msix, 0), 1u);
  irqs_->set_msix_vector_mask(0, false);
  EXPECT_EQ(a_.signals(), 1u);
  EXPECT_FALSE(irqs_->is_pending(0));
}

TEST_F(InterruptsTest, EveryMaskMustBeOpen) {
  listen_to_msix();
  irqs_->set_msix_vector_mask(1, true);
  irqs_->set_msix_function_mask(true);
  ASSERT_TRUE(set_irqs(*irqs_, Irq::msix, IrqAction::mask, 1, 1));
  irqs_->trigger(1);
  irqs_->set_msix_function_mask(false);
  irqs_->set_msix_vector_mask(1, false);
  EXPECT_EQ(b_.signals(), 0u);
  ASSERT_TRUE(set_irqs(*irqs_, Irq::msix, IrqAction::unmask, 1, 1));
  EXPECT_EQ(b_.signals(), 1u);
}

TEST_F(InterruptsTest, MsiMaskBitsHoldTheirVectors) {
  ASSERT_TRUE(set_sinks(*irqs_, Irq::msi, 0, 2, fds(a_, b_)));
  irqs_->set_msi_mask(0b01);
  irqs_->trigger(0);
  irqs_->trigger(1);
  EXPECT_EQ(a_.signals(), 0u);
  EXPECT_EQ(b_.signals(), 1u);
  EXPECT_EQ(irqs_->pending_word(Irq::msi, 0), 1u);
  irqs_->set_msi_mask(0);
  EXPECT_EQ(a_.signals(), 1u);
}

TEST_F(InterruptsTest, VectorWithoutASinkIsPendingUntilOneComes) {
  ASSERT_TRUE(set_sinks(*irqs_, Irq::msix, 0, 1, {}));  // as QEMU enables MSI-X
  EXPECT_TRUE(irqs_->trigger(0));
  EXPECT_TRUE(irqs_->is_pending(0));
  ASSERT_TRUE(set_sinks(*irqs_, Irq::msix, 0, 1, fds(a_)));
  EXPECT_EQ(a_.signals(), 1u);
}

TEST_F(InterruptsTest, LiveSinkIsReplaced) {
  listen_to_msix();
  Event next;
  ASSERT_TRUE(set_sinks(*irqs_, Irq::msix, 0, 1, fds(next)));
  irqs_->trigger(0);
  EXPECT_EQ(a_.signals(), 0u);
  EXPECT_EQ(next.signals(), 1u);
}

TEST_F(InterruptsTest, HoleAmongDescriptorsDetachesItsVector) {
  listen_to_msix();
  std::vector<UniqueFd> sinks(2);
  sinks[1] = b_.sink();
  ASSERT_TRUE(set_sinks(*irqs_, Irq::msix, 0, 2, std::move(sinks)));
  irqs_->trigger(0);
  irqs_->trigger(1);
  EXPECT_EQ(a_.signals(), 0u);
  EXPECT_EQ(b_.signals(), 1u);
}

TEST_F(InterruptsTest, DisableDropsSinksAndPending) {
  listen_to_msix();
  irqs_->set_msix_vector_mask(0, true);
  irqs_->trigger(0);
  ASSERT_TRUE(set_irqs(*irqs_, Irq::msix, IrqAction::trigger, 0, 0u));
  EXPECT_FALSE(irqs_->is_message_signalled());
  EXPECT_FALSE(irqs_->trigger(1));
  EXPECT_FALSE(irqs_->is_pending(0));
  EXPECT_EQ(b_.signals(), 0u);
}

TEST_F(InterruptsTest, DisableOfWhatWasNeverEnabledSucceeds) {
  EXPECT_TRUE(set_irqs(*irqs_, Irq::intx, IrqAction::trigger, 0, 0u));
  EXPECT_TRUE(set_irqs(*irqs_, Irq::msi, IrqAction::trigger, 0, 0u));
  EXPECT_TRUE(set_irqs(*irqs_, Irq::msix, IrqAction::trigger, 0, 0u));
  EXPECT_TRUE(set_irqs(*irqs_, Irq::err, IrqAction::trigger, 0, 0u));
  EXPECT_TRUE(set_sinks(*irqs_, Irq::req, 0, 1, {}));
}

TEST_F(InterruptsTest, ClientMayTestItsWiring) {
  listen_to_msix();
  ASSERT_TRUE(set_irqs(*irqs_, Irq::msix, IrqAction::trigger, 0, 2u));
  ASSERT_TRUE(set_irqs(*irqs_, Irq::msix, IrqAction::trigger, 0, std::vector<std::uint8_t>{0, 1}));
  EXPECT_EQ(a_.signals(), 1u);
  EXPECT_EQ(b_.signals(), 2u);
}

TEST_F(InterruptsTest, RefusesRequestsBeyondTheLastVector) {
  EXPECT_EQ(set_irqs(*irqs_, Irq::msix, IrqAction::mask, 0, 9u).error().code, Errc::out_of_range);
  EXPECT_EQ(set_irqs(*irqs_, Irq::msix, IrqAction::mask, 8, 1u).error().code, Errc::out_of_range);
  EXPECT_EQ(set_irqs(*irqs_, Irq::msix, IrqAction::mask, ~0u, 2u).error().code, Errc::out_of_range);
  EXPECT_EQ(set_irqs(*irqs_, Irq::intx, IrqAction::mask, 0, 2u).error().code, Errc::out_of_range);
  EXPECT_EQ(set_irqs(*irqs_, static_cast<Irq>(5), IrqAction::mask, 0, 1u).error().code, Errc::invalid_argument);
}

TEST_F(InterruptsTest, RefusesRequestsThatContradictThemselves) {
  EXPECT_FALSE(set_irqs(*irqs_, Irq::msix, IrqAction::mask, 0, 0u));
  EXPECT_FALSE(set_irqs(*irqs_, Irq::err, IrqAction::mask, 0, 1u));
  EXPECT_FALSE(set_sinks(*irqs_, Irq::msix, 0, 1, fds(a_, b_)));
  EXPECT_FALSE(set_sinks(*irqs_, Irq::msix, 0, 1, fds(a_), IrqAction::unmask));
  IrqRequest short_booleans;
  short_booleans.irq = Irq::msix;
  short_booleans.data = IrqData::boolean;
  short_booleans.count = 2;
  EXPECT_FALSE(irqs_->configure(short_booleans));
}

TEST_F(InterruptsTest, RefusedRequestChangesNothing) {
  listen_to_msix();
  std::vector<UniqueFd> sinks = fds(b_);
  sinks.emplace_back(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  EXPECT_EQ(set_sinks(*irqs_, Irq::msix, 0, 2, std::move(sinks)).error().code, Errc::invalid_argument);
  irqs_->trigger(0);
  EXPECT_EQ(a_.signals(), 1u);
  EXPECT_EQ(b_.signals(), 0u);
}

TEST_F(InterruptsTest, SinkThatBlocksIsMadeNotTo) {
  Event blocking;
  ASSERT_EQ(::fcntl(blocking.fd(), F_SETFL, 0), 0);
  ASSERT_TRUE(set_sinks(*irqs_, Irq::msix, 0, 1, fds(blocking)));
  const std::uint64_t full = ~0ull - 1;
  ASSERT_EQ(::write(blocking.fd(), &full, sizeof full), static_cast<ssize_t>(sizeof full));
  EXPECT_TRUE(irqs_->trigger(0));
}

TEST_F(InterruptsTest, SinksDoNotLeakDescriptors) {
  listen_to_msix();
  const int before = ::dup(0);
  ::close(before);
  listen_to_msix();
  listen_to_msix();
  const int after = ::dup(0);
  ::close(after);
  EXPECT_EQ(before, after);
}

TEST_F(InterruptsTest, ErrorAndReleaseReachTheirSinks) {
  irqs_->signal_error();
  ASSERT_TRUE(set_sinks(*irqs_, Irq::err, 0, 1, fds(a_)));
  ASSERT_TRUE(set_sinks(*irqs_, Irq::req, 0, 1, fds(b_)));
  irqs_->signal_error();
  EXPECT_EQ(a_.signals(), 1u);
  irqs_->request_release();
  EXPECT_EQ(b_.signals(), 1u);
  ASSERT_TRUE(set_irqs(*irqs_, Irq::err, IrqAction::trigger, 0, 1u));
  EXPECT_EQ(a_.signals(), 1u);
  ASSERT_TRUE(set_sinks(*irqs_, Irq::err, 0, 1, {}));
  irqs_->signal_error();
  EXPECT_EQ(a_.signals(), 0u);
}

// --- INTx ---

TEST_F(InterruptsTest, IntxSignalsOnceAndMasksItself) {
  listen_to_intx();
  irqs_->set_level(true);
  irqs_->set_level(true);
  irqs_->set_level(false);
  irqs_->set_level(true);
  EXPECT_EQ(a_.signals(), 1u);
  EXPECT_TRUE(irqs_->intx_level());
}

TEST_F(InterruptsTest, IntxStillHighAtUnmaskIsSignalledAgain) {
  listen_to_intx();
  irqs_->set_level(true);
  ASSERT_EQ(a_.signals(), 1u);
  ASSERT_TRUE(set_irqs(*irqs_, Irq::intx, IrqAction::unmask, 0, 1u));
  EXPECT_EQ(a_.signals(), 1u);
  irqs_->set_level(false);
  ASSERT_TRUE(set_irqs(*irqs_, Irq::intx, IrqAction::unmask, 0, 1u));
  EXPECT_EQ(a_.signals(), 0u);
  irqs_->set_level(true);
  EXPECT_EQ(a_.signals(), 1u);
}

TEST_F(InterruptsTest, IntxMaskedByTheClientWaits) {
  listen_to_intx();
  ASSERT_TRUE(set_irqs(*irqs_, Irq::intx, IrqAction::mask, 0, std::vector<std::uint8_t>{1}));
  irqs_->set_level(true);
  EXPECT_EQ(a_.signals(), 0u);
  ASSERT_TRUE(set_irqs(*irqs_, Irq::intx, IrqAction::unmask, 0, std::vector<std::uint8_t>{0}));
  EXPECT_EQ(a_.signals(), 0u);
  ASSERT_TRUE(set_irqs(*irqs_, Irq::intx, IrqAction::unmask, 0, std::vector<std::uint8_t>{1}));
  EXPECT_EQ(a_.signals(), 1u);
}

TEST_F(InterruptsTest, IntxUnmaskEventfdIsKeptAndDrained) {
  listen_to_intx();
  EXPECT_EQ(irqs_->intx_unmask_fd(), -1);
  ASSERT_TRUE(set_sinks(*irqs_, Irq::intx, 0, 1, fds(b_), IrqAction::unmask));
  ASSERT_GE(irqs_->intx_unmask_fd(), 0);
  irqs_->set_level(true);
  ASSERT_EQ(a_.signals(), 1u);
  signal_eventfd(b_.fd());
  irqs_->unmask_intx();
  EXPECT_EQ(a_.signals(), 1u);
  EXPECT_EQ(b_.signals(), 0u);
  ASSERT_TRUE(set_sinks(*irqs_, Irq::intx, 0, 1, {}, IrqAction::unmask));
  EXPECT_EQ(irqs_->intx_unmask_fd(), -1);
}

TEST_F(InterruptsTest, IntxHighBeforeTheSinkIsSignalledWhenItComes) {
  irqs_->set_level(true);
  listen_to_intx();
  EXPECT_EQ(a_.signals(), 1u);
}

TEST_F(InterruptsTest, IntxDisableHoldsTheSignalNotTheStatus) {
  listen_to_intx();
  irqs_->set_intx_disabled(true);
  irqs_->set_level(true);
  EXPECT_EQ(a_.signals(), 0u);
  EXPECT_TRUE(irqs_->intx_level());
  irqs_->set_intx_disabled(false);
  EXPECT_EQ(a_.signals(), 1u);
}

TEST_F(InterruptsTest, IntxIsNotThereUnlessDescribed) {
  auto irqs = std::move(*Interrupts::create({}));
  irqs->set_level(true);
  EXPECT_FALSE(irqs->intx_level());
  EXPECT_FALSE(set_sinks(*irqs, Irq::intx, 0, 1, fds(a_)));
}

TEST_F(InterruptsTest, NoVectorsAreTriggeredOrWiredOfAKindThatIsEnabled) {
  EXPECT_FALSE(set_sinks(*irqs_, Irq::msix, 0, 0, {}));
  EXPECT_FALSE(irqs_->configure({Irq::msix, IrqAction::trigger, IrqData::boolean, 0, 0, {}, {}}));
  listen_to_msix();
  EXPECT_TRUE(set_sinks(*irqs_, Irq::msix, 0, 0, {}));
  EXPECT_TRUE(irqs_->configure({Irq::msix, IrqAction::trigger, IrqData::boolean, 0, 0, {}, {}}));
  EXPECT_TRUE(irqs_->trigger(0));
  EXPECT_EQ(a_.signals(), 1u);
}

TEST_F(InterruptsTest, ResetKeepsSinksButNoMasks) {
  listen_to_intx();
  listen_to_msix();
  irqs_->set_level(true);
  irqs_->set_msix_vector_mask(1, true);
  irqs_->trigger(1);
  static_cast<void>(a_.signals());
  irqs_->reset(false);
  EXPECT_FALSE(irqs_->intx_level());
  EXPECT_FALSE(irqs_->is_pending(1));
  irqs_->trigger(1);
  EXPECT_EQ(b_.signals(), 1u);
}

TEST_F(InterruptsTest, DisconnectDropsEverything) {
  listen_to_intx();
  listen_to_msix();
  ASSERT_TRUE(set_sinks(*irqs_, Irq::err, 0, 1, fds(a_)));
  ASSERT_TRUE(set_sinks(*irqs_, Irq::intx, 0, 1, fds(b_), IrqAction::unmask));
  irqs_->reset(true);
  irqs_->set_level(true);
  irqs_->signal_error();
  EXPECT_FALSE(irqs_->trigger(0));
  EXPECT_EQ(irqs_->intx_unmask_fd(), -1);
  EXPECT_EQ(a_.signals() + b_.signals(), 0u);
}

}  // namespace
}  // namespace vmux::pci

// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include "rigs/e1000_rig.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::rigs {
namespace {

constexpr std::uint32_t kIcr = 0xc0, kItr = 0xc4, kIcs = 0xc8, kIms = 0xd0, kImc = 0xd8;

/// Runs the poller until the guest has an interrupt or two seconds have passed; returns the interrupts.
std::uint64_t wait_for_interrupt(E1000Rig& rig) {
  const std::uint64_t end = monotonic_ns() + 2'000'000'000;
  std::uint64_t seen = 0;
  while (seen == 0 && monotonic_ns() < end) {
    rig.poller->run_once(10'000'000);
    seen = rig.guest->interrupts();
  }
  return seen;
}

// Every cause of the stock Linux driver's interrupt test, in its three steps.
TEST(E1000Interrupts, EachCauseInterruptsOnlyWhenEnabled) {
  E1000Rig rig;
  rig.guest->bring_up({.enabled_causes = 0});
  for (unsigned bit = 0; bit < 10; ++bit) {
    const std::uint32_t mask = 1u << bit;
    rig.guest->write(kImc, mask);
    rig.guest->write(kIcs, mask);
    EXPECT_EQ(rig.guest->interrupts(), 0u) << bit;
    rig.guest->write(kIms, mask);
    EXPECT_EQ(rig.guest->interrupts(), 1u) << bit;
    EXPECT_EQ(rig.guest->read(kIcr) & mask, mask);
    rig.nic->function().interrupts().unmask_intx();
    rig.guest->write(kImc, ~mask & 0x7fff);
    rig.guest->write(kIcs, ~mask & 0x7fff);
    EXPECT_EQ(rig.guest->interrupts(), 0u) << bit;
  }
}

TEST(E1000Interrupts, CountsCausesThatMakeNoneOfTheirOwn) {
  E1000Rig rig;
  rig.guest->bring_up({.enabled_causes = 0x80});
  const auto& counters = rig.nic->nic_counters();
  rig.guest->write(kIcs, 0x80);
  EXPECT_EQ(counters.interrupts.get(), 1u);
  EXPECT_EQ(counters.interrupts_suppressed.get(), 0u);
  rig.guest->write(kIcs, 0x80);  // the driver has yet to read ICR
  EXPECT_EQ(counters.interrupts_suppressed.get(), 1u);
  static_cast<void>(rig.guest->read(kIcr));
  rig.guest->write(kIcs, 0x04);  // masked
  EXPECT_EQ(counters.interrupts_suppressed.get(), 2u);
  EXPECT_EQ(counters.interrupts.get(), 1u);
}

TEST(E1000Interrupts, ReadingIcrClearsAndLowersTheLine) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->write(kIcs, 0x80);
  EXPECT_TRUE(rig.nic->function().interrupts().intx_level());
  EXPECT_EQ(rig.guest->read(kIcr), 0x80u);
  EXPECT_FALSE(rig.nic->function().interrupts().intx_level());
  EXPECT_EQ(rig.guest->read(kIcr), 0u);
}

TEST(E1000Interrupts, WritingIcrClearsTheNamedCausesOnly) {
  E1000Rig rig;
  rig.guest->bring_up({.enabled_causes = 0});
  rig.guest->write(kIcs, 0x84);
  rig.guest->write(kIcr, 0x80);
  EXPECT_EQ(rig.guest->read(kIcr), 0x04u);
}

TEST(E1000Interrupts, IdleCardInterruptsAtOnceOnReceive) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->write(kItr, 195);
  static_cast<void>(rig.arrive(frame_to_us(64)));
  EXPECT_EQ(rig.guest->interrupts(), 1u);
  EXPECT_EQ(rig.guest->read(kIcr) & 0x80, 0x80u);
}

TEST(E1000Interrupts, OneInterruptForABurst) {
  E1000Rig rig;
  rig.guest->bring_up();
  const Bytes frame = frame_to_us(64);
  std::array<packet::FrameView, 16> views;
  for (auto& view : views) {
    view.header = frame;
    view.length = 64;
  }
  rig.nic->port().begin_round();
  EXPECT_EQ(rig.nic->port().deliver(views).taken, 16u);
  EXPECT_EQ(rig.guest->interrupts(), 0u);
  rig.nic->port().end_round();
  EXPECT_EQ(rig.guest->interrupts(), 1u);
  EXPECT_EQ(rig.guest->read(0x2810), 16u);
}

TEST(E1000Interrupts, ThrottleHoldsTheSecondBackUntilItsTime) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->write(kItr, 65535);  // 16.8 ms
  static_cast<void>(rig.arrive(frame_to_us(64)));
  const std::uint64_t first = monotonic_ns();
  EXPECT_EQ(rig.guest->interrupts(), 1u);
  static_cast<void>(rig.guest->read(kIcr));
  rig.nic->function().interrupts().unmask_intx();
  static_cast<void>(rig.arrive(frame_to_us(64)));
  const bool early = monotonic_ns() - first < 10'000'000;
  EXPECT_TRUE(!early || rig.guest->interrupts() == 0u);
  EXPECT_EQ(wait_for_interrupt(rig), 1u);
  EXPECT_EQ(rig.guest->read(kIcr) & 0x80, 0x80u);
}

TEST(E1000Interrupts, DelayedTransmitReportComesLaterAndUndelayedAtOnce) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->write(0x3820, 20000);  // TIDV: 20 ms
  rig.guest->send(broadcast(60), {.delayed = true});
  static_cast<void>(rig.take());
  const std::uint64_t now = rig.guest->interrupts();
  EXPECT_EQ(now + wait_for_interrupt(rig), 1u);
  EXPECT_EQ(rig.guest->read(kIcr) & 0x1, 0x1u);
  rig.nic->function().interrupts().unmask_intx();
  rig.guest->send(broadcast(60));
  static_cast<void>(rig.take());
  EXPECT_EQ(rig.guest->interrupts(), 1u);
}

// A frame and what the device takes for its answer: one within 3 ms, which on a busy machine may need another try.
void answer_in_time(E1000Rig& rig) {
  std::uint64_t took_ns = 0;
  do {
    const std::uint64_t before = monotonic_ns();
    rig.guest->send(broadcast(60), {.delayed = true});
    static_cast<void>(rig.take());
    static_cast<void>(rig.arrive(frame_to_us(64)));
    took_ns = monotonic_ns() - before;
    static_cast<void>(wait_for_interrupt(rig));
    static_cast<void>(rig.guest->read(kIcr));
    rig.nic->function().interrupts().unmask_intx();
  } while (took_ns >= 3'000'000);
}

TEST(E1000Interrupts, DelayedTransmitReportWaitsForTheAnswerOnceAnswersCame) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->write(0x3820, 1);  // TIDV: 1 us
  answer_in_time(rig);
  const std::uint64_t before = monotonic_ns();
  rig.guest->send(broadcast(60), {.delayed = true});
  static_cast<void>(rig.take());
  EXPECT_EQ(wait_for_interrupt(rig), 1u);
  EXPECT_GE(monotonic_ns() - before, 3'000'000u);  // never less, however slow this machine is
  EXPECT_EQ(rig.guest->read(kIcr) & 0x81, 0x1u);
}

TEST(E1000Interrupts, DelayedTransmitReportDoesNotWaitWhileTheRingFillsUp) {
  E1000Rig rig;
  rig.guest->bring_up({.tx_descriptors = 64});
  rig.guest->write(0x3820, 0xffff);  // TIDV: 67 ms
  for (int i = 0; i < 15; ++i)
    rig.guest->queue(broadcast(60), {.delayed = true});
  rig.guest->ring_doorbell();
  static_cast<void>(rig.take());
  const std::uint64_t before = rig.guest->interrupts();
  rig.guest->send(broadcast(60), {.delayed = true});
  static_cast<void>(rig.take());
  EXPECT_EQ(before + rig.guest->interrupts(), 1u);
  EXPECT_EQ(rig.guest->read(kIcr) & 0x1, 0x1u);
}

TEST(E1000Interrupts, ReceiveDelayTimerHoldsRxt0Back) {
  E1000Rig rig;
  rig.guest->bring_up({.enabled_causes = 0x80});
  rig.guest->write(0x2820, 0xffff);  // RDTR
  rig.guest->write(0x282c, 5000);    // RADV: 5 ms after the first
  static_cast<void>(rig.arrive(frame_to_us(64)));
  EXPECT_EQ(wait_for_interrupt(rig), 1u);
}

TEST(E1000Interrupts, FewFreeDescriptorsRaiseRxdmt0Once) {
  E1000Rig rig;
  rig.guest->bring_up({.rx_descriptors = 16, .enabled_causes = 0});
  for (unsigned i = 0; i < 6; ++i)
    static_cast<void>(rig.arrive(frame_to_us(64)));
  EXPECT_EQ(rig.guest->read(kIcr) & 0x10, 0u);
  for (unsigned i = 0; i < 2; ++i)
    static_cast<void>(rig.arrive(frame_to_us(64)));
  EXPECT_EQ(rig.guest->read(kIcr) & 0x10, 0x10u);
  static_cast<void>(rig.arrive(frame_to_us(64)));
  EXPECT_EQ(rig.guest->read(kIcr) & 0x10, 0u);
}

TEST(E1000Interrupts, EmptyTransmitQueueRaisesTxqe) {
  E1000Rig rig;
  rig.guest->bring_up({.enabled_causes = 0});
  rig.guest->send(broadcast(60), {.report = false});
  static_cast<void>(rig.take());
  EXPECT_EQ(rig.guest->read(kIcr) & 0x3, 0x2u);
}

TEST(E1000Interrupts, ResetInPollModeMakesTheClientUnmap) {
  E1000Rig poll{Doorbell::poll}, trap{Doorbell::trap};
  poll.guest->write(0x0, 0x0400'0000);
  trap.guest->write(0x0, 0x0400'0000);
  EXPECT_EQ(poll.guest->interrupts(), 1u);
  EXPECT_FALSE(poll.nic->function().interrupts().intx_level());
  EXPECT_EQ(trap.guest->interrupts(), 0u);
}

}  // namespace
}  // namespace vmux::rigs

// SPDX-License-Identifier: BSD-3-Clause
// Vectors: armed by the driver, moderated by ITR, triggered by software, in both doorbell modes.
#include "device/iavf/interrupts.hpp"

#include <gtest/gtest.h>

#include "rigs/iavf_rig.hpp"

namespace vmux::rigs {
namespace {

using Doorbell = IavfRig::Doorbell;
constexpr std::uint32_t kEna = 1, kClear = 2, kSoftware = 4, kNoItr = 3u << 3, kSoftwareItr = 1u << 24 | 3u << 25,
                        kWriteBackOnItr = 1u << 30;
constexpr std::uint32_t kItr0 = 0x2800, kIcr0 = 0x4800, kControl1 = 0x3800;

struct InterruptRig : IavfRig, testing::TestWithParam<Doorbell> {
  InterruptRig() : IavfRig(GetParam(), 4) {
    guest->bring_up({.queues = 2, .mapped_doorbells = GetParam() == Doorbell::poll});
    static_cast<void>(guest->interrupts(1));
  }
  /// What bring_up() was told by answers is one more message, made when the vector is armed.
  void hear_of_the_past() {
    guest->arm(0);
    static_cast<void>(guest->interrupts(0));
    guest->arm(0);
  }
  void arrive_broadcast() { EXPECT_EQ(arrive(frame_to({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 64)), 1u); }
};

using IavfInterrupts = InterruptRig;
INSTANTIATE_TEST_SUITE_P(BothDoorbells, IavfInterrupts, testing::Values(Doorbell::poll, Doorbell::trap),
                         [](const auto& one) { return one.param == Doorbell::poll ? "Poll" : "Trap"; });

TEST_P(IavfInterrupts, FiresOnceAndTakesTheEnableBitBack) {
  arrive_broadcast();
  EXPECT_EQ(guest->interrupts(1), 1u);
  EXPECT_EQ(guest->read(kControl1) & kEna, 0u);
  arrive_broadcast();
  EXPECT_EQ(guest->interrupts(1), 0u);
  const std::uint64_t before = nic->interrupts(&device::iavf::InterruptCounters::suppressed);
  arrive_broadcast();
  EXPECT_EQ(nic->interrupts(&device::iavf::InterruptCounters::suppressed), before + 1);  // told with the one before
}

TEST_P(IavfInterrupts, NewsWhileUnarmedAreToldWhenArmed) {
  arrive_broadcast();
  arrive_broadcast();
  EXPECT_EQ(guest->interrupts(1), 1u);
  guest->arm(1);
  EXPECT_TRUE(run_until([&] { return guest->interrupts(1) == 1; }));
}

// DPDK's driver polls and never arms: no timer may go on for its news.
TEST_P(IavfInterrupts, WhoDoesNotArmForLongIsServedByTheRoundsAlone) {
  arrive_broadcast();
  arrive_broadcast();
  EXPECT_EQ(guest->interrupts(1), 1u);
  unsigned looks = 0;  // at first timers look again
  for (std::uint64_t last = monotonic_ns(); looks < 1000;) {
    const bool is_late = monotonic_ns() > last + 10'000'000;  // what was to come by then is due in the next round
    if (poller->run_once(0)) {
      ++looks;
      last = monotonic_ns();
    } else if (is_late) {
      break;
    }
  }
  EXPECT_GT(looks, 0u);
  EXPECT_LT(looks, 1000u);
  guest->arm(1);
  EXPECT_TRUE(run_until([&] {
    static_cast<void>(take());  // a round of the switch
    return guest->interrupts(1) == 1;
  }));
}

TEST_P(IavfInterrupts, ArmingWithClearPbaLosesNothing) {
  arrive_broadcast();
  arrive_broadcast();
  EXPECT_EQ(guest->interrupts(1), 1u);
  guest->arm(1, kEna | kClear | kNoItr);
  EXPECT_TRUE(run_until([&] { return guest->interrupts(1) == 1; }));
}

TEST_P(IavfInterrupts, IntervalDelaysTheSecondMessage) {
  guest->arm(1, kEna | 0xfffu << 5);  // ITR 0: 8190 us
  const std::uint64_t before = monotonic_ns();
  poller->run_once(0);  // its clock is at `before` or later now
  arrive_broadcast();
  static_cast<void>(run_until([&] { return guest->interrupts(1) == 1; }));
  guest->arm(1, kEna | kNoItr);
  arrive_broadcast();
  EXPECT_TRUE(run_until([&] { return guest->interrupts(1) == 1; }));
  EXPECT_GT(monotonic_ns() - before, 8'000'000u);
  EXPECT_EQ(guest->read(kItr0), 0xfffu);
}

TEST_P(IavfInterrupts, SoftwareTriggerIsAMessage) {
  guest->arm(1, kEna | kNoItr | kSoftware | kSoftwareItr);
  EXPECT_TRUE(run_until([&] {
    static_cast<void>(take());
    return guest->interrupts(1) == 1;
  }));
}

// Linux asks for this while it polls: write-backs are immediate here, and nothing may be told.
TEST_P(IavfInterrupts, WriteBackOnItrWritesAndIsSilent) {
  arrive_broadcast();
  EXPECT_EQ(guest->interrupts(1), 1u);
  EXPECT_TRUE(guest->receive().has_value());
  guest->arm(1, kWriteBackOnItr | kNoItr);
  arrive_broadcast();
  EXPECT_TRUE(guest->receive().has_value());
  EXPECT_EQ(guest->interrupts(1), 0u);
  guest->arm(1);
  EXPECT_TRUE(run_until([&] { return guest->interrupts(1) == 1; }));
}

// INTENA_MSK: only the interval is written. Where the write is to memory, the arming before it must not be lost.
TEST_P(IavfInterrupts, AWriteThatLeavesTheEnableBitAloneLeavesTheVectorArmed) {
  constexpr std::uint32_t kLeaveEnable = 1u << 31, kInterval = 1u << 5;
  guest->arm(1, kLeaveEnable | kInterval);
  arrive_broadcast();
  EXPECT_TRUE(run_until([&] { return guest->interrupts(1) == 1; }));
  EXPECT_EQ(guest->read(kItr0), 1u);
  arrive_broadcast();
  EXPECT_EQ(guest->interrupts(1), 0u);
}

TEST_P(IavfInterrupts, VectorsAreThoseOfTheMap) {
  guest->send_frame(frame_to({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 64), 1);
  EXPECT_EQ(take().size(), 1u);
  EXPECT_EQ(guest->interrupts(2), 1u);
  EXPECT_EQ(guest->interrupts(1), 0u);
}

TEST_P(IavfInterrupts, CauseRegisterClearsWhenRead) {
  EXPECT_EQ(guest->read(kIcr0) & 1u << 30, 1u << 30);
  EXPECT_EQ(guest->read(kIcr0), 0u);
}

TEST_P(IavfInterrupts, CauseThatStaysUnreadMakesOneMessageOnly) {
  hear_of_the_past();
  nic->set_link(false);
  EXPECT_EQ(guest->interrupts(0), 1u);
  guest->write(0x5000, 0);
  guest->write(0x5000, 1u << 30);
  guest->arm(0);
  EXPECT_EQ(guest->interrupts(0), 0u);
}

TEST_P(IavfInterrupts, CauseWhileMaskedIsToldWhenUnmasked) {
  hear_of_the_past();
  guest->write(0x5000, 0);
  nic->set_link(false);
  EXPECT_EQ(guest->interrupts(0), 0u);
  guest->write(0x5000, 1u << 30);
  EXPECT_EQ(guest->interrupts(0), 1u);
}

}  // namespace
}  // namespace vmux::rigs

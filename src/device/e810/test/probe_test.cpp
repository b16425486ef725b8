// SPDX-License-Identifier: BSD-3-Clause
// A driver's way to the card: its reset, its firmware's queue, what it asks on the way, and what resets leave.
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "rigs/e810_rig.hpp"

namespace vmux::rigs {
namespace {

using fake_guest::Bytes;
using fake_guest::E810Answer;

constexpr std::uint32_t kRtrig = 0xb8190, kRstat = 0xb8188, kOicr = 0x16ca00, kOicrEna = 0x16c900, kAtqh = 0x80300,
                        kAtqlen = 0x80200, kAtqbal = 0x80000, kAtqt = 0x80400, kUld = 0xb6008;

TEST(E810Probe, FindsAllThatADriverNeedsInItsOrder) {
  E810Rig rig;
  EXPECT_STREQ(rig.guest->probe(), nullptr);
  EXPECT_EQ(rig.guest->mac(), kE810Station);
  EXPECT_EQ(rig.counters().unknown_commands.total(), 0u);
  EXPECT_EQ(rig.counters().unknown_registers.total(), 0u);
}

TEST(E810Probe, GoesTwice) {
  E810Rig rig;
  rig.start();
  EXPECT_STREQ(rig.guest->probe(), nullptr);
  rig.guest->bring_up();
  EXPECT_EQ(rig.arrive(frame_to_us(64)), 1u);
  EXPECT_TRUE(rig.guest->receive().has_value());
}

TEST(E810Probe, CountsUnknownRegistersByOffset) {
  E810Rig rig;
  EXPECT_EQ(rig.guest->read(0x7f'0000), 0u);
  rig.guest->write(0x7f'0000, 1);
  const auto& unknown = rig.counters().unknown_registers;
  EXPECT_EQ(unknown.total(), 2u);
  EXPECT_EQ(unknown.entries[0].number.get(), 0x7f'0000u);
  EXPECT_EQ(unknown.entries[0].times.get(), 2u);
}

TEST(E810Reset, OfTheDeviceIsCountedByKind) {
  E810Rig rig;
  const auto over = [&] { return (rig.guest->read(kRstat) & 3) == 0; };
  rig.guest->write(kRtrig, 1);
  EXPECT_NE(rig.guest->read(kRstat) & 3, 0u);
  ASSERT_TRUE(rig.run_until(over));
  EXPECT_EQ(rig.guest->read(kRstat), 1u << 4 | 1u << 2);  // CORERCNT 1, the last was a CORER
  rig.guest->write(kRtrig, 2);
  ASSERT_TRUE(rig.run_until(over));
  EXPECT_EQ(rig.guest->read(kRstat), 1u << 6 | 1u << 4 | 2u << 2);  // and GLOBRCNT 1, a GLOBR
}

TEST(E810Reset, OfTheDeviceIsToldAndShowsItsEnd) {
  E810Rig rig;
  rig.start();
  rig.guest->write(kOicrEna, 1u << 20);
  static_cast<void>(rig.guest->interrupts(0));
  rig.guest->write(kRtrig, 1);
  EXPECT_EQ(rig.guest->interrupts(0), 1u);
  EXPECT_EQ(rig.guest->read(kUld), 0u);
  ASSERT_TRUE(rig.run_until([&] { return (rig.guest->read(kRstat) & 3) == 0; }));
  EXPECT_NE(rig.guest->read(kUld), 0u);
  EXPECT_EQ(rig.guest->read(kOicr), 1u << 20);  // for a driver whose interrupt comes late
  EXPECT_EQ(rig.guest->read(kAtqlen), 0u);
  EXPECT_STREQ(rig.guest->probe(), nullptr);
}

TEST(E810Reset, OfTheFunctionStopsQueuesAndForgetsRules) {
  E810Rig rig;
  rig.start();
  rig.guest->write(0x91000, 1);
  EXPECT_EQ(rig.guest->read(0x91000), 0u);
  EXPECT_EQ(rig.guest->read(0x120000), 0u);
  EXPECT_EQ(rig.guest->read(kAtqlen), 0u);
  EXPECT_EQ(rig.arrive(frame_to_us(64)), 0u);
}

TEST(E810Admin, AnswersACommandInItsDescriptor) {
  E810Rig rig;
  rig.guest->open_admin_queue();
  const E810Answer version = rig.guest->call(0x0001);
  EXPECT_EQ(version.flags & 7, 3);  // DD and CMP, not ERR
  EXPECT_EQ(version.retval, 0);
  EXPECT_EQ(version.param(13, 3), 0x01'05'01u);  // API 1.5.1
}

TEST(E810Admin, AnswersUnknownCommandsAsFirmwareDoesAndCountsThemByNumber) {
  E810Rig rig;
  rig.guest->open_admin_queue();
  const E810Answer said = rig.guest->call(0x0bad);
  EXPECT_EQ(said.retval, 17);
  EXPECT_EQ(said.flags & 7, 7);
  const auto& unknown = rig.counters().unknown_commands;
  EXPECT_EQ(unknown.total(), 1u);
  EXPECT_EQ(unknown.entries[0].number.get(), 0x0badu);
}

TEST(E810Admin, KeepsAddressAndCookies) {
  E810Rig rig;
  rig.guest->open_admin_queue();
  rig.guest->queue_command(0x0200, {}, Bytes(2048), false);
  const std::uint64_t at = rig.guest->kSendRing;
  const std::uint64_t cookies = 0x1122'3344'5566'7788;
  std::memcpy(rig.guest->memory().data() + at + 8, &cookies, sizeof cookies);
  rig.guest->ring_admin();
  std::uint64_t kept = 0;
  std::uint32_t low = 0;
  std::memcpy(&kept, rig.guest->memory().data() + at + 8, sizeof kept);
  std::memcpy(&low, rig.guest->memory().data() + at + 28, sizeof low);
  EXPECT_EQ(kept, cookies);
  EXPECT_EQ(low, rig.guest->kSendBuffers);
}

TEST(E810Admin, NeverAnswersMoreThanTheBufferHolds) {
  E810Rig rig;
  rig.guest->open_admin_queue();
  EXPECT_EQ(rig.guest->call(0x0607, {0, 0, 2}, Bytes(40), false).datalen, 32);
  EXPECT_EQ(rig.guest->call(0x0607, {0, 0, 2}, Bytes(16), false).retval, 14);
  EXPECT_EQ(rig.guest->call(0x000a, {}, Bytes(64), false).retval, 9);
}

TEST(E810Admin, RefusesABufferOutsideMemory) {
  E810Rig rig;
  rig.guest->open_admin_queue();
  rig.guest->queue_command(0x0404, {1}, Bytes(24), true);
  const std::uint32_t beyond = 0x7fff'0000;
  std::memcpy(rig.guest->memory().data() + rig.guest->kSendRing + 28, &beyond, sizeof beyond);
  rig.guest->ring_admin();
  EXPECT_EQ(rig.guest->answer(0).retval, 11);
}

TEST(E810Admin, IndexBeyondTheRingIsACriticalError) {
  E810Rig rig;
  rig.guest->open_admin_queue();
  rig.guest->write(kAtqt, 500);
  EXPECT_NE(rig.guest->read(kAtqlen) & 1u << 30, 0u);
  EXPECT_EQ(rig.counters().admin_faults.get(), 1u);
}

TEST(E810Admin, RingOutsideMemoryIsACriticalErrorThatOpeningAnewHeals) {
  E810Rig rig;
  rig.guest->open_admin_queue();
  rig.guest->write(kAtqbal, 0x7000'0000);
  rig.guest->write(kAtqt, 1);
  EXPECT_NE(rig.guest->read(kAtqlen) & 1u << 30, 0u);
  rig.guest->open_admin_queue();
  EXPECT_EQ(rig.guest->call(0x0001).retval, 0);
}

TEST(E810Admin, SurvivesManyRoundsOfItsRing) {
  E810Rig rig;
  rig.guest->open_admin_queue();
  unsigned answered = 0;
  for (unsigned i = 0; i < 100; ++i)
    answered += rig.guest->call(0x0001).retval == 0 ? 1 : 0;
  EXPECT_EQ(answered, 100u);
  EXPECT_EQ(rig.guest->read(kAtqh), 100u % rig.guest->kEntries);
}

TEST(E810Admin, MailboxKnowsNobody) {
  E810Rig rig;
  rig.guest->write(0x22e200, 32 | 1u << 31);
  rig.guest->write(0x22e100, 0x1000);
  const std::uint16_t opcode = 0x0802;
  std::memcpy(rig.guest->memory().data() + 0x1002, &opcode, sizeof opcode);
  rig.guest->write(0x22e300, 1);
  EXPECT_EQ(rig.guest->read(0x22e280), 1u);
  EXPECT_EQ(rig.guest->answer(0).retval, 2);  // no entry
}

}  // namespace
}  // namespace vmux::rigs

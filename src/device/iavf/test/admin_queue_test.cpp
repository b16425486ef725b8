// SPDX-License-Identifier: BSD-3-Clause
// The admin queue: what comes back for good, odd and hostile descriptors, and that nothing is stored for a driver that
// does not listen.
#include <gtest/gtest.h>

#include <cstring>

#include "fake_guest/virtchnl_numbers.hpp"
#include "rigs/iavf_rig.hpp"

namespace vmux::rigs {
namespace {

using namespace fake_guest::virtchnl;
using fake_guest::IavfBody;
using fake_guest::IavfMessage;

constexpr std::uint32_t kAtqh = 0x6400, kAtqlen = 0x6800, kArqh = 0x7400, kArqt = 0x7000, kAtqbal = 0x7c00,
                        kAtqt = 0x8400;
constexpr std::uint32_t kCritical = 1u << 30;

void patch16(IavfRig& rig, std::uint64_t at, std::uint16_t value) {
  std::memcpy(rig.guest->memory().data() + at, &value, sizeof value);
}

TEST(IavfAdminQueue, CompletesAMessageAndAnswersIt) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  rig.guest->send(kVersion, IavfBody{}.u32(1).u32(1).bytes());
  EXPECT_EQ(rig.guest->read(kAtqh), 1u);
  EXPECT_EQ(rig.guest->sent_flags(0) & 7u, 3u);  // DD and CMP, not ERR
  EXPECT_EQ(rig.guest->sent_result(0), 0u);
  const auto answer = rig.guest->receive_message();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->opcode, kVersion);
  EXPECT_EQ(answer->flags & 0x1007, 0x1003);  // DD, CMP, BUF
  EXPECT_EQ(rig.guest->interrupts(0), 1u);
}

TEST(IavfAdminQueue, SurvivesManyRoundsOfItsRings) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  unsigned answered = 0;
  for (unsigned i = 0; i < 100; ++i)
    answered += rig.guest->call(kVersion, IavfBody{}.u32(1).u32(1).bytes()).status == 0 ? 1 : 0;
  EXPECT_EQ(answered, 100u);
}

TEST(IavfAdminQueue, TakesAShutdownAndRefusesOtherCommands) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  rig.guest->queue_message(0, {}, 0x0003);
  rig.guest->queue_message(0, {}, 0x0110);
  rig.guest->ring_admin();
  EXPECT_EQ(rig.guest->sent_flags(0) & 7u, 3u);
  EXPECT_EQ(rig.guest->sent_flags(1) & 7u, 7u);
  EXPECT_EQ(rig.guest->sent_result(1), 17u);
  EXPECT_FALSE(rig.guest->receive_message().has_value());
}

TEST(IavfAdminQueue, RefusesABufferOutsideMemory) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  rig.guest->queue_message(kVersion, IavfBody{}.u32(1).u32(1).bytes());
  const std::uint32_t beyond = 0x7fff'0000;
  std::memcpy(rig.guest->memory().data() + rig.guest->kSendRing + 28, &beyond, sizeof beyond);
  rig.guest->ring_admin();
  EXPECT_EQ(rig.guest->sent_flags(0) & 4u, 4u);
  EXPECT_EQ(rig.guest->sent_result(0), 11u);
}

TEST(IavfAdminQueue, RefusesABufferLargerThanAnyMessage) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  rig.guest->queue_message(kVersion, IavfBody{}.u32(1).u32(1).bytes());
  patch16(rig, rig.guest->kSendRing + 4, 4097);
  rig.guest->ring_admin();
  EXPECT_EQ(rig.guest->sent_result(0), 14u);
}

TEST(IavfAdminQueue, IndexBeyondTheRingIsACriticalError) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  rig.guest->write(kAtqt, 500);
  EXPECT_EQ(rig.guest->read(kAtqlen) & kCritical, kCritical);
  EXPECT_EQ(rig.nic->nic_counters().admin_faults.get(), 1u);
}

TEST(IavfAdminQueue, RingOutsideMemoryIsACriticalErrorThatOpeningAnewHeals) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  rig.guest->write(kAtqbal, 0x7000'0000);
  rig.guest->write(kAtqt, 1);
  EXPECT_EQ(rig.guest->read(kAtqlen) & kCritical, kCritical);
  rig.guest->open_admin_queue();
  EXPECT_EQ(rig.guest->call(kVersion, IavfBody{}.u32(1).u32(1).bytes()).status, 0);
}

TEST(IavfAdminQueue, MessagesWaitWhileTheirAnswersFindNoRoom) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  rig.guest->write(kArqt, 2);  // room for two answers
  for (unsigned i = 0; i < 5; ++i)
    rig.guest->queue_message(kVersion, IavfBody{}.u32(1).u32(1).bytes());
  rig.guest->ring_admin();
  EXPECT_EQ(rig.guest->read(kAtqh), 2u);
  EXPECT_EQ(rig.guest->read(kArqh), 2u);
  rig.guest->write(kArqt, 31);
  EXPECT_EQ(rig.guest->read(kAtqh), 5u);
  EXPECT_EQ(rig.nic->nic_counters().lost_replies.get(), 0u);
}

TEST(IavfAdminQueue, AnswerLargerThanTheDriversBufferIsAnError) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  static_cast<void>(rig.guest->negotiate(0x1'0001));
  static_cast<void>(rig.guest->receive_message());  // the link event
  const std::uint32_t next = rig.guest->read(kArqh);
  patch16(rig, rig.guest->kReceiveRing + std::uint64_t{next} * 32 + 4, 8);
  const IavfMessage answer = rig.guest->call(kStats, IavfBody{}.u16(1).zeros(10).bytes());
  EXPECT_EQ(answer.status, -18);
  EXPECT_TRUE(answer.body.empty());
}

TEST(IavfAdminQueue, SilentWithoutBusMastering) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  rig.guest->set_bus_master(false);
  rig.guest->send(kVersion, IavfBody{}.u32(1).u32(1).bytes());
  EXPECT_EQ(rig.guest->interrupts(0), 0u);
  EXPECT_FALSE(rig.guest->receive_message().has_value());
}

}  // namespace
}  // namespace vmux::rigs

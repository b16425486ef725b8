// SPDX-License-Identifier: BSD-3-Clause
// vhost-user: the configuration space of a disk, and the channel by which its front end hears that it has changed.
#include <gmock/gmock.h>
#include <sys/socket.h>

#include "protocol/vhost_rig.hpp"

namespace vmux::vhost_protocol_test {
namespace {

using testing::Contains;
using testing::IsEmpty;

/// A disk's.
class VhostConfig : public testing::Test {
 protected:
  VhostConfig() {
    rig_.device.kind_of_device = 2;
    rig_.greet(kAck | kConfig | kBackendReq);
    static_cast<void>(rig_.device.take_heard());
  }
  static Bytes part(unsigned request, std::uint32_t offset, std::uint32_t size, std::uint32_t bytes, unsigned flags = 0,
                    std::uint32_t use = 0) {
    Bytes payload = Bytes{}.u32(offset).u32(size).u32(use);
    payload.resize(payload.size() + bytes);
    return message(request, payload, flags);
  }
  Rig rig_;
};

TEST_F(VhostConfig, IsTheDevices) {
  const Reply reply = rig_.ask(part(kGetConfig, 10, 2, 2));  // where a card has its MTU
  EXPECT_EQ(reply.flags, kVersion | kReply);
  ASSERT_EQ(reply.size, 14u);
  EXPECT_EQ(reply.payload.number_at(0, 4), 10u);
  EXPECT_EQ(reply.payload.number_at(4, 4), 2u);
  EXPECT_EQ(reply.payload.number_at(12, 2), 9000u);
}

TEST_F(VhostConfig, OfAnotherSizeThanItSaysIsAnError) {
  EXPECT_EQ(rig_.ask(part(kGetConfig, 0, 8, 4)).size, 0u);
  EXPECT_EQ(rig_.ask(part(kGetConfig, 0, 0xffffffff, 4)).size, 0u);
}
TEST_F(VhostConfig, BeyondWhatThereIsIsAnError) {
  EXPECT_EQ(rig_.ask(part(kGetConfig, 250, 8, 8)).size, 0u);
  EXPECT_EQ(rig_.ask(part(kGetConfig, 0xffffffff, 8, 8)).size, 0u);
}
TEST_F(VhostConfig, ThatIsTooLongEndsTheSession) {
  rig_.send(part(kGetConfig, 0, 257, 257));
  EXPECT_TRUE(rig_.is_closed());
}

TEST_F(VhostConfig, IsWrittenByTheGuest) {
  EXPECT_TRUE(is_number(rig_.ask(part(kSetConfig, 32, 1, 1, kNeedReply)), kSetConfig, 0));
  EXPECT_THAT(rig_.device.take_heard(), Contains("config 32 1"));
}
TEST_F(VhostConfig, OfAnotherHostIsNotTaken) {
  EXPECT_TRUE(is_number(rig_.ask(part(kSetConfig, 32, 1, 1, kNeedReply, /*use=*/1)), kSetConfig, 0));
  EXPECT_THAT(rig_.device.take_heard(), IsEmpty());
}
TEST_F(VhostConfig, WrittenForNoKnownReasonEndsTheSession) {
  rig_.send(part(kSetConfig, 32, 1, 1, kNeedReply, /*use=*/2));
  EXPECT_TRUE(rig_.is_closed());
}
TEST_F(VhostConfig, WrittenBeyondWhatThereIsEndsTheSession) {
  rig_.send(part(kSetConfig, 256, 1, 1, kNeedReply));
  EXPECT_TRUE(rig_.is_closed());
}

TEST_F(VhostConfig, ThatHasChangedIsToldByTheChannel) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  UniqueFd ours{ends[0]}, theirs{ends[1]};
  EXPECT_TRUE(is_number(rig_.ask(message(kSetChannel, {}, kNeedReply), {theirs.get()}), kSetChannel, 0));
  theirs.reset();
  rig_.device.signals->config_changed();
  Bytes got;
  got.resize(64);
  ASSERT_EQ(::recv(ours.get(), got.data(), got.size(), MSG_DONTWAIT), 12);
  EXPECT_EQ(got.number_at(0, 4), 2u);
  EXPECT_EQ(got.number_at(4, 4), kVersion);
  EXPECT_EQ(got.number_at(8, 4), 0u);
  // Whoever does not read keeps nobody waiting, and whoever has gone kills nobody.
  for (int i = 0; i < 10'000; ++i)
    rig_.device.signals->config_changed();
  ours.reset();
  rig_.device.signals->config_changed();
}

TEST_F(VhostConfig, ChannelGoesWithItsSession) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  UniqueFd ours{ends[0]}, theirs{ends[1]};
  rig_.ask(message(kSetChannel, {}, kNeedReply), {theirs.get()});
  theirs.reset();
  rig_.hang_up();
  char byte = 0;
  EXPECT_EQ(::recv(ours.get(), &byte, 1, MSG_DONTWAIT), 0);
}

TEST_F(VhostConfig, ChannelThatIsNoSocketIsRefused) {
  EXPECT_TRUE(is_number(rig_.ask(message(kSetChannel, {}, kNeedReply), {rig_.memory.get()}), kSetChannel, 1));
}
TEST_F(VhostConfig, ChannelWithoutADescriptorEndsTheSession) {
  rig_.send(message(kSetChannel, {}, kNeedReply));
  EXPECT_TRUE(rig_.is_closed());
}

TEST(VhostConfigOfACard, IsTheFrontEnds) {
  Rig rig;
  EXPECT_EQ(rig.ask(message(kGetProtocol)).number() & (kConfig | kBackendReq), 0u);
}

TEST(VhostCalls, AreWhatTheDeviceIsToldOf) {
  Rig rig;
  rig.greet();
  EXPECT_EQ(rig.device.signals->eventfd(1), -1);
  const UniqueFd call = new_eventfd();
  rig.send(number(kSetCall, 1), {call.get()});
  rig.settle();
  EXPECT_THAT(rig.device.other_calls, Contains(1u));
  signal_eventfd(rig.device.signals->eventfd(1));
  EXPECT_EQ(drain_eventfd(call.get()), 1u);
  rig.send(number(kSetCall, 1 | 0x100));
  rig.settle();
  EXPECT_EQ(rig.device.signals->eventfd(1), -1);
}

}  // namespace
}  // namespace vmux::vhost_protocol_test

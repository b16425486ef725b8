// SPDX-License-Identifier: BSD-3-Clause
// vhost-user: what both sides can, acknowledgements, and the state of the device as a whole.
#include "protocol/vhost_rig.hpp"

namespace vmux::vhost_protocol_test {
namespace {

TEST(VhostFeatures, OffersTheDevicesAndItsOwn) {
  Rig rig;
  EXPECT_TRUE(is_number(rig.ask(message(kGetFeatures)), kGetFeatures,
                        rig.device.offered | kVersion1 | kLogAll | kProtocolFeatures));
}

TEST(VhostFeatures, KeepsBackWhatTheFrontEndDoesItself) {
  Rig rig;
  constexpr std::uint64_t kTheirs = 1ull << 2 | 1ull << 5 | 1ull << 16 | 1ull << 17 | 1ull << 18 | 1ull << 19 |
                                    1ull << 20 | 1ull << 23 | 1ull << 33 | 1ull << 38 | 1ull << 40 | 1ull << 52 |
                                    1ull << 53 | 1ull << 57 | 1ull << 60 | 1ull << 62 | 1ull << 63;
  rig.device.offered = ~0ull;
  EXPECT_TRUE(is_number(rig.ask(message(kGetFeatures)), kGetFeatures, ~kTheirs));
}

TEST(VhostFeatures, GivesTheDeviceWhatWasAcceptedWithoutTheTransportsOwn) {
  Rig rig;
  rig.greet(kAck, kVersion1 | kEventIdx | kProtocolFeatures);
  EXPECT_EQ(rig.device.accepted, kVersion1 | kEventIdx);
}

TEST(VhostFeatures, RefusesWhatIsNotOffered) {
  Rig rig;
  rig.greet();
  EXPECT_TRUE(is_number(rig.ask(number(kSetFeatures, kVersion1 | 1ull << 17, kNeedReply)), kSetFeatures, 1));
  EXPECT_EQ(rig.device.accepted, kVersion1);
}

TEST(VhostFeatures, RefusesWhatTheDeviceDoes) {
  Rig rig;
  rig.greet();
  rig.device.accepts = false;
  EXPECT_TRUE(is_number(rig.ask(number(kSetFeatures, kVersion1 | kPacked, kNeedReply)), kSetFeatures, 1));
}

TEST(VhostFeatures, EndsTheSessionOfOneThatIsNotToHearOfARefusal) {
  Rig rig;
  rig.greet();
  rig.send(number(kSetFeatures, 1ull << 17));
  EXPECT_TRUE(rig.is_closed());
}

TEST(VhostFeatures, DoNotChangeWhileRingsRun) {
  Rig rig;
  rig.greet();
  rig.give_memory();
  rig.start_ring(0);
  EXPECT_TRUE(
      is_number(rig.ask(number(kSetFeatures, kVersion1 | kEventIdx | kProtocolFeatures, kNeedReply)), kSetFeatures, 1));
  EXPECT_TRUE(rig.device.runs[0]);
  EXPECT_TRUE(is_number(rig.ask(number(kSetFeatures, kVersion1 | kProtocolFeatures, kNeedReply)), kSetFeatures, 0));
  EXPECT_TRUE(rig.device.runs[0]);
}

TEST(VhostFeatures, OfTheProtocolAreOfferedAsTheDeviceAllows) {
  Rig rig;
  EXPECT_TRUE(
      is_number(rig.ask(message(kGetProtocol)), kGetProtocol, kMq | kLogShm | kAck | kReset | kSlots | kStatus | kMtu));
  rig.device.offered &= ~(1ull << 3);
  EXPECT_TRUE(
      is_number(rig.ask(message(kGetProtocol)), kGetProtocol, kMq | kLogShm | kAck | kReset | kSlots | kStatus));
}

TEST(VhostFeatures, AcknowledgementsAreGivenWhenAgreedAndAskedFor) {
  Rig rig;
  rig.send(number(kSetProtocol, 0));
  rig.send(number(kSetFeatures, kVersion1, kNeedReply));
  rig.settle();
  EXPECT_FALSE(rig.receive());
  rig.send(number(kSetProtocol, kAck));
  rig.send(number(kSetFeatures, kVersion1));
  rig.settle();
  EXPECT_FALSE(rig.receive());
  EXPECT_TRUE(is_number(rig.ask(number(kSetFeatures, kVersion1, kNeedReply)), kSetFeatures, 0));
}

TEST(VhostFeatures, ARequestWithAReplyOfItsOwnGetsOneOnly) {
  Rig rig;
  rig.greet();
  EXPECT_EQ(rig.ask(message(kGetFeatures, {}, kNeedReply)).request, kGetFeatures);
  EXPECT_FALSE(rig.receive());
}

TEST(VhostFeatures, ARequestOfAFeatureThatWasNotAgreedUponEndsTheSession) {
  for (const Bytes& request : {message(kGetQueueNum), message(kGetSlots), message(kGetStatus), message(kResetDevice),
                               number(kSetStatus, 1), number(kSetMtu, 1500), number(kSendRarp, 0)}) {
    Rig rig;
    rig.greet(kAck);
    rig.send(request);
    EXPECT_TRUE(rig.is_closed()) << request.number_at(0, 4);
  }
}

TEST(VhostFeatures, CountsACardsQueuesInPairsAndOthersOneByOne) {
  Rig card;
  card.greet();
  EXPECT_TRUE(is_number(card.ask(message(kGetQueueNum)), kGetQueueNum, 4));
  EXPECT_TRUE(is_number(card.ask(message(kGetSlots)), kGetSlots, 509));
}

TEST(VhostFeatures, OwnershipIsNoMatter) {
  Rig rig;
  rig.greet();
  rig.send(message(kResetOwner));
  EXPECT_TRUE(is_number(rig.ask(message(kSetOwner, {}, kNeedReply)), kSetOwner, 0));
}

TEST(VhostStatus, BeginsAtZeroForEachConnection) {
  Rig rig;
  rig.greet();
  rig.send(number(kSetStatus, 0x0b));
  EXPECT_TRUE(is_number(rig.ask(message(kGetStatus)), kGetStatus, 0x0b));
  rig.hang_up();
  rig.connect();
  rig.greet();
  EXPECT_TRUE(is_number(rig.ask(message(kGetStatus)), kGetStatus, 0));
}

TEST(VhostStatus, DoesNotShowFeaturesOkWhereTheyAreNot) {
  Rig rig;
  rig.send(number(kSetProtocol, kStatus));
  rig.send(number(kSetStatus, 0x0b));
  EXPECT_TRUE(is_number(rig.ask(message(kGetStatus)), kGetStatus, 0x03));
}

TEST(VhostStatus, OfMoreThanAByteIsRefused) {
  Rig rig;
  rig.greet();
  EXPECT_TRUE(is_number(rig.ask(number(kSetStatus, 0x100, kNeedReply)), kSetStatus, 1));
}

TEST(VhostStatus, ZeroStopsRings) {
  Rig rig;
  rig.greet();
  rig.give_memory();
  rig.start_ring(1);
  rig.send(number(kSetStatus, 0));
  rig.settle();
  EXPECT_FALSE(rig.device.runs[1]);
}

// The guest that it belonged to has been reset: nothing may run where that one's ring was.
TEST(VhostStatus, ZeroForgetsRings) {
  Rig rig;
  rig.greet();
  rig.give_memory();
  rig.start_ring(1);
  rig.send(number(kSetStatus, 0));
  rig.send(ring_state(kSetNum, 1, 16));
  rig.settle();
  EXPECT_FALSE(rig.device.runs[1]);
  rig.start_ring(1);
  EXPECT_TRUE(rig.device.runs[1]);
}

TEST(VhostReset, StopsAndDisablesAllRingsAndKeepsTheConnection) {
  Rig rig;
  rig.greet();
  rig.give_memory();
  rig.start_ring(0);
  (void)rig.device.take_heard();
  rig.send(message(kResetDevice));
  rig.settle();
  EXPECT_EQ(rig.device.take_heard(), (std::vector<std::string>{"stop 0", "reset"}));
  rig.send(number(kSetFeatures, kVersion1 | kProtocolFeatures));
  rig.start_ring(0);
  EXPECT_TRUE(rig.device.runs[0]);
}

TEST(VhostMtu, OfThePortAndBelowIsTaken) {
  Rig rig;
  rig.greet(kAck | kMtu);
  EXPECT_TRUE(is_number(rig.ask(number(kSetMtu, 9000, kNeedReply)), kSetMtu, 0));
  EXPECT_TRUE(is_number(rig.ask(number(kSetMtu, 68, kNeedReply)), kSetMtu, 0));
  EXPECT_TRUE(is_number(rig.ask(number(kSetMtu, 9001, kNeedReply)), kSetMtu, 1));
  EXPECT_TRUE(is_number(rig.ask(number(kSetMtu, 67, kNeedReply)), kSetMtu, 1));
  EXPECT_TRUE(is_number(rig.ask(number(kSetMtu, 1ull << 32 | 1500, kNeedReply)), kSetMtu, 1));
}

TEST(VhostRarp, TellsTheAddress) {
  std::vector<std::array<std::uint8_t, 6>> told;
  vhost_user::ServerOptions options;
  options.announce = [&told](const auto& address) { told.push_back(address); };
  Rig rig{std::move(options)};
  rig.greet(kRarp | kAck);
  EXPECT_TRUE(is_number(rig.ask(number(kSendRarp, 0x0000563412005452, kNeedReply)), kSendRarp, 0));
  EXPECT_EQ(told, (std::vector<std::array<std::uint8_t, 6>>{{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}}));
}

}  // namespace
}  // namespace vmux::vhost_protocol_test

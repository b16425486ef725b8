// SPDX-License-Identifier: BSD-3-Clause
// What a driver sends, over each kind of ring.
#include <gtest/gtest.h>

#include "device/virtio_net/test/frames.hpp"

namespace vmux::device::virtio_net {
namespace {

using rigs::frame_to;
using rigs::VirtioNetRig;
using Send = fake_guest::VirtioNetGuest::Send;
using test::Bytes;
using test::FrameSpec;
using test::Ip;
using test::Proto;
namespace bit = test::bit;

class VirtioNetTx : public ::testing::TestWithParam<test::Rings> {
 protected:
  VirtioNetTx() { rig.guest->bring_up({.features = ~GetParam().without}); }
  VirtioNetRig rig;
  Bytes frame = frame_to({0x52, 0x54, 0, 0, 0, 9}, 200);
};
INSTANTIATE_TEST_SUITE_P(, VirtioNetTx, ::testing::ValuesIn(test::kRings),
                         [](const auto& each) { return test::name_of(each.param); });

TEST_P(VirtioNetTx, SendsAFrameInOneBuffer) {
  rig.guest->send(frame);
  const auto sent = rig.take_bytes();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0], frame);
  EXPECT_EQ(rig.guest->reap(), 1u);
}

TEST_P(VirtioNetTx, SendsFramesOfEveryKindOfChain) {
  rig.guest->send(frame, {.own_header = true});
  rig.guest->send(frame, {.parts = 5});
  rig.guest->send(frame, {.parts = 3, .own_header = true, .is_indirect = true});
  const auto sent = rig.take_bytes();
  EXPECT_EQ(sent, (std::vector<Bytes>{frame, frame, frame}));
  EXPECT_EQ(rig.guest->reap(), 3u);
}

TEST_P(VirtioNetTx, SendsWhatHasNotBeenCompletedAgain) {
  rig.guest->send(frame);
  rig.guest->send(frame_to({0x52, 0x54, 0, 0, 0, 9}, 300));
  std::array<packet::FrameView, 8> views;
  ASSERT_EQ(rig.nic->take(views), 2u);
  port::test::finish(*rig.nic, 1);
  EXPECT_EQ(rig.guest->reap(), 1u);
  EXPECT_EQ(rig.take_bytes().at(0).size(), 300u);
  EXPECT_EQ(rig.guest->reap(), 1u);
}

TEST_P(VirtioNetTx, SendsManyTimesRoundTheRing) {
  std::size_t sent = 0;
  for (unsigned round = 0; round < 100; ++round) {
    for (unsigned i = 0; i < 7; ++i)
      rig.guest->send(frame, {.parts = 1 + i % 3});
    sent += rig.take_bytes().size();
    ASSERT_EQ(rig.guest->reap(), 7u);
  }
  EXPECT_EQ(sent, 700u);
  EXPECT_EQ(rig.model().tx(0).frames.get(), 700u);
  EXPECT_EQ(rig.model().tx(0).guest_fault.get(), 0u);
}

TEST_P(VirtioNetTx, FinishesAChecksumThatTheDriverLeft) {
  const FrameSpec spec{.ip = Ip::v6, .proto = Proto::udp};
  const auto payload = packet::test::pattern(333);
  rig.guest->send(test::undone(spec, payload), {.header = test::net_header(spec)});
  const auto sent = rig.take_bytes();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0], test::to_bytes(packet::test::whole_frame(spec, payload)));
}

TEST_P(VirtioNetTx, CutsASuperFrame) {
  const FrameSpec spec{};
  const auto payload = packet::test::pattern(4000);
  rig.guest->send(test::undone(spec, payload), {.header = test::net_header(spec, 1, 1448), .parts = 4});
  const auto sent = rig.take();
  ASSERT_EQ(sent.size(), 3u);
  EXPECT_EQ(sent[0].offload.gso, packet::Gso::tcp4);
  EXPECT_EQ(sent[0].bytes.size(), packet::test::header_size(spec) + 1448u);
  EXPECT_EQ(sent[2].bytes.size(), packet::test::header_size(spec) + 4000u - 2 * 1448u);
}

// It would pass whole to who takes super-frames, and Linux drops what has such fields.
TEST_P(VirtioNetTx, LosesASuperFrameWhoseChecksumIsNotItsOwn) {
  const FrameSpec spec{};
  for (const std::size_t field : {6u, 8u}) {  // csum_start, csum_offset
    auto header = test::net_header(spec, 1, 1448);
    header[field] = static_cast<std::uint8_t>(header[field] + 2);
    rig.guest->send(test::undone(spec, packet::test::pattern(4000)), {.header = header});
    std::array<packet::FrameView, 8> views;
    ASSERT_EQ(rig.nic->take(views), 1u);
    EXPECT_EQ(views[0].length, 0u);
    port::test::finish(*rig.nic, 1);
    EXPECT_EQ(rig.guest->reap(), 1u);
  }
}

TEST_P(VirtioNetTx, LosesAFrameThatIsNotWhatItsHeaderSays) {
  const FrameSpec udp{.proto = Proto::udp};
  rig.guest->send(test::undone(udp, packet::test::pattern(4000)), {.header = test::net_header(udp, 1, 1448)});
  std::array<packet::FrameView, 8> views;
  ASSERT_EQ(rig.nic->take(views), 1u);
  EXPECT_EQ(views[0].length, 0u);
  port::test::finish(*rig.nic, 1);
  EXPECT_EQ(rig.guest->reap(), 1u);
  EXPECT_EQ(rig.model().tx(0).errors.get(), 1u);
  EXPECT_EQ(rig.model().tx(0).guest_fault.get(), 0u);
}

TEST_P(VirtioNetTx, CountsAFrameThatIsLostOnceHoweverOftenItIsSeen) {
  const FrameSpec udp{.proto = Proto::udp};
  rig.guest->send(test::to_bytes(packet::test::whole_frame({}, packet::test::pattern(100))));
  rig.guest->send(test::undone(udp, packet::test::pattern(4000)), {.header = test::net_header(udp, 1, 1448)});
  std::array<packet::FrameView, 8> views;
  ASSERT_EQ(rig.nic->take(views), 2u);
  port::test::finish(*rig.nic, 1);
  EXPECT_EQ(rig.model().tx(0).errors.get(), 0u);
  ASSERT_EQ(rig.nic->take(views), 1u);
  EXPECT_EQ(views[0].length, 0u);
  ASSERT_EQ(rig.nic->take(views), 1u);
  port::test::finish(*rig.nic, 1);
  EXPECT_EQ(rig.model().tx(0).errors.get(), 1u);
}

TEST_P(VirtioNetTx, LosesAFrameWhoseChecksumFieldLiesOutside) {
  Send how;
  how.header = {1, 0, 0, 0, 0, 0, 190, 0, 100, 0, 0, 0};
  rig.guest->send(frame, how);
  std::array<packet::FrameView, 8> views;
  ASSERT_EQ(rig.nic->take(views), 1u);
  EXPECT_EQ(views[0].length, 0u);
}

TEST_P(VirtioNetTx, LosesAFrameThatIsTooShortToBeOne) {
  rig.guest->send(frame_to({0x52, 0x54, 0, 0, 0, 9}, 14));
  EXPECT_EQ(rig.take_bytes().at(0).size(), 14u);
  Bytes shorter = frame;
  shorter.resize(13);
  rig.guest->send(shorter);
  std::array<packet::FrameView, 8> views;
  ASSERT_EQ(rig.nic->take(views), 1u);
  EXPECT_EQ(views[0].length, 0u);
}

TEST_P(VirtioNetTx, StopsAtAChainWithoutAHeader) {
  rig.guest->ring(1).post({{0x60'0000, 11, false}}, 0);
  EXPECT_EQ(rig.take_bytes().size(), 0u);
  EXPECT_EQ(rig.model().tx(0).guest_fault.get(), 1u);
  rig.guest->bring_up({.features = ~GetParam().without});
  rig.guest->send(frame);
  EXPECT_EQ(rig.take_bytes().size(), 1u);
}

TEST_P(VirtioNetTx, StopsAtABufferOutsideMemoryAndTheOtherQueuesGoOn) {
  rig.guest->bring_up({.features = ~GetParam().without, .pairs = 2});
  rig.guest->ring(1).post({{0x7000'0000, 100, false}}, 0);
  EXPECT_EQ(rig.take_bytes().size(), 0u);
  EXPECT_EQ(rig.model().tx(0).guest_fault.get(), 1u);
  rig.guest->send(frame, {}, 1);
  EXPECT_EQ(rig.take_bytes().size(), 1u);
}

TEST_P(VirtioNetTx, InterruptsWhenTheDriverWantsToHear) {
  rig.guest->ring(1).want_interrupt(rig.guest->has(bit::event_idx));
  static_cast<void>(rig.guest->interrupts(2));
  rig.guest->send(frame);
  rig.take_bytes();
  EXPECT_EQ(rig.guest->interrupts(2), 1u);
  rig.guest->ring(1).refuse_interrupts(rig.guest->has(bit::event_idx));
  const std::uint64_t before = rig.model().tx(0).interrupts_suppressed.get();
  rig.guest->send(frame);
  rig.take_bytes();
  EXPECT_EQ(rig.guest->interrupts(2), 0u);
  EXPECT_EQ(rig.model().tx(0).interrupts_suppressed.get(), before + 1);
}

TEST_P(VirtioNetTx, AsksForKicksWhenItFindsNothingAndNoMoreWhenItFindsSomething) {
  rig.take_bytes();
  EXPECT_FALSE(rig.nic->needs_polling());
  rig.guest->queue(frame, {});
  rig.guest->ring(1).publish();
  EXPECT_TRUE(rig.guest->ring(1).wants_kick(rig.guest->has(bit::event_idx)));
  rig.take_bytes();
  rig.guest->queue(frame, {});
  rig.guest->ring(1).publish();
  EXPECT_FALSE(rig.guest->ring(1).wants_kick(rig.guest->has(bit::event_idx)));
}

TEST(VirtioNetAnnounce, SendsAReverseRequestForTheStationOnce) {
  VirtioNetRig rig;
  rig.guest->bring_up();
  rig.guest->send(frame_to({2, 0, 0, 0, 0, 9}, 100));
  rig.model().announce(std::array<std::uint8_t, 6>{2, 0, 0, 0, 0, 7});
  const auto sent = rig.take_bytes();
  ASSERT_EQ(sent.size(), 1u);
  Bytes expected = frame_to({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 14, 0x8035);
  for (std::size_t i = 0; i < 6; ++i)
    expected[6 + i] = std::byte{std::array<std::uint8_t, 6>{2, 0, 0, 0, 0, 7}[i]};
  for (const unsigned value :
       {0u, 1u, 8u, 0u, 6u, 4u, 0u, 3u, 2u, 0u, 0u, 0u, 0u, 7u, 0u, 0u, 0u, 0u, 2u, 0u, 0u, 0u, 0u, 7u})
    expected.push_back(std::byte(value));
  expected.resize(60);
  EXPECT_EQ(sent[0], expected);
  EXPECT_EQ(rig.take_bytes().at(0).size(), 100u);  // the driver's frame has waited
  EXPECT_EQ(rig.guest->reap(), 1u);
}

TEST(VirtioNetTxPolled, NeverAsksForKicks) {
  VirtioNetRig rig{VirtioNetRig::Doorbell::poll};
  rig.guest->bring_up({.features = ~bit::packed});
  EXPECT_TRUE(rig.nic->needs_polling());
  rig.take_bytes();
  rig.guest->queue(frame_to({2, 0, 0, 0, 0, 9}, 100), {});
  rig.guest->ring(1).publish();
  EXPECT_FALSE(rig.guest->ring(1).wants_kick(true));
  EXPECT_EQ(rig.take_bytes().size(), 1u);
}

TEST(VirtioNetTxOffload, IsNotDoneWhenItWasNotAgreedUpon) {
  VirtioNetRig rig;
  rig.guest->bring_up({.features = ~(bit::host_tso4 | bit::csum)});
  const FrameSpec spec{};
  rig.guest->send(test::undone(spec, packet::test::pattern(100)), {.header = test::net_header(spec)});
  std::array<packet::FrameView, 8> views;
  ASSERT_EQ(rig.nic->take(views), 1u);
  EXPECT_EQ(views[0].length, 0u);
}

}  // namespace
}  // namespace vmux::device::virtio_net

// SPDX-License-Identifier: BSD-3-Clause
// What arrives at a driver, over each kind of ring.
#include <gtest/gtest.h>

#include "device/virtio_net/test/frames.hpp"
#include "rigs/allocations.hpp"

namespace vmux::device::virtio_net {
namespace {

using rigs::frame_to;
using rigs::frame_to_us;
using rigs::VirtioNetRig;
using test::Bytes;
using test::FrameSpec;
using test::Ip;
using test::Proto;
namespace bit = test::bit;

class VirtioNetRx : public ::testing::TestWithParam<test::Rings> {
 protected:
  VirtioNetRx() { bring_up(); }
  void bring_up(std::uint64_t without = 0, std::uint32_t buffer = 2048, unsigned pairs = 1) {
    rig.guest->bring_up(
        {.features = ~(GetParam().without | bit::hash_report | without), .pairs = pairs, .buffer = buffer});
  }
  VirtioNetRig rig;
};
INSTANTIATE_TEST_SUITE_P(, VirtioNetRx, ::testing::ValuesIn(test::kRings),
                         [](const auto& each) { return test::name_of(each.param); });

TEST_P(VirtioNetRx, StoresAFrameBehindItsHeader) {
  EXPECT_EQ(rig.arrive(frame_to_us(300)), 1u);
  const auto frame = rig.guest->receive();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->bytes, frame_to_us(300));
  EXPECT_EQ(frame->field(0, 8), 0u);
  EXPECT_EQ(frame->field(10, 2), 1u);
}

TEST_P(VirtioNetRx, SpreadsALongFrameOverChains) {
  bring_up(0, 512);
  rig.arrive(frame_to_us(1500));
  const auto frame = rig.guest->receive();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->bytes, frame_to_us(1500));
  EXPECT_EQ(frame->chains, 3u);
}

TEST_P(VirtioNetRx, DropsWhatNoChainHasRoomFor) {
  bring_up(bit::mergeable, 512);
  EXPECT_EQ(rig.arrive(frame_to_us(1500)), 1u);
  EXPECT_FALSE(rig.guest->receive());
  EXPECT_EQ(rig.nic->drops(port::DropReason::too_long), 1u);
  EXPECT_EQ(rig.arrive(frame_to_us(500)), 1u);
  EXPECT_EQ(rig.guest->receive()->bytes, frame_to_us(500));
}

TEST_P(VirtioNetRx, DropsWhatFindsNoChainAndGoesOn) {
  for (unsigned i = 0; i < 70; ++i)
    rig.arrive(frame_to_us(100 + i));
  EXPECT_EQ(rig.nic->drops(port::DropReason::no_room), 6u);
  for (unsigned i = 0; i < 64; ++i)
    ASSERT_EQ(rig.guest->receive()->bytes.size(), 100 + i);
  rig.guest->refill();
  rig.arrive(frame_to_us(99));
  EXPECT_EQ(rig.guest->receive()->bytes.size(), 99u);
}

TEST_P(VirtioNetRx, GoesManyTimesRoundTheRing) {
  bring_up(0, 512);
  for (unsigned i = 0; i < 500; ++i) {
    rig.arrive(frame_to_us(60 + (i * 37) % 1400));
    const auto frame = rig.guest->receive();
    ASSERT_TRUE(frame) << i;
    ASSERT_EQ(frame->bytes, frame_to_us(60 + (i * 37) % 1400)) << i;
    rig.guest->refill();
  }
  EXPECT_EQ(rig.model().rx(0).guest_fault.get(), 0u);
}

TEST_P(VirtioNetRx, PassesAnUnfinishedChecksumOn) {
  const FrameSpec spec{.proto = Proto::udp};
  const auto payload = packet::test::pattern(100);
  rig.arrive(test::undone(spec, payload), test::offload_of(spec));
  const auto frame = rig.guest->receive();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->bytes, test::undone(spec, payload));
  EXPECT_EQ(frame->field(0, 1), 1u);
  EXPECT_EQ(frame->field(6, 2), 34u);
  EXPECT_EQ(frame->field(8, 2), 6u);
}

TEST_P(VirtioNetRx, PassesASuperFrameOnWhole) {
  bring_up(0, 1024);
  const FrameSpec spec{.ip = Ip::v6, .flags = 0x90};  // CWR
  const auto payload = packet::test::pattern(20'000);
  rig.arrive(test::undone(spec, payload), test::offload_of(spec, packet::Gso::tcp6, 1440), 128);
  const auto frame = rig.guest->receive();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->bytes, test::undone(spec, payload));
  EXPECT_EQ(frame->chains, 20u);
  EXPECT_EQ(frame->field(1, 1), 0x84u);  // TCP over IPv6, ECN
  EXPECT_EQ(frame->field(2, 2), packet::test::header_size(spec));
  EXPECT_EQ(frame->field(4, 2), 1440u);
}

TEST_P(VirtioNetRx, CutsASuperFrameForADriverThatTakesNone) {
  bring_up(bit::guest_tso4);
  const FrameSpec spec{};
  const auto payload = packet::test::pattern(2000);
  rig.arrive(test::undone(spec, payload), test::offload_of(spec, packet::Gso::tcp4, 1448), 128);
  ASSERT_TRUE(rig.guest->receive());
  const auto second = rig.guest->receive();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->bytes.size(), packet::test::header_size(spec) + 2000u - 1448u);
  EXPECT_EQ(second->field(0, 1), 1u);  // its checksum may be left, and is
}

TEST_P(VirtioNetRx, FinishesTheChecksumForADriverThatTakesNone) {
  bring_up(bit::guest_csum);
  const FrameSpec spec{.proto = Proto::udp};
  const auto payload = packet::test::pattern(100);
  rig.arrive(test::undone(spec, payload), test::offload_of(spec));
  const auto frame = rig.guest->receive();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->bytes, test::to_bytes(packet::test::whole_frame(spec, payload)));
  EXPECT_EQ(frame->field(0, 1), 0u);  // and says nothing of it: the driver does not know the flag
}

TEST_P(VirtioNetRx, SaysWhenAChecksumIsKnownToBeRight) {
  rig.arrive(frame_to_us(100), {.checksum_verified = true});
  EXPECT_EQ(rig.guest->receive()->field(0, 1), 2u);
}

TEST_P(VirtioNetRx, PutsATagThatIsBesideTheBytesIntoThem) {
  rig.arrive(frame_to_us(100), {.has_vlan = true, .vlan_tci = 0x2005});
  const auto frame = rig.guest->receive();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->bytes.size(), 104u);
  EXPECT_EQ(std::to_integer<unsigned>(frame->bytes[15]), 5u);
}

TEST_P(VirtioNetRx, InterruptsOnceARound) {
  rig.guest->ring(0).want_interrupt(rig.guest->has(bit::event_idx));
  static_cast<void>(rig.guest->interrupts(1));
  rig.arrive(frame_to_us(100));
  EXPECT_EQ(rig.guest->interrupts(1), 1u);
  rig.guest->ring(0).refuse_interrupts(rig.guest->has(bit::event_idx));
  const std::uint64_t before = rig.model().rx(0).interrupts_suppressed.get();
  rig.arrive(frame_to_us(100));
  EXPECT_EQ(rig.guest->interrupts(1), 0u);
  EXPECT_EQ(rig.model().rx(0).interrupts_suppressed.get(), before + 1);
}

TEST_P(VirtioNetRx, StopsAtABufferOutsideMemory) {
  bring_up();
  while (rig.guest->receive()) {
  }
  VirtioNetRig other;
  other.guest->bring_up({.features = ~GetParam().without, .fill = false});
  other.guest->ring(0).post({{0x7000'0000, 2048, true}}, 0);
  EXPECT_EQ(other.arrive(frame_to_us(100)), 1u);
  EXPECT_EQ(other.model().rx(0).guest_fault.get(), 1u);
  EXPECT_EQ(other.nic->drops(port::DropReason::no_room), 1u);
}

TEST_P(VirtioNetRx, StopsAtAChainThatIsNotToBeWritten) {
  VirtioNetRig other;
  other.guest->bring_up({.features = ~GetParam().without, .fill = false});
  other.guest->ring(0).post({{0x60'0000, 2048, false}}, 0);
  other.arrive(frame_to_us(100));
  EXPECT_EQ(other.model().rx(0).guest_fault.get(), 1u);
}

TEST_P(VirtioNetRx, MovesFramesWithoutAllocating) {
  rig.guest->send(frame_to_us(100));
  rig.arrive(frame_to_us(100));
  const Bytes frame = frame_to_us(1400);
  const packet::Slice payload = std::span{frame}.subspan(128);
  packet::FrameView view{
      .header = std::span{frame}.first(128), .payload = std::span{&payload, 1}, .length = 1400, .offload = {}};
  std::array<packet::FrameView, 4> views;
  for (unsigned i = 0; i < 20; ++i)
    rig.guest->queue(frame, {});
  rig.guest->ring(1).publish();
  const rigs::CountAllocations allocations;
  for (unsigned i = 0; i < 10; ++i) {
    const port::test::Round round{*rig.nic};
    const std::size_t count = rig.nic->take(views);
    static_cast<void>(rig.nic->deliver(std::span{views}.first(count)));
    static_cast<void>(rig.nic->deliver(std::span{&view, 1}));
    port::test::finish(*rig.nic, count);
  }
  EXPECT_EQ(allocations.seen(), 0u);
}

TEST_P(VirtioNetRx, GivesTheHashWhereItWasAgreedUpon) {
  rig.guest->bring_up({.features = ~GetParam().without});
  std::vector<std::uint8_t> config{0x3f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40};
  for (unsigned i = 0; i < 40; ++i)
    config.push_back(static_cast<std::uint8_t>(i == 0 ? 0x80 : 0));  // the hash is bit 0 to 31 of the input
  ASSERT_EQ(rig.guest->command(4, 2, config), 0);
  rig.arrive(test::to_bytes(packet::test::whole_frame({}, packet::test::pattern(50))), {}, 128);
  const auto frame = rig.guest->receive();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->field(16, 2), 2u);        // TCP over IPv4
  EXPECT_EQ(frame->field(12, 4) >> 31, 0u);  // 10.0.0.1 begins with a 0
}

TEST_P(VirtioNetRx, SendsFlowsToQueues) {
  bring_up(0, 2048, 4);
  unsigned queues = 0;
  for (unsigned flow = 0; flow < 40; ++flow) {
    auto frame = packet::test::whole_frame({}, packet::test::pattern(50));
    frame[34] = static_cast<std::uint8_t>(flow);
    rig.arrive(test::to_bytes(frame), {}, 128);
  }
  for (unsigned pair = 0; pair < 4; ++pair)
    queues += rig.guest->receive(pair) ? 1 : 0;
  EXPECT_EQ(queues, 4u);
}

}  // namespace
}  // namespace vmux::device::virtio_net

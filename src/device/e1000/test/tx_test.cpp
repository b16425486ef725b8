// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include "rigs/e1000_rig.hpp"

namespace vmux::rigs {
namespace {

TEST(E1000Tx, LegacyFrameArrivesAndIsReportedBack) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->send(broadcast(100), {.legacy = true});
  const auto sent = rig.take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].bytes, broadcast(100));
  EXPECT_EQ(rig.guest->reap(), 1u);
  EXPECT_EQ(rig.guest->read(0x3810), 1u);
}

TEST(E1000Tx, MappedDoorbellIsFoundByLooking) {
  E1000Rig rig{Doorbell::poll};
  rig.guest->bring_up({.mapped_doorbells = true});
  rig.guest->send(broadcast(1514));
  const auto sent = rig.take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].bytes, broadcast(1514));
  EXPECT_EQ(rig.guest->read_mapped(0x3810), 1u);
}

TEST(E1000Tx, FrameOfManyDescriptorsIsOne) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->send(broadcast(1000), {.first_part = 10});
  const auto sent = rig.take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].bytes, broadcast(1000));
  EXPECT_EQ(sent[0].header, 128u);
}

TEST(E1000Tx, FrameWaitsForItsLastDescriptor) {
  E1000Rig rig;
  rig.guest->bring_up();
  const Bytes frame = broadcast(200);
  const std::uint64_t begin = rig.guest->tx_ring() + 0x100000 - 0x10000;  // some memory of the guest
  std::memcpy(rig.guest->memory().data() + begin, frame.data(), frame.size());
  rig.guest->queue_raw(begin, (0x30ull << 24) | (1ull << 20) | 100);
  rig.guest->ring_doorbell();
  EXPECT_EQ(rig.take().size(), 0u);
  rig.guest->queue_raw(begin + 100, (0x39ull << 24) | (1ull << 20) | 100);
  rig.guest->ring_doorbell();
  const auto sent = rig.take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].bytes, frame);
}

TEST(E1000Tx, ShortFrameIsPadded) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->send(broadcast(20));
  const auto sent = rig.take();
  ASSERT_EQ(sent.size(), 1u);
  ASSERT_EQ(sent[0].bytes.size(), 60u);
  EXPECT_EQ(sent[0].bytes[19], std::byte{19});
  EXPECT_EQ(sent[0].bytes[20], std::byte{0});
}

TEST(E1000Tx, RingWrapsManyTimes) {
  E1000Rig rig;
  rig.guest->bring_up({.tx_descriptors = 8});
  for (unsigned i = 0; i < 100; ++i) {
    rig.guest->send(broadcast(60 + i));
    ASSERT_EQ(rig.take().at(0).bytes.size(), 60 + i);
    ASSERT_EQ(rig.guest->reap(), 1u);
  }
}

TEST(E1000Tx, FullRingComesInOneBurst) {
  E1000Rig rig;
  rig.guest->bring_up({.tx_descriptors = 40});
  for (unsigned i = 0; i < 39; ++i)
    rig.guest->queue(broadcast(60 + i));
  rig.guest->ring_doorbell();
  EXPECT_EQ(rig.take().size(), 32u);
  EXPECT_EQ(rig.take().size(), 7u);
  EXPECT_EQ(rig.guest->reap(), 39u);
}

TEST(E1000Tx, UncompletedFramesAreSeenAgain) {
  E1000Rig rig;
  rig.guest->bring_up();
  for (unsigned size = 60; size < 63; ++size)
    rig.guest->queue(broadcast(size));
  rig.guest->ring_doorbell();
  std::array<packet::FrameView, 8> views;
  ASSERT_EQ(rig.nic->port().take(views), 3u);
  port::test::finish(rig.nic->port(), 1);
  EXPECT_EQ(rig.guest->reap(), 1u);
  ASSERT_EQ(rig.nic->port().take(views), 2u);
  EXPECT_EQ(views[0].length, 61u);
}

TEST(E1000Tx, AFrameThatIsLostIsCountedOnceHoweverOftenItIsSeen) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->queue(broadcast(60));
  const std::uint64_t too_long = (1ull << 29) | (1ull << 20) | (9ull << 24) | 0xf'ffff;  // DEXT, data, EOP and RS
  rig.guest->queue_raw(rig.guest->stage(broadcast(60)), too_long);
  rig.guest->queue(broadcast(61));
  rig.guest->ring_doorbell();
  std::array<packet::FrameView, 8> views;
  ASSERT_EQ(rig.nic->port().take(views), 2u);
  port::test::finish(rig.nic->port(), 1);
  EXPECT_EQ(rig.nic->nic_counters().tx_lost.get(), 0u);
  ASSERT_EQ(rig.nic->port().take(views), 1u);
  ASSERT_EQ(rig.nic->port().take(views), 1u);
  port::test::finish(rig.nic->port(), 1);
  EXPECT_EQ(rig.nic->nic_counters().tx_lost.get(), 1u);
}

TEST(E1000Tx, TransportChecksumIsLeftToTheReceiver) {
  E1000Rig rig;
  rig.guest->bring_up();
  Bytes frame = tcp_frame(101);
  put16(frame, 50, tcp_pseudo_sum(frame, true));
  rig.guest->send(frame, {.transport_checksum = true});
  const auto sent = rig.take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(sent[0].offload.needs_checksum);
  EXPECT_EQ(sent[0].offload.csum_start, 34u);
  EXPECT_EQ(sent[0].offload.csum_offset, 16u);
  EXPECT_EQ(tcp_sum_of(sent[0].bytes), 0xffffu);
}

TEST(E1000Tx, LegacyChecksumInsertionWorksToo) {
  E1000Rig rig;
  rig.guest->bring_up();
  Bytes frame = tcp_frame(64);
  put16(frame, 50, tcp_pseudo_sum(frame, true));
  rig.guest->send(frame, {.legacy = true, .transport_checksum = true});
  const auto sent = rig.take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(tcp_sum_of(sent[0].bytes), 0xffffu);
}

TEST(E1000Tx, IpChecksumIsInsertedIntoTheHeader) {
  E1000Rig rig;
  rig.guest->bring_up();
  Bytes frame = tcp_frame(10);
  const unsigned right = get16(frame, 24);
  put16(frame, 24, 0);
  rig.guest->send(frame, {.ip_checksum = true});
  EXPECT_EQ(get16(rig.take().at(0).bytes, 24), right);
}

TEST(E1000Tx, SuperFrameIsCutIntoRightSegments) {
  E1000Rig rig;
  rig.guest->bring_up();
  Bytes frame = tcp_frame(4000);
  put16(frame, 16, 0);  // as drivers leave it: no total length, no IP checksum
  put16(frame, 24, 0);
  put16(frame, 50, tcp_pseudo_sum(frame, false));
  rig.guest->send(frame, {.ip_checksum = true, .transport_checksum = true, .segment = 1460, .first_part = 54});
  const auto sent = rig.take();
  ASSERT_EQ(sent.size(), 3u);
  EXPECT_EQ(sent[0].offload.gso, packet::Gso::tcp4);
  EXPECT_EQ(sent[0].bytes.size(), 1514u);
  EXPECT_EQ(sent[2].bytes.size(), 54u + 4000 - 2 * 1460);
  for (const Sent& piece : sent)
    EXPECT_EQ(tcp_sum_of(piece.bytes), 0xffffu);
  EXPECT_EQ(get16(sent[1].bytes, 40), 1u + 1460);  // sequence number
  EXPECT_EQ(get16(sent[0].bytes, 16), 1500u);
  EXPECT_EQ(rig.guest->read(0x4080), 3u);                    // GPTC
  EXPECT_EQ(rig.guest->read(0x40f8), 1u);                    // TSCTC
  EXPECT_EQ(rig.guest->read(0x4090), 3 * (54u + 4) + 4000);  // GOTCL
}

TEST(E1000Tx, SegmentationOfASmallFrameSendsItWhole) {
  E1000Rig rig;
  rig.guest->bring_up();
  Bytes frame = tcp_frame(100);
  put16(frame, 50, tcp_pseudo_sum(frame, false));
  rig.guest->send(frame, {.transport_checksum = true, .segment = 1460});
  const auto sent = rig.take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].offload.gso, packet::Gso::none);
  EXPECT_EQ(tcp_sum_of(sent[0].bytes), 0xffffu);
}

TEST(E1000Tx, ContextStaysForTheFramesThatFollow) {
  E1000Rig rig;
  rig.guest->bring_up();
  Bytes frame = tcp_frame(32);
  put16(frame, 50, tcp_pseudo_sum(frame, true));
  rig.guest->send(frame, {.transport_checksum = true});
  static_cast<void>(rig.take());
  const std::uint64_t at = 0x180000;
  std::memcpy(rig.guest->memory().data() + at, frame.data(), frame.size());
  rig.guest->queue_raw(at, (0x200ull << 32) | (0x29ull << 24) | (1ull << 20) | frame.size());
  rig.guest->ring_doorbell();
  EXPECT_EQ(tcp_sum_of(rig.take().at(0).bytes), 0xffffu);
}

TEST(E1000Tx, VlanTagGoesBesideTheBytesInVlanModeOnly) {
  E1000Rig rig;
  rig.guest->bring_up({.control_bits = 0x4000'0000});
  rig.guest->send(broadcast(100), {.vlan = 0x6007});
  auto sent = rig.take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(sent[0].offload.has_vlan);
  EXPECT_EQ(get16(sent[0].bytes, 12), 0x8100u);
  EXPECT_EQ(get16(sent[0].bytes, 14), 0x6007u);
  rig.guest->bring_up();
  rig.guest->send(broadcast(100), {.vlan = 0x6007});
  EXPECT_FALSE(rig.take().at(0).offload.has_vlan);
}

TEST(E1000Tx, StatisticsCountFramesOctetsAndKinds) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->queue(broadcast(100));
  rig.guest->queue(frame_to({0x01, 0, 0x5e, 0, 0, 1}, 1514));
  rig.guest->ring_doorbell();
  static_cast<void>(rig.take());
  EXPECT_EQ(rig.guest->read(0x4080), 2u);               // GPTC
  EXPECT_EQ(rig.guest->read(0x4080), 0u);               // cleared
  EXPECT_EQ(rig.guest->read(0x40f4), 1u);               // BPTC
  EXPECT_EQ(rig.guest->read(0x40f0), 1u);               // MPTC
  EXPECT_EQ(rig.guest->read(0x40dc), 1u);               // PTC127
  EXPECT_EQ(rig.guest->read(0x40ec), 1u);               // PTC1522
  EXPECT_EQ(rig.guest->read(0x4090), 100u + 1514 + 8);  // GOTCL stays until
  EXPECT_EQ(rig.guest->read(0x4094), 0u);               // the upper half is read
  EXPECT_EQ(rig.guest->read(0x4090), 0u);
}

TEST(E1000Tx, NothingMovesWhileDisabledUnpluggedOrWithoutBusMastering) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->send(broadcast(60));
  rig.nic->set_link(false);
  EXPECT_EQ(rig.take().size(), 0u);
  rig.nic->set_link(true);
  rig.guest->set_bus_master(false);
  EXPECT_EQ(rig.take().size(), 0u);
  rig.guest->set_bus_master(true);
  rig.guest->write(0x400, 0x8);
  EXPECT_EQ(rig.take().size(), 0u);
  rig.guest->write(0x400, 0xa);
  EXPECT_EQ(rig.take().size(), 1u);
}

TEST(E1000Tx, DriverMayMoveTheHeadWithoutATrap) {
  E1000Rig rig{Doorbell::poll};
  rig.guest->bring_up({.mapped_doorbells = true});
  rig.guest->send(broadcast(60));
  static_cast<void>(rig.take());
  rig.guest->write_mapped(0x3810, 0);  // TDH back to the start, tail as it was: the frame is there again
  EXPECT_EQ(rig.take().size(), 1u);
}

// --- what the part's DMA cannot reach: the queue stops, is counted, and a reset revives it ---

struct Lie {
  const char* name;
  std::uint64_t low, high;
};
void PrintTo(const Lie& lie, std::ostream* out) { *out << lie.name; }
class E1000TxLie : public testing::TestWithParam<Lie> {};
TEST_P(E1000TxLie, StopsTheQueueUntilAReset) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->queue_raw(GetParam().low, GetParam().high);
  rig.guest->send(broadcast(60));
  EXPECT_EQ(rig.take().size(), 0u);
  EXPECT_EQ(rig.take().size(), 0u);
  EXPECT_EQ(rig.nic->nic_counters().tx_guest_fault.get(), 1u);
  EXPECT_EQ(rig.guest->reap(), 0u);
  EXPECT_EQ(rig.arrive(broadcast(60)), 1u);  // the other direction lives
  rig.guest->bring_up();
  rig.guest->send(broadcast(60));
  EXPECT_EQ(rig.take().size(), 1u);
}
INSTANTIATE_TEST_SUITE_P(
    Descriptors, E1000TxLie,
    testing::Values(Lie{"buffer_outside", E1000Guest::kMemory, (0x31ull << 24) | (1ull << 20) | 64},
                    Lie{"buffer_across_the_end", E1000Guest::kMemory - 32, (0x31ull << 24) | (1ull << 20) | 64},
                    Lie{"buffer_wraps", ~0ull - 8, (0x31ull << 24) | (1ull << 20) | 64}),
    [](const auto& row) { return row.param.name; });

TEST(E1000Tx, RingOutsideMemoryStops) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->write(0x3804, 0x7fff);
  rig.guest->send(broadcast(60));
  EXPECT_EQ(rig.take().size(), 0u);
  EXPECT_EQ(rig.nic->nic_counters().tx_guest_fault.get(), 1u);
}

TEST(E1000Tx, EnableBitRevivesAStoppedQueue) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->write(0x3804, 0x7fff);
  rig.guest->send(broadcast(60));
  static_cast<void>(rig.take());
  rig.guest->write(0x3804, 0);
  rig.guest->write(0x400, 0x8);
  rig.guest->write(0x400, 0xa);
  rig.guest->send(broadcast(60));
  EXPECT_EQ(rig.take().size(), 2u);
}

}  // namespace
}  // namespace vmux::rigs

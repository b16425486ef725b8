// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include "rigs/e1000_rig.hpp"

namespace vmux::rigs {
namespace {

constexpr std::uint32_t kUpe = 0x8, kMpe = 0x10, kLpe = 0x20, kVfe = 1u << 18, kVme = 1u << 30;
constexpr std::uint8_t kDd = 0x01, kEop = 0x02, kIxsm = 0x04, kVp = 0x08, kTcpcs = 0x20, kIpcs = 0x40, kPif = 0x80;
constexpr std::uint8_t kTcpe = 0x20, kIpe = 0x40;

TEST(E1000Rx, FrameForUsArrivesWhole) {
  E1000Rig rig;
  rig.guest->bring_up();
  EXPECT_EQ(rig.arrive(frame_to_us(1514)), 1u);
  const auto got = rig.guest->receive();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->bytes, frame_to_us(1514));
  EXPECT_EQ(got->status, kDd | kEop | kIxsm);
  EXPECT_EQ(rig.guest->read(0x2810), 1u);
}

TEST(E1000Rx, ShortFrameIsPaddedWithZeros) {
  E1000Rig rig;
  rig.guest->bring_up();
  static_cast<void>(rig.arrive(frame_to_us(20)));
  const auto got = rig.guest->receive();
  ASSERT_TRUE(got.has_value());
  ASSERT_EQ(got->bytes.size(), 60u);
  EXPECT_EQ(got->bytes[59], std::byte{0});
}

struct Size {
  std::uint32_t code;
  bool large;
  unsigned bytes;
};
void PrintTo(const Size& size, std::ostream* out) { *out << size.bytes; }
class E1000BufferSize : public testing::TestWithParam<Size> {};
TEST_P(E1000BufferSize, SplitsALongFrame) {
  E1000Rig rig;
  rig.guest->bring_up(
      {.rx_descriptors = 80, .buffer_code = GetParam().code, .large_buffers = GetParam().large, .receive_bits = kLpe});
  static_cast<void>(rig.arrive(frame_to_us(9014)));
  const auto got = rig.guest->receive();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->bytes, frame_to_us(9014));
  EXPECT_EQ(got->descriptors, (9014 + GetParam().bytes - 1) / GetParam().bytes);
}
INSTANTIATE_TEST_SUITE_P(All, E1000BufferSize,
                         testing::Values(Size{0, false, 2048}, Size{1, false, 1024}, Size{2, false, 512},
                                         Size{3, false, 256}, Size{1, true, 16384}, Size{2, true, 8192},
                                         Size{3, true, 4096}),
                         [](const auto& row) { return std::to_string(row.param.bytes); });

TEST(E1000Rx, LongFramesNeedLongPacketEnable) {
  E1000Rig rig;
  rig.guest->bring_up();
  EXPECT_EQ(rig.nic->port().accepts().max_frame, 1518u);
  EXPECT_EQ(rig.arrive(frame_to_us(1519)), 1u);  // discarded by the card itself
  EXPECT_FALSE(rig.guest->receive().has_value());
  EXPECT_EQ(rig.guest->read(0x40ac), 1u);  // ROC
}

// --- filters (one row: what is set, where the frame goes, does it arrive) ---
struct Filter {
  const char* name;
  std::uint32_t rctl;
  unsigned destination[6];
  bool arrives;
};
void PrintTo(const Filter& filter, std::ostream* out) { *out << filter.name; }
class E1000Filter : public testing::TestWithParam<Filter> {};
TEST_P(E1000Filter, Decides) {
  E1000Rig rig;
  rig.guest->bring_up({.receive_bits = GetParam().rctl});
  rig.guest->write(0x5408, 0x33221102);  // a second address, 02:11:22:33:44:55
  rig.guest->write(0x540c, 0x80005544);
  rig.guest->write(0x5410, 0x33221106);  // a third one that is not valid
  rig.guest->write(0x5414, 0x00005544);
  const unsigned* d = GetParam().destination;
  static_cast<void>(rig.arrive(frame_to({d[0], d[1], d[2], d[3], d[4], d[5]}, 64)));
  EXPECT_EQ(rig.guest->receive().has_value(), GetParam().arrives);
}
INSTANTIATE_TEST_SUITE_P(Addresses, E1000Filter,
                         testing::Values(Filter{"own", 0, {0x52, 0x54, 0, 0x12, 0x34, 0x56}, true},
                                         Filter{"second", 0, {0x02, 0x11, 0x22, 0x33, 0x44, 0x55}, true},
                                         Filter{"invalid_entry", 0, {0x06, 0x11, 0x22, 0x33, 0x44, 0x55}, false},
                                         Filter{"stranger", 0, {0x52, 0x54, 0, 0x12, 0x34, 0x57}, false},
                                         Filter{"stranger_promiscuous", kUpe, {0x52, 0x54, 0, 0x12, 0x34, 0x57}, true},
                                         Filter{
                                             "stranger_all_multicast", kMpe, {0x52, 0x54, 0, 0x12, 0x34, 0x57}, false},
                                         Filter{"broadcast", 0, {255, 255, 255, 255, 255, 255}, true},
                                         Filter{"multicast", 0, {0x01, 0, 0x5e, 0, 0, 1}, false},
                                         Filter{"multicast_promiscuous", kUpe, {0x01, 0, 0x5e, 0, 0, 1}, false},
                                         Filter{"multicast_all", kMpe, {0x01, 0, 0x5e, 0, 0, 1}, true}),
                         [](const auto& row) { return row.param.name; });

TEST(E1000Rx, BroadcastNeedsItsBit) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->write(0x100, rig.guest->read(0x100) & ~0x8000u);
  static_cast<void>(rig.arrive(broadcast(64)));
  EXPECT_FALSE(rig.guest->receive().has_value());
}

// 13.5.1 gives 12:34:56:78:9a:bc... worked by hand here: last bytes 0x34 0x12 make 0x1234 (byte 5 high).
struct Hash {
  unsigned offset_code, bit;
};
class E1000Hash : public testing::TestWithParam<Hash> {};
TEST_P(E1000Hash, MulticastTableBitLetsItIn) {
  E1000Rig rig;
  rig.guest->bring_up({.receive_bits = GetParam().offset_code << 12});
  const Bytes frame = frame_to({0x01, 0x00, 0x5e, 0x00, 0x34, 0x12}, 64);
  static_cast<void>(rig.arrive(frame));
  EXPECT_FALSE(rig.guest->receive().has_value());
  rig.guest->write(0x5200 + (GetParam().bit >> 5) * 4, 1u << (GetParam().bit & 31));
  static_cast<void>(rig.arrive(frame));
  const auto got = rig.guest->receive();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->status & kPif, kPif);
}
INSTANTIATE_TEST_SUITE_P(Offsets, E1000Hash,
                         testing::Values(Hash{0, 0x123}, Hash{1, 0x246}, Hash{2, 0x48d}, Hash{3, 0x234}));

// --- VLAN ---
Bytes tagged(unsigned tci, std::size_t size) {
  Bytes frame = frame_to_us(size);
  put16(frame, 12, 0x8100);
  put16(frame, 14, tci);
  put16(frame, 16, 0x88b5);
  return frame;
}

TEST(E1000Rx, TagInTheBytesIsStrippedInVlanMode) {
  E1000Rig rig;
  rig.guest->bring_up({.control_bits = kVme});
  const Bytes frame = tagged(0x2005, 200);
  static_cast<void>(rig.arrive(frame));
  const auto got = rig.guest->receive();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->special, 0x2005);
  EXPECT_EQ(got->status & kVp, kVp);
  Bytes expected = frame;
  expected.erase(expected.begin() + 12, expected.begin() + 16);
  EXPECT_EQ(got->bytes, expected);
}

TEST(E1000Rx, TagBesideTheBytesGoesWhereTheModeSays) {
  E1000Rig rig;
  rig.guest->bring_up({.control_bits = kVme});
  packet::Offload offload;
  offload.has_vlan = true;
  offload.vlan_tci = 0x0123;
  static_cast<void>(rig.arrive(frame_to_us(100), offload));
  auto got = rig.guest->receive();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->special, 0x0123);
  EXPECT_EQ(got->bytes, frame_to_us(100));
  rig.guest->bring_up();
  static_cast<void>(rig.arrive(frame_to_us(100), offload));
  got = rig.guest->receive();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->status & kVp, 0);
  EXPECT_EQ(get16(got->bytes, 12), 0x8100u);
  EXPECT_EQ(got->bytes.size(), 104u);
}

TEST(E1000Rx, VlanFilterTableDecides) {
  E1000Rig rig;
  rig.guest->bring_up({.receive_bits = kVfe});
  rig.guest->write(0x5600 + (100 >> 5) * 4, 1u << (100 & 31));
  static_cast<void>(rig.arrive(tagged(101, 100)));
  EXPECT_FALSE(rig.guest->receive().has_value());
  static_cast<void>(rig.arrive(tagged(100, 100)));
  EXPECT_TRUE(rig.guest->receive().has_value());
  static_cast<void>(rig.arrive(frame_to_us(100)));
  EXPECT_TRUE(rig.guest->receive().has_value());
}

// --- checksum status ---
TEST(E1000Rx, RightChecksumsAreConfirmed) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->write(0x5000, 0x300);
  Bytes frame = tcp_frame(333);
  put16(frame, 50, ~(tcp_sum_of(frame)) & 0xffff);
  static_cast<void>(rig.arrive(frame));
  const auto got = rig.guest->receive();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->status & (kIpcs | kTcpcs | kIxsm), kIpcs | kTcpcs);
  EXPECT_EQ(got->errors, 0);
}

TEST(E1000Rx, WrongChecksumsAreReported) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->write(0x5000, 0x300);
  Bytes frame = tcp_frame(333, 0x1111);
  put16(frame, 24, 0x2222);
  static_cast<void>(rig.arrive(frame));
  const auto got = rig.guest->receive();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->errors, kTcpe | kIpe);
}

TEST(E1000Rx, UnfinishedChecksumIsFinishedOnTheWay) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->write(0x5000, 0x300);
  Bytes frame = tcp_frame(1001);
  put16(frame, 50, tcp_pseudo_sum(frame, true));
  packet::Offload offload;
  offload.needs_checksum = true;
  offload.csum_start = 34;
  offload.csum_offset = 16;
  static_cast<void>(rig.arrive(frame, offload));
  const auto got = rig.guest->receive();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(tcp_sum_of(got->bytes), 0xffffu);
  EXPECT_EQ(got->status & kTcpcs, kTcpcs);
  EXPECT_EQ(got->errors, 0);
}

TEST(E1000Rx, WithoutRequestNoChecksumIsJudged) {
  E1000Rig rig;
  rig.guest->bring_up();
  static_cast<void>(rig.arrive(tcp_frame(10, 0x1111)));
  const auto got = rig.guest->receive();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->status & kIxsm, kIxsm);
  EXPECT_EQ(got->errors, 0);
}

TEST(E1000Rx, ChecksumOfAStrippedFrameIsStillJudgedRight) {
  E1000Rig rig;
  rig.guest->bring_up({.control_bits = kVme});
  rig.guest->write(0x5000, 0x300);
  Bytes frame = tcp_frame(77);
  put16(frame, 50, ~(tcp_sum_of(frame)) & 0xffff);
  const Bytes tag = bytes_of({0x81, 0x00, 0x00, 0x09});
  frame.insert(frame.begin() + 12, tag.begin(), tag.end());
  static_cast<void>(rig.arrive(frame));
  const auto got = rig.guest->receive();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->status & (kTcpcs | kVp), kTcpcs | kVp);
  EXPECT_EQ(got->errors, 0);
}

TEST(E1000Rx, SuperFrameArrivesAsSegments) {
  E1000Rig rig;
  rig.guest->bring_up();
  Bytes frame = tcp_frame(3000);
  put16(frame, 50, tcp_pseudo_sum(frame, true));
  packet::Offload offload;
  offload.needs_checksum = true;
  offload.csum_start = 34;
  offload.csum_offset = 16;
  offload.gso = packet::Gso::tcp4;
  offload.gso_size = 1460;
  offload.header_length = 54;
  static_cast<void>(rig.arrive(frame, offload, 54));
  EXPECT_EQ(rig.guest->receive().value().bytes.size(), 1514u);
  EXPECT_EQ(rig.guest->receive().value().bytes.size(), 1514u);
  EXPECT_EQ(rig.guest->receive().value().bytes.size(), 54u + 80);
}

// --- when descriptors run out ---
TEST(E1000Rx, BurstBeyondTheRingWaitsInTheFifoInOrder) {
  E1000Rig rig;
  rig.guest->bring_up({.rx_descriptors = 8});
  for (unsigned i = 0; i < 20; ++i)
    ASSERT_EQ(rig.arrive(frame_to_us(100 + i)), 1u);
  for (unsigned i = 0; i < 7; ++i)
    ASSERT_EQ(rig.guest->receive().value().bytes.size(), 100 + i);
  ASSERT_FALSE(rig.guest->receive().has_value());
  rig.guest->refill();
  for (unsigned i = 7; i < 14; ++i)
    ASSERT_EQ(rig.guest->receive().value().bytes, frame_to_us(100 + i));
  EXPECT_EQ(rig.guest->read(0x40a0), 13u);  // RNBC
  EXPECT_EQ(rig.guest->read(0x4010), 0u);   // MPC
}

TEST(E1000Rx, MappedTailLetsTheFifoGoOnToo) {
  E1000Rig rig{Doorbell::poll};
  rig.guest->bring_up({.rx_descriptors = 8, .mapped_doorbells = true});
  for (unsigned i = 0; i < 10; ++i)
    ASSERT_EQ(rig.arrive(frame_to_us(100 + i)), 1u);
  while (rig.guest->receive()) {
  }
  rig.guest->refill();
  static_cast<void>(rig.take());  // the round in which the poller looks
  EXPECT_EQ(rig.guest->receive().value().bytes.size(), 107u);
}

TEST(E1000Rx, FullFifoMissesAndCounts) {
  E1000Rig rig;
  rig.guest->bring_up({.rx_descriptors = 8});
  unsigned taken = 0;
  while (rig.arrive(frame_to_us(1514)) == 1)
    ++taken;
  EXPECT_EQ(taken, 7u + 32 * 48 * 1024 / 1514);
  EXPECT_EQ(rig.guest->read(0x4010), 1u);          // MPC
  EXPECT_EQ(rig.guest->read(0xc0) & 0x40, 0x40u);  // RXO
  EXPECT_EQ(rig.nic->nic_counters().rx_missed.get(), 1u);
  EXPECT_EQ(rig.nic->nic_counters().rx_frames.get(), taken);  // missed is not received
}

TEST(E1000Rx, NullBufferIsPassedOver) {
  E1000Rig rig;
  rig.guest->bring_up();
  std::memset(rig.guest->memory().data() + rig.guest->rx_ring(), 0, 8);
  static_cast<void>(rig.arrive(frame_to_us(64)));
  EXPECT_EQ(rig.guest->memory()[rig.guest->rx_ring() + 12], std::byte{kDd});
  EXPECT_EQ(rig.guest->memory()[rig.guest->rx_ring() + 16 + 12], std::byte{kDd | kEop | kIxsm});
}

TEST(E1000Rx, StatisticsCountWhatArrived) {
  E1000Rig rig;
  rig.guest->bring_up();
  static_cast<void>(rig.arrive(frame_to_us(100)));
  static_cast<void>(rig.arrive(broadcast(300)));
  static_cast<void>(rig.arrive(frame_to({2, 2, 2, 2, 2, 2}, 300)));
  EXPECT_EQ(rig.guest->read(0x4074), 2u);        // GPRC
  EXPECT_EQ(rig.guest->read(0x4078), 1u);        // BPRC
  EXPECT_EQ(rig.guest->read(0x4060), 1u);        // PRC127
  EXPECT_EQ(rig.guest->read(0x4068), 1u);        // PRC511
  EXPECT_EQ(rig.guest->read(0x4088), 400u + 8);  // GORCL
  EXPECT_EQ(rig.nic->nic_counters().rx_filtered.get(), 1u);
}

TEST(E1000Rx, NotReadyUntilEnabledPluggedAndBusMaster) {
  E1000Rig rig;
  EXPECT_FALSE(rig.nic->port().is_ready());
  rig.guest->bring_up();
  EXPECT_TRUE(rig.nic->port().is_ready());
  rig.guest->set_bus_master(false);
  EXPECT_FALSE(rig.nic->port().is_ready());
  EXPECT_EQ(rig.arrive(broadcast(64)), 0u);
}

// --- hostile rings ---
TEST(E1000Rx, BufferOutsideMemoryStopsThisDirectionOnly) {
  E1000Rig rig;
  rig.guest->bring_up();
  const std::uint64_t outside = E1000Guest::kMemory - 32;
  std::memcpy(rig.guest->memory().data() + rig.guest->rx_ring(), &outside, 8);
  EXPECT_EQ(rig.arrive(frame_to_us(100)), 0u);
  EXPECT_FALSE(rig.nic->port().is_ready());
  EXPECT_EQ(rig.nic->nic_counters().rx_guest_fault.get(), 1u);
  rig.guest->send(broadcast(60));
  EXPECT_EQ(rig.take().size(), 1u);
  rig.guest->bring_up();
  EXPECT_EQ(rig.arrive(frame_to_us(100)), 1u);
}

TEST(E1000Rx, RingOutsideMemoryStops) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->write(0x2804, 0x1234);
  EXPECT_EQ(rig.arrive(frame_to_us(100)), 0u);
  EXPECT_EQ(rig.nic->nic_counters().rx_guest_fault.get(), 1u);
}

}  // namespace
}  // namespace vmux::rigs

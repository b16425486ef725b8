// SPDX-License-Identifier: BSD-3-Clause
// Descriptors and frames as no driver means them: what there is of the frame leaves, what is asked for in front of it
// and behind it leaves too, every descriptor is reported, and the queue goes on. What each row does is what the 8254x
// manual says of it and, where that is silent, what QEMU's model of this card does: the tables in
// docs/notes/e1000-edges.md.
#include <gtest/gtest.h>

#include "rigs/e1000_rig.hpp"

namespace vmux::rigs {
namespace {

constexpr std::uint64_t kEop = 0x01ull << 24, kTse = 0x04ull << 24, kRs = 0x08ull << 24, kDext = 0x20ull << 24,
                        kVle = 0x40ull << 24, kIde = 0x80ull << 24;
constexpr std::uint64_t kData = kDext | (1ull << 20), kTxsm = 2ull << 40, kIxsm = 1ull << 40;
constexpr std::uint32_t kVme = 1u << 30, kTsctfc = 0x40fc;

// --- descriptors: a frame in front of them, one behind, all in one burst ---

struct Raw {
  std::uint64_t low, high;  // low: counted from where the row's bytes are, but 0 is 0
};
struct Row {
  const char* name;
  std::size_t size;  // bytes that the row has, a counting pattern
  std::vector<Raw> descriptors;
  std::vector<std::size_t> sent;     // sizes of the frames that it makes
  unsigned lost = 0, segmented = 0;  // tx.lost, TSCTFC
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }
constexpr std::uint64_t kNull = ~0ull;  // a null address

/// A context: offsets of an IPv4 and TCP frame.
constexpr Raw context(std::uint64_t mss, std::uint64_t hdrlen, std::uint64_t payload, std::uint64_t tucss = 34) {
  const std::uint64_t low = 14 | (24ull << 8) | (33ull << 16) | (tucss << 32) | ((tucss + 16) << 40);
  return {low, kDext | (7ull << 24) | kRs | (hdrlen << 40) | (mss << 48) | payload};
}

class E1000TxDescriptors : public testing::TestWithParam<Row> {
 protected:
  static void queue(E1000Rig& rig, const Row& row, const Bytes& bytes) {
    const std::uint64_t at = rig.guest->stage(bytes);
    for (const Raw& raw : row.descriptors) {
      const bool is_context = (raw.high & kDext) != 0 && (raw.high & (1ull << 20)) == 0;
      const std::uint64_t address = raw.low == kNull ? 0 : at + raw.low;
      rig.guest->queue_raw(is_context ? raw.low : address, raw.high);
    }
  }
  static std::vector<std::size_t> sizes(const std::vector<Sent>& sent) {
    std::vector<std::size_t> sizes;
    for (const Sent& frame : sent)
      sizes.push_back(frame.bytes.size());
    return sizes;
  }
};

TEST_P(E1000TxDescriptors, CostNoMoreThanTheirFrame) {
  E1000Rig rig;
  rig.guest->bring_up({.tx_descriptors = 2048});
  const Row& row = GetParam();
  const Bytes bytes = row.size > 54 ? tcp_frame(row.size - 54) : broadcast(row.size);
  unsigned reports = 2;
  for (const Raw& raw : row.descriptors)
    reports += (raw.high & kRs) != 0 ? 1 : 0;
  rig.guest->queue(broadcast(61));
  queue(rig, row, bytes);
  rig.guest->queue(broadcast(62));
  rig.guest->ring_doorbell();

  std::vector<std::size_t> expected{61};
  expected.insert(expected.end(), row.sent.begin(), row.sent.end());
  expected.push_back(62);
  const auto sent = take_all(rig);
  EXPECT_EQ(sizes(sent), expected);
  EXPECT_EQ(sent.back().bytes, broadcast(62));
  EXPECT_EQ(rig.guest->reap(), reports);
  EXPECT_EQ(rig.nic->nic_counters().tx_lost.get(), row.lost);
  EXPECT_EQ(rig.guest->read(kTsctfc), row.segmented);
  EXPECT_EQ(rig.nic->nic_counters().tx_guest_fault.get(), 0u);
}

TEST_P(E1000TxDescriptors, AloneAreReportedAsSoon) {
  E1000Rig rig;
  rig.guest->bring_up({.tx_descriptors = 2048});
  const Row& row = GetParam();
  const Bytes bytes = row.size > 54 ? tcp_frame(row.size - 54) : broadcast(row.size);
  unsigned reports = 0;
  for (const Raw& raw : row.descriptors)
    reports += (raw.high & kRs) != 0 ? 1 : 0;
  queue(rig, row, bytes);
  rig.guest->ring_doorbell();
  EXPECT_EQ(sizes(take_all(rig)), row.sent);
  EXPECT_EQ(rig.guest->reap(), reports);
  EXPECT_EQ(rig.guest->read(0x3810), row.descriptors.size());
  EXPECT_EQ(rig.nic->nic_counters().tx_lost.get(), row.lost);
}

/// `count` descriptors that hold `each` bytes of one frame, or of none that ends.
std::vector<Raw> many(std::size_t count, std::size_t each, bool has_end) {
  std::vector<Raw> raws;
  for (std::size_t i = 0; i < count; ++i)
    raws.push_back({i * each, kData | kRs | each | (has_end && i + 1 == count ? kEop : 0)});
  return raws;
}

INSTANTIATE_TEST_SUITE_P(
    Plain, E1000TxDescriptors,
    testing::Values(
        Row{"zero_length", 60, {{0, kEop | kRs | 0}}, {}}, Row{"null_address", 60, {{kNull, kEop | kRs | 60}}, {}},
        Row{"zero_length_extended", 60, {{0, kData | kEop | kRs | 0}}, {}},
        Row{"null_address_extended", 60, {{kNull, kData | kEop | kRs | 60}}, {}},
        Row{"zero_length_with_a_checksum_and_a_tag", 60, {{0, kData | kEop | kVle | kTxsm | kRs}}, {}},
        Row{"empty_one_in_front_of_the_bytes", 100, {{0, kRs | 0}, {0, kEop | kRs | 100}}, {100}},
        Row{"empty_one_within", 100, {{0, 50}, {kNull, 99}, {50, kEop | kRs | 50}}, {100}},
        Row{"end_in_an_empty_one", 100, {{0, kRs | 100}, {0, kEop | kRs | 0}}, {100}},
        Row{"a_hundred_empty_ones", 1, std::vector<Raw>(100, Raw{kNull, kEop | kRs | 5}), {}},
        Row{"more_empty_ones_than_a_burst_looks_at", 1, std::vector<Raw>(1500, Raw{0, kEop | kRs | 0}), {}},
        Row{"one_byte", 1, {{0, kEop | kRs | 1}}, {60}}, Row{"thirteen_bytes", 13, {{0, kEop | kRs | 13}}, {60}},
        Row{"one_byte_in_each", 300, many(300, 1, true), {300}},
        Row{"more_descriptors_than_a_burst_looks_at", 1400, many(1400, 1, true), {1400}},
        Row{"longest", 16380, {{0, kData | kEop | kRs | 16380}}, {16380}},
        Row{"longer_than_the_fifo", 16381, {{0, kData | kEop | kRs | 16381}}, {}, 1},
        Row{"longer_than_the_fifo_in_parts", 30000, many(1500, 20, true), {}, 1},
        Row{"length_of_twenty_bits", 60, {{0, kData | kEop | kRs | 0xf'ffff}}, {}, 1},
        Row{"type_2_is_a_context", 60, {{0, kDext | (2ull << 20) | kRs}, {0, kEop | kRs | 60}}, {60}},
        Row{"type_5_is_data", 60, {{0, kDext | (5ull << 20) | kEop | kRs | 60}}, {60}},
        Row{"context_alone", 60, {context(1460, 54, 100)}, {}},
        Row{"contexts_alone", 60, {context(1460, 54, 100), context(0, 0, 0), context(9, 9, 9)}, {}},
        Row{"context_within_a_frame",
            100,
            {{0, kData | 50}, context(1460, 54, 0), {50, kData | kEop | kRs | 50}},
            {100}},
        Row{"checksums_without_a_context", 100, {{0, kData | kEop | kRs | kTxsm | kIxsm | 100}}, {100}},
        Row{"extended_and_legacy_in_one_frame", 100, {{0, kData | kRs | 50}, {50, kEop | kRs | 50}}, {100}},
        Row{"legacy_and_extended_in_one_frame", 100, {{0, kRs | 50}, {50, kData | kEop | kRs | kTxsm | 50}}, {100}},
        Row{"reports_of_all_kinds", 100, {{0, kData | kRs | kIde | 50}, {50, kData | kEop | kRs | kIde | 50}}, {100}},
        Row{"reserved_bits", 60, {{0, (0xfull << 36) | (0xfull << 20) | kEop | kRs | 60}}, {60}}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Segmented, E1000TxDescriptors,
    testing::Values(
        Row{"right",
            54 + 3000,
            {context(1460, 54, 3000), {0, kData | kTse | kEop | kRs | kTxsm | 3054}},
            {1514, 1514, 134}},
        Row{"payload_length_too_small",
            54 + 3000,
            {context(1460, 54, 1), {0, kData | kTse | kEop | kRs | kTxsm | 3054}},
            {1514, 1514, 134}},
        Row{"payload_length_too_large",
            54 + 3000,
            {context(1460, 54, 9999), {0, kData | kTse | kEop | kRs | kTxsm | 3054}},
            {1514, 1514, 134}},
        Row{"header_in_parts",
            54 + 2000,
            {context(1460, 54, 2000),
             {0, kData | kTse | kTxsm | 3},
             {3, kData | kTse | 51},
             {54, kData | kTse | kEop | kRs | 2000}},
            {1514, 594}},
        Row{"headers_alone", 54, {context(1460, 54, 0), {0, kData | kTse | kEop | kRs | kTxsm | 54}}, {60}},
        Row{"segment_larger_than_all",
            54 + 100,
            {context(9000, 54, 100), {0, kData | kTse | kEop | kRs | kTxsm | 154}},
            {154}},
        Row{"without_a_context", 4000, {{0, kData | kTse | kEop | kRs | kTxsm | 4000}}, {}, 1, 1},
        Row{"segments_of_no_bytes",
            4000,
            {context(0, 54, 3946), {0, kData | kTse | kEop | kRs | kTxsm | 4000}},
            {},
            1,
            1},
        Row{"headers_of_no_bytes",
            4000,
            {context(1460, 0, 4000), {0, kData | kTse | kEop | kRs | kTxsm | 4000}},
            {},
            1,
            1},
        Row{"headers_longer_than_the_frame",
            100,
            {context(1460, 255, 0), {0, kData | kTse | kEop | kRs | kTxsm | 100}},
            {},
            1,
            1},
        Row{"headers_that_end_within_tcp",
            4000,
            {context(1460, 50, 3950), {0, kData | kTse | kEop | kRs | kTxsm | 4000}},
            {},
            1,
            1},
        Row{"tcp_within_the_ip_header",
            4000,
            {context(1460, 54, 3946, 20), {0, kData | kTse | kEop | kRs | kTxsm | 4000}},
            {},
            1,
            1},
        Row{"more_segments_than_one_frame_may_cost",
            54 + 4000,
            {context(1, 54, 4000), {0, kData | kTse | kEop | kRs | kTxsm | 4054}},
            {},
            1,
            1},
        Row{"longer_than_ip_can_say",
            54 + 65500,
            {context(1460, 54, 65500), {0, kData | kTse | kEop | kRs | kTxsm | 65554}},
            {},
            1,
            1},
        Row{"two_that_misfit",
            4000,
            {context(0, 54, 3946), {0, kData | kTse | kEop | kRs | 4000}, {0, kData | kTse | kEop | kRs | 4000}},
            {},
            2,
            2},
        Row{"no_bytes_at_all", 60, {context(1460, 54, 0), {kNull, kData | kTse | kEop | kRs | kTxsm | 99}}, {}}),
    [](const auto& row) { return row.param.name; });

TEST(E1000TxExtremes, LongestSuperFrameInFourByteBuffersLeavesWhole) {
  E1000Rig rig;
  rig.guest->bring_up({.tx_descriptors = 4096});
  Bytes frame = tcp_frame(16000 - 54);
  put16(frame, 50, tcp_pseudo_sum(frame, false));
  rig.guest->send(frame, {.transport_checksum = true, .segment = 1460, .parts = 4});
  const auto sent = take_all(rig);
  ASSERT_EQ(sent.size(), (16000u - 54 + 1459) / 1460);
  for (const Sent& piece : sent)
    EXPECT_EQ(tcp_sum_of(piece.bytes), 0xffffu);
}

TEST(E1000TxExtremes, SuperFrameThatIsNoTcpIsLostAndCounted) {  // one that is a fragment cannot be cut either
  E1000Rig rig;
  rig.guest->bring_up();
  Bytes frame = tcp_frame(4000);
  put16(frame, 20, 0x2000);  // more fragments
  rig.guest->send(frame, {.transport_checksum = true, .segment = 1460});
  EXPECT_EQ(take_all(rig).size(), 0u);
  EXPECT_EQ(rig.guest->reap(), 1u);
  EXPECT_EQ(rig.guest->read(kTsctfc), 1u);
}

// --- tags ---
TEST(E1000TxExtremes, InsertedTagHasTheTypeOfVet) {
  E1000Rig rig;
  rig.guest->bring_up({.control_bits = kVme});
  rig.guest->write(0x38, 0x88a8);
  Bytes frame = tcp_frame(101);
  put16(frame, 50, tcp_pseudo_sum(frame, true));
  rig.guest->send(frame, {.vlan = 0x6007, .transport_checksum = true});
  const auto sent = take_all(rig);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(get16(sent[0].bytes, 12), 0x88a8u);
  EXPECT_EQ(get16(sent[0].bytes, 14), 0x6007u);
  EXPECT_EQ(tcp_sum_of(sent[0].bytes, 18), 0xffffu);
}

TEST(E1000TxExtremes, InsertedTagIsInEverySegment) {
  E1000Rig rig;
  rig.guest->bring_up({.control_bits = kVme});
  rig.guest->write(0x38, 0x88a8);
  Bytes frame = tcp_frame(3000);
  put16(frame, 50, tcp_pseudo_sum(frame, false));
  rig.guest->send(frame, {.vlan = 5, .transport_checksum = true, .segment = 1460});
  const auto sent = take_all(rig);
  ASSERT_EQ(sent.size(), 3u);
  for (const Sent& piece : sent) {
    EXPECT_EQ(get16(piece.bytes, 12), 0x88a8u);
    EXPECT_EQ(tcp_sum_of(piece.bytes, 18), 0xffffu);
  }
}

TEST(E1000TxExtremes, TagIsSaidByTheLastDescriptorOrInASegmentationByAny) {  // table 3-10 note 1, 3.3.7.1
  E1000Rig rig;
  rig.guest->bring_up({.control_bits = kVme});
  const std::uint64_t at = rig.guest->stage(tcp_frame(3000));
  rig.guest->queue_raw(at, kData | kVle | (7ull << 48) | 50);
  rig.guest->queue_raw(at + 50, kData | kEop | kRs | 50);
  rig.guest->queue_raw(at, kData | 50);
  rig.guest->queue_raw(at + 50, kData | kEop | kVle | kRs | (8ull << 48) | 50);
  const Raw how = context(1460, 54, 3000);
  rig.guest->queue_raw(how.low, how.high);
  rig.guest->queue_raw(at, kData | kTse | kVle | kTxsm | (9ull << 48) | 54);
  rig.guest->queue_raw(at + 54, kData | kTse | kEop | kRs | 1000);
  rig.guest->ring_doorbell();
  const auto sent = take_all(rig);
  ASSERT_EQ(sent.size(), 3u);
  EXPECT_FALSE(sent[0].offload.has_vlan);
  EXPECT_EQ(sent[1].offload.vlan_tci, 8u);
  EXPECT_EQ(sent[2].offload.vlan_tci, 9u);
}

// --- frames and rings ---
TEST(E1000TxExtremes, FrameOfMoreDescriptorsThanTheRingLeaves) {
  E1000Rig rig;
  rig.guest->bring_up({.tx_descriptors = 8});
  const Bytes frame = broadcast(1400);
  const std::uint64_t at = rig.guest->stage(frame);
  for (unsigned i = 0; i < 7; ++i)
    rig.guest->queue_raw(at + i * 100, kRs | 100);
  rig.guest->ring_doorbell();
  EXPECT_EQ(take_all(rig).size(), 0u);
  EXPECT_EQ(rig.guest->reap(), 7u);  // else a driver could not go on
  for (unsigned i = 7; i < 14; ++i)
    rig.guest->queue_raw(at + i * 100, kRs | 100 | (i == 13 ? kEop : 0));
  rig.guest->ring_doorbell();
  EXPECT_EQ(take_all(rig).at(0).bytes, frame);
  EXPECT_EQ(rig.guest->reap(), 7u);
}

TEST(E1000TxExtremes, FrameWithoutEndNeverStopsTheQueue) {
  E1000Rig rig;
  rig.guest->bring_up({.tx_descriptors = 8});
  const std::uint64_t at = rig.guest->stage(broadcast(1000));
  for (unsigned i = 0; i < 700; ++i) {
    rig.guest->queue_raw(at, kRs | 1000);
    rig.guest->ring_doorbell();
    ASSERT_EQ(take_all(rig).size(), 0u);
    ASSERT_EQ(rig.guest->reap(), 1u);
  }
  rig.guest->send(broadcast(60));  // its end: all of it is lost
  EXPECT_EQ(take_all(rig).size(), 0u);
  EXPECT_EQ(rig.nic->nic_counters().tx_lost.get(), 1u);
  rig.guest->send(broadcast(60));
  EXPECT_EQ(take_all(rig).size(), 1u);
}

TEST(E1000TxExtremes, OneLookAtAnEndlessFrameIsBounded) {
  E1000Rig rig;
  rig.guest->bring_up({.tx_descriptors = 4096});
  for (unsigned i = 0; i < 4095; ++i)
    rig.guest->queue_raw(0x40000, kData | 1);
  rig.guest->ring_doorbell();
  EXPECT_EQ(rig.take().size(), 0u);
  EXPECT_EQ(rig.guest->read(0x3810), 512u);      // TDH
  EXPECT_TRUE(rig.nic->port().needs_polling());  // no doorbell will tell of the others
}

TEST(E1000TxExtremes, HeldFrameIsForgottenByAReset) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->queue_raw(0x40000, kData | 100);
  rig.guest->ring_doorbell();
  static_cast<void>(take_all(rig));
  rig.guest->bring_up();
  rig.guest->send(broadcast(60));
  EXPECT_EQ(take_all(rig).at(0).bytes, broadcast(60));
}

TEST(E1000TxExtremes, HeldFrameIsSeenAgainUntilItIsComplete) {
  E1000Rig rig;
  rig.guest->bring_up();
  const Bytes frame = broadcast(200);
  const std::uint64_t at = rig.guest->stage(frame);
  rig.guest->queue_raw(at, kData | 100);
  rig.guest->ring_doorbell();
  static_cast<void>(take_all(rig));
  rig.guest->queue_raw(at + 100, kData | kEop | kRs | 100);
  rig.guest->ring_doorbell();
  std::array<packet::FrameView, 4> views;
  ASSERT_EQ(rig.nic->port().take(views), 1u);
  port::test::finish(rig.nic->port(), 0);
  EXPECT_EQ(take_all(rig).at(0).bytes, frame);
}

struct Lap {
  const char* name;
  std::uint32_t length, head, tail;
  std::size_t sent;  // for each doorbell
};
void PrintTo(const Lap& row, std::ostream* out) { *out << row.name; }
class E1000TxRing : public testing::TestWithParam<Lap> {};
TEST_P(E1000TxRing, SendsOnceAroundForEachDoorbellAndGoesOn) {
  E1000Rig rig;
  rig.guest->bring_up();
  for (unsigned i = 0; i < 64; ++i)
    rig.guest->queue(broadcast(60));
  rig.guest->write(0x3808, GetParam().length);
  rig.guest->write(0x3810, GetParam().head);
  rig.guest->write(0x3818, GetParam().tail);
  EXPECT_EQ(rig.take().size() + rig.take().size() + rig.take().size(), GetParam().sent);
  rig.guest->write(0x3818, GetParam().tail);
  EXPECT_EQ(rig.take().size() + rig.take().size() + rig.take().size(), GetParam().sent);
  EXPECT_EQ(rig.nic->nic_counters().tx_guest_fault.get(), 0u);
  rig.guest->bring_up();
  rig.guest->send(broadcast(60));
  EXPECT_EQ(rig.take().size(), 1u);
}
INSTANTIATE_TEST_SUITE_P(Rings, E1000TxRing,
                         testing::Values(Lap{"one_descriptor", 16, 0, 1, 1}, Lap{"four_descriptors", 64, 0, 4, 4},
                                         Lap{"tail_is_the_count", 128, 0, 8, 8},
                                         Lap{"tail_is_the_count_from_within", 128, 5, 8, 8},
                                         Lap{"tail_far_beyond", 1024, 0, 0xffff, 64}, Lap{"no_length", 0, 0, 5, 0},
                                         Lap{"tail_is_the_head", 128, 3, 3, 0}),
                         [](const auto& row) { return row.param.name; });

TEST(E1000TxExtremes, HeadBeyondTheRingIsItsBegin) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->queue(broadcast(60));
  rig.guest->write(0x3810, 0xfff0);
  rig.guest->ring_doorbell();
  EXPECT_EQ(rig.take().size(), 1u);
  EXPECT_EQ(rig.guest->read(0x3810), 1u);
}

// --- TXD_LOW: 13.4.43 ---
struct Low {
  const char* name;
  std::uint32_t txdctl;
  unsigned frames;
  bool raised;
};
void PrintTo(const Low& row, std::ostream* out) { *out << row.name; }
class E1000TxLow : public testing::TestWithParam<Low> {};
TEST_P(E1000TxLow, IsRaisedWhenTheThresholdIsHit) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->write(0x3828, GetParam().txdctl);
  for (unsigned i = 0; i < GetParam().frames; ++i)
    rig.guest->queue(broadcast(60));
  rig.guest->ring_doorbell();
  static_cast<void>(rig.guest->read(0xc0));
  static_cast<void>(rig.take());
  EXPECT_EQ((rig.guest->read(0xc0) & 0x8000) != 0, GetParam().raised);
}
INSTANTIATE_TEST_SUITE_P(Thresholds, E1000TxLow,
                         testing::Values(Low{"ipxe_sends_one", 0x0200'0000, 1, false},
                                         Low{"eight_of_eight", 0x0200'0000, 8, false},
                                         Low{"nine_of_eight", 0x0200'0000, 9, true},
                                         Low{"seventeen_of_sixteen", 0x0400'0000, 17, true},
                                         Low{"no_threshold", 0, 20, false}),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace vmux::rigs

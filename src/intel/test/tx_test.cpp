// SPDX-License-Identifier: BSD-3-Clause
// Transmit: what a driver puts into its ring comes out as frames, and is reported.
#include "intel/tx.hpp"

#include <gtest/gtest.h>

#include "intel/test/queues.hpp"
#include "packet/test/test_frames.hpp"
#include "packet/transfer.hpp"
#include "rigs/allocations.hpp"

namespace vmux::intel {
namespace {

using packet::test::pattern;
using test::Bytes;

class IntelTx : public testing::Test {
 protected:
  static constexpr std::uint16_t kLength = 64;

  IntelTx() {
    memory_.space().attach(queue_.memory());
    start({.ring = Iova{test::kTxRing}, .length = kLength});
  }
  ~IntelTx() override { memory_.space().detach(queue_.memory()); }

  void start(const TxQueueConfig& config) {
    queue_.configure(config);
    queue_.enable();
    tail_ = 0;
  }
  void post(std::uint64_t low, std::uint64_t high) {
    memory_.put64(test::kTxRing + tail_ * 16, low);
    memory_.put64(test::kTxRing + tail_ * 16 + 8, high);
    tail_ = (tail_ + 1) % queue_.state().config.length;
  }
  // A frame of one buffer.
  void post_frame(const Bytes& bytes, std::uint64_t cmd = test::kEop | test::kRs, std::uint64_t offsets = 0,
                  std::uint64_t tag = 0) {
    memory_.put(test::buffer(tail_), bytes);
    post(test::buffer(tail_), test::data_word(cmd, bytes.size(), offsets, tag));
  }
  std::size_t peek() { return queue_.peek(views_, tail_, vlan_); }
  // The bytes of a peeked frame as a receiver without any offload gets them.
  static std::vector<Bytes> received(const packet::FrameView& view) {
    std::vector<Bytes> frames;
    packet::Pieces pieces{view, {.max_frame = 65536}};
    while (const packet::Piece* piece = pieces.next()) {
      Bytes bytes(piece->length);
      const std::span<std::byte> to[] = {std::as_writable_bytes(std::span{bytes})};
      pieces.copy(to);
      frames.push_back(std::move(bytes));
    }
    return frames;
  }
  std::uint64_t type_of(std::uint64_t index) { return memory_.get64(test::kTxRing + index * 16 + 8) & 0xf; }

  test::Memory memory_{8 << 20};
  TxQueue queue_{"test", 0};
  VlanOffload vlan_;
  std::array<packet::FrameView, 32> views_;
  std::uint32_t tail_ = 0;
};

TEST_F(IntelTx, GivesNothingWhileTheRingIsEmpty) { EXPECT_EQ(peek(), 0u); }

TEST_F(IntelTx, GivesNothingWhileDisabled) {
  post_frame(pattern(64));
  queue_.disable();
  EXPECT_EQ(peek(), 0u);
}

TEST_F(IntelTx, SendsFramesOfAllCommonSizesAsTheyAre) {
  const std::vector<std::size_t> sizes{60, 61, 63, 64, 65, 127, 128, 129, 1514, 9000};
  for (const std::size_t size : sizes)
    post_frame(pattern(size, static_cast<unsigned>(size)));
  ASSERT_EQ(peek(), sizes.size());
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    EXPECT_EQ(received(views_[i]), std::vector<Bytes>{pattern(sizes[i], static_cast<unsigned>(sizes[i]))});
  }
}

TEST_F(IntelTx, PadsShortFramesWithZeroes) {
  post_frame(pattern(20));
  ASSERT_EQ(peek(), 1u);
  Bytes expected = pattern(20);
  expected.resize(60);
  EXPECT_EQ(received(views_[0]), std::vector<Bytes>{expected});
}

TEST_F(IntelTx, GathersAFrameFromSeveralBuffers) {
  const Bytes frame = pattern(1000);
  memory_.put(test::buffer(0), std::span{frame}.first(10));
  memory_.put(test::buffer(1), std::span{frame}.subspan(10, 300));
  memory_.put(test::buffer(2), std::span{frame}.subspan(310));
  post(test::buffer(0), test::data_word(0, 10));
  post(test::buffer(1), test::data_word(0, 300));
  post(test::buffer(2), test::data_word(test::kEop | test::kRs, 690));
  ASSERT_EQ(peek(), 1u);
  EXPECT_EQ(received(views_[0]), std::vector<Bytes>{frame});
  EXPECT_TRUE(queue_.complete(1));
  EXPECT_EQ(type_of(2), test::kDone);
}

TEST_F(IntelTx, WaitsForTheRestOfAFrame) {
  memory_.put(test::buffer(0), pattern(64));
  post(test::buffer(0), test::data_word(0, 64));
  EXPECT_EQ(peek(), 0u);
  post_frame(pattern(64));
  EXPECT_EQ(peek(), 1u);
  EXPECT_EQ(views_[0].length, 128u);
}

TEST_F(IntelTx, ReportsOnlyDescriptorsThatAsk) {
  post_frame(pattern(64), test::kEop);
  post_frame(pattern(64), test::kEop | test::kRs);
  ASSERT_EQ(peek(), 2u);
  EXPECT_TRUE(queue_.complete(2));
  EXPECT_EQ(type_of(0), 0u);
  EXPECT_EQ(type_of(1), test::kDone);
}

TEST_F(IntelTx, TellsOfNoReportWhenNoneWasAskedFor) {
  post_frame(pattern(64), test::kEop);
  ASSERT_EQ(peek(), 1u);
  EXPECT_FALSE(queue_.complete(1));
}

TEST_F(IntelTx, WritesTheHeadWhereTheDriverWantsIt) {
  start({.ring = Iova{test::kTxRing},
         .length = kLength,
         .head_writeback = true,
         .head_writeback_at = Iova{test::kHeadWriteBack}});
  post_frame(pattern(64), test::kEop);
  post_frame(pattern(64));
  ASSERT_EQ(peek(), 2u);
  EXPECT_TRUE(queue_.complete(2));
  EXPECT_EQ(memory_.get64(test::kHeadWriteBack), 2u);
  EXPECT_EQ(type_of(1), 0u);
}

TEST_F(IntelTx, PeeksAgainWhatWasNotCompleted) {
  post_frame(pattern(64, 1));
  post_frame(pattern(64, 2));
  ASSERT_EQ(peek(), 2u);
  EXPECT_TRUE(queue_.complete(1));
  ASSERT_EQ(peek(), 1u);
  EXPECT_EQ(received(views_[0]), std::vector<Bytes>{pattern(64, 2)});
}

TEST_F(IntelTx, GoesAroundTheRing) {
  for (unsigned round = 0; round < 10; ++round) {
    for (unsigned i = 0; i < 25; ++i)
      post_frame(pattern(64, round * 25 + i));
    ASSERT_EQ(peek(), 25u) << round;
    EXPECT_EQ(received(views_[24]), std::vector<Bytes>{pattern(64, round * 25 + 24)});
    EXPECT_TRUE(queue_.complete(25));
  }
  EXPECT_EQ(queue_.counters().frames.get(), 250u);
  EXPECT_EQ(queue_.counters().bytes.get(), 250u * 64);
}

TEST_F(IntelTx, InsertsATagFromTheDescriptor) {
  post_frame(pattern(64), test::kEop | test::kRs | test::kInsertTag1, 0, 0x2005);
  ASSERT_EQ(peek(), 1u);
  EXPECT_TRUE(views_[0].offload.has_vlan);
  EXPECT_EQ(views_[0].offload.vlan_tci, 0x2005);
}

TEST_F(IntelTx, ComputesAnIpv4AndTcpChecksum) {
  const Bytes whole = packet::test::whole_frame({.tcp_options = false}, pattern(500));
  Bytes frame = whole;
  packet::test::set16(frame, 14 + 10, 0);
  const auto headers = packet::parse(packet::test::slice(frame));
  packet::test::set16(frame, 34 + 16, packet::pseudo_header_sum(packet::test::slice(frame), *headers, 520));
  post_frame(frame, test::kEop | test::kRs | test::kIpv4Sum | test::kTcp, test::offsets(14, 20, 20));
  ASSERT_EQ(peek(), 1u);
  EXPECT_EQ(received(views_[0]), std::vector<Bytes>{whole});
}

TEST_F(IntelTx, CutsATcpSuperFrame) {
  const Bytes payload = pattern(3000);
  Bytes frame = packet::test::whole_frame({.tcp_options = false}, payload);
  memory_.put(test::buffer(1), frame);
  post(0, test::context_word(/*TSO*/ 1, payload.size(), 1400));
  post(test::buffer(1),
       test::data_word(test::kEop | test::kRs | test::kIpv4Sum | test::kTcp, frame.size(), test::offsets(14, 20, 20)));
  ASSERT_EQ(peek(), 1u);
  const auto pieces = received(views_[0]);
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[0].size(), 54u + 1400);
  EXPECT_EQ(pieces[2].size(), 54u + 200);
  EXPECT_TRUE(queue_.complete(1));
  EXPECT_EQ(queue_.counters().frames.get(), 3u);
  EXPECT_EQ(queue_.counters().bytes.get(), 3000u + 3 * 54);
}

// Segments keep their sizes: every one is a datagram of its own (UDP_SEGMENT of Linux, USO of Intel's).
TEST_F(IntelTx, CutsAUdpSuperFrame) {
  const Bytes payload = pattern(2500);
  for (const packet::test::Ip version : {packet::test::Ip::v4, packet::test::Ip::v6}) {
    start({.ring = Iova{test::kTxRing}, .length = kLength});
    const bool v4 = version == packet::test::Ip::v4;
    const std::size_t ip = v4 ? 20 : 40, headers = 14 + ip + 8;
    const Bytes frame = packet::test::whole_frame({.ip = version, .proto = packet::test::Proto::udp}, payload);
    memory_.put(test::buffer(1), frame);
    post(0, test::context_word(/*TSO*/ 1, payload.size(), 1200));
    post(test::buffer(1), test::data_word(test::kEop | test::kRs | (v4 ? test::kIpv4Sum : test::kIpv6) | test::kUdp,
                                          frame.size(), test::offsets(14, ip, 8)));
    ASSERT_EQ(peek(), 1u);
    const auto pieces = received(views_[0]);
    ASSERT_EQ(pieces.size(), 3u);
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const Bytes part{payload.begin() + static_cast<std::ptrdiff_t>(1200 * i),
                       payload.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(2500, 1200 * (i + 1)))};
      packet::test::FrameSpec spec{.ip = version, .proto = packet::test::Proto::udp};
      spec.id = static_cast<std::uint16_t>(spec.id + i);
      EXPECT_EQ(pieces[i], packet::test::whole_frame(spec, part)) << i << (v4 ? " IPv4" : " IPv6");
    }
    EXPECT_EQ(pieces[0].size(), headers + 1200);
    EXPECT_TRUE(queue_.complete(1));
  }
  EXPECT_EQ(queue_.counters().frames.get(), 6u);
}

TEST_F(IntelTx, PutsTwoTagsInTheirOrder) {
  vlan_ = {.outer = {false, true, 0x88a8, TagPlace::l2tag2}, .inner = {false, true, 0x8100, TagPlace::l2tag1}};
  const Bytes frame = packet::test::whole_frame({}, pattern(100));
  memory_.put(test::buffer(1), frame);
  post(std::uint64_t{0x0064} << 32, test::context_word(/*IL2TAG2*/ 4, 0, 0));
  post(test::buffer(1), test::data_word(test::kEop | test::kRs | test::kInsertTag1, frame.size(), 0, 0x2005));
  ASSERT_EQ(peek(), 1u);
  Bytes expected{frame.begin(), frame.begin() + 12};
  packet::test::append(expected, {0x88, 0xa8, 0x00, 0x64, 0x81, 0x00, 0x20, 0x05});
  expected.insert(expected.end(), frame.begin() + 12, frame.end());
  EXPECT_EQ(received(views_[0]), std::vector<Bytes>{expected});
}

TEST_F(IntelTx, ComputesAnSctpChecksum) {
  // 127.0.0.1:1 -> 127.0.0.1:2, one COOKIE ACK chunk; the checksum by any other CRC32c.
  Bytes frame = pattern(14);
  packet::test::set16(frame, 12, 0x0800);
  packet::test::append(frame, {0x45, 0, 0, 36, 0, 0, 0, 0, 64, 132, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1});
  packet::test::append(frame, {0, 1, 0, 2, 0x12, 0x34, 0x56, 0x78, 0xff, 0xff, 0xff, 0xff, 11, 0, 0, 4});
  post_frame(frame, test::kEop | test::kRs | test::kIpv4 | test::kSctp, test::offsets(14, 20, 12));
  ASSERT_EQ(peek(), 1u);
  const Bytes sent = received(views_[0])[0];
  EXPECT_EQ(sent.size(), 60u);
  EXPECT_EQ((Bytes{sent.begin() + 42, sent.begin() + 46}), (Bytes{0x06, 0x07, 0xf8, 0x2a}));
}

// The folded sum of a TCP or UDP packet with its pseudo-header: 0xffff when the checksum is right.
unsigned sum_with_pseudo_header(const Bytes& ip) {
  Bytes bytes{ip.begin() + 12, ip.begin() + 20};
  const auto length = static_cast<unsigned>(ip[2] << 8 | ip[3]) - 20;
  packet::test::append16(bytes, ip[9]);
  packet::test::append16(bytes, length);
  bytes.insert(bytes.end(), ip.begin() + 20, ip.begin() + 20 + length);
  return packet::test::plain_sum(bytes);
}
Bytes from(const Bytes& bytes, std::size_t at) {
  return {bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end()};
}

TEST_F(IntelTx, CutsATcpSuperFrameInsideVxlan) {
  const Bytes payload = pattern(3000);
  const Bytes inner = packet::test::whole_frame({.tcp_options = false}, payload);
  Bytes frame = packet::test::whole_frame({.proto = packet::test::Proto::udp}, {});  // the outer headers, 42 bytes
  packet::test::append(frame, {8, 0, 0, 0, 0, 0, 7, 0});
  packet::test::append(frame, inner);
  memory_.put(test::buffer(1), frame);
  // External IPv4 with its checksum, 20 bytes; UDP tunnel: UDP, VXLAN and inner Ethernet are 30 bytes; outer UDP
  // checksum.
  post(3 | 20 / 4 << 2 | 1 << 9 | 30 / 2 << 12 | 1 << 23, test::context_word(/*TSO*/ 1, payload.size(), 1400));
  post(test::buffer(1),
       test::data_word(test::kEop | test::kRs | test::kIpv4Sum | test::kTcp, frame.size(), test::offsets(14, 20, 20)));
  ASSERT_EQ(peek(), 1u);
  const auto pieces = received(views_[0]);
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[0].size(), 50u + 54 + 1400);
  EXPECT_EQ(pieces[2].size(), 50u + 54 + 200);
  const Bytes outer_ip = from(pieces[2], 14), inner_ip = from(pieces[2], 64);
  EXPECT_EQ(packet::test::plain_sum({outer_ip.begin(), outer_ip.begin() + 20}), 0xffffu);
  EXPECT_EQ(packet::test::plain_sum({inner_ip.begin(), inner_ip.begin() + 20}), 0xffffu);
  EXPECT_EQ(static_cast<unsigned>(outer_ip[2] << 8 | outer_ip[3]), outer_ip.size());
  EXPECT_EQ(static_cast<unsigned>(outer_ip[24] << 8 | outer_ip[25]), outer_ip.size() - 20);
  EXPECT_EQ(sum_with_pseudo_header(inner_ip), 0xffffu);
  EXPECT_EQ(sum_with_pseudo_header(outer_ip), 0xffffu);
  EXPECT_EQ(from(pieces[2], 104), from(payload, 2800));
}

TEST_F(IntelTx, ComputesBothChecksumsOfATunnelledFrame) {
  const Bytes inner = packet::test::whole_frame({.tcp_options = false}, pattern(301));
  Bytes frame = packet::test::whole_frame({.proto = packet::test::Proto::udp}, {});
  packet::test::append(frame, {8, 0, 0, 0, 0, 0, 7, 0});
  packet::test::append(frame, inner);
  packet::test::set16(frame, 16, static_cast<unsigned>(frame.size() - 14));
  packet::test::set16(frame, 38, static_cast<unsigned>(frame.size() - 34));
  const Bytes inner_header{inner.begin(), inner.begin() + 54};
  const auto headers = packet::parse(packet::test::slice(inner_header));
  packet::test::set16(frame, 50 + 50, packet::pseudo_header_sum(packet::test::slice(inner_header), *headers, 321));
  memory_.put(test::buffer(1), frame);
  post(3 | 20 / 4 << 2 | 1 << 9 | 30 / 2 << 12 | 1 << 23, test::context_word(0, 0, 0));
  post(test::buffer(1),
       test::data_word(test::kEop | test::kRs | test::kIpv4Sum | test::kTcp, frame.size(), test::offsets(14, 20, 20)));
  ASSERT_EQ(peek(), 1u);
  const Bytes sent = received(views_[0])[0];
  EXPECT_EQ(from(sent, 50), inner);
  EXPECT_EQ(packet::test::plain_sum({sent.begin() + 14, sent.begin() + 34}), 0xffffu);
  EXPECT_EQ(sum_with_pseudo_header(from(sent, 14)), 0xffffu);
}

TEST_F(IntelTx, StopsAtATailBeyondTheRing) {
  EXPECT_EQ(queue_.peek(views_, kLength, vlan_), 0u);
  EXPECT_TRUE(queue_.is_stopped());
  EXPECT_EQ(queue_.counters().guest_fault.get(), 1u);
}

TEST_F(IntelTx, StopsAtABufferOutsideGuestMemoryAndRunsAgainWhenEnabled) {
  post(0x10, test::data_word(test::kEop, 64));
  EXPECT_EQ(peek(), 0u);
  EXPECT_TRUE(queue_.is_stopped());
  queue_.enable();
  tail_ = 0;
  post_frame(pattern(64));
  EXPECT_EQ(peek(), 1u);
}

TEST_F(IntelTx, SendsWhatStandsBeforeABadDescriptorFirst) {
  post_frame(pattern(64));
  post(test::buffer(5), test::data_word(test::kEop, 64) | 0x8);  // a filter to be programmed: not for us
  EXPECT_EQ(peek(), 1u);
  EXPECT_TRUE(queue_.complete(1));
}

TEST_F(IntelTx, StopsAtARingOutsideGuestMemory) {
  start({.ring = Iova{0x1000}, .length = kLength});
  EXPECT_EQ(queue_.peek(views_, 1, vlan_), 0u);
  EXPECT_TRUE(queue_.is_stopped());
}

// IAVF_TSO_MAX_SEG of DPDK's driver.
TEST_F(IntelTx, GathersASuperFrameFromAsManyBuffersAsADriverMayUse) {
  constexpr std::uint16_t kRing = 512;
  start({.ring = Iova{test::kTxRing}, .length = kRing});
  const Bytes payload = pattern(254 * 100);
  const Bytes frame = packet::test::whole_frame({.tcp_options = false}, payload);
  memory_.put(test::buffer(0), frame);
  post(0, test::context_word(/*TSO*/ 1, payload.size(), 1400));
  constexpr std::uint64_t kCommand = test::kIpv4Sum | test::kTcp, kHeaders = 54;
  post(test::buffer(0), test::data_word(kCommand, kHeaders, test::offsets(14, 20, 20)));
  for (unsigned i = 0; i < 254; ++i) {
    post(test::buffer(0) + kHeaders + i * 100,
         test::data_word(kCommand | (i == 253 ? test::kEop | test::kRs : 0), 100, test::offsets(14, 20, 20)));
  }
  ASSERT_EQ(peek(), 1u);
  EXPECT_EQ(views_[0].length, frame.size());
  EXPECT_EQ(received(views_[0]).size(), 19u);
}

TEST_F(IntelTx, StopsAtAFrameWithoutAnEnd) {
  for (unsigned i = 0; i + 1 < kLength; ++i)
    post(test::buffer(0), test::data_word(0, 64));
  EXPECT_EQ(peek(), 0u);
  EXPECT_TRUE(queue_.is_stopped());
}

TEST_F(IntelTx, AllocatesNothingUnderTraffic) {
  post_frame(pattern(64));
  ASSERT_EQ(peek(), 1u);
  const rigs::CountAllocations allocations;
  for (unsigned i = 0; i < 100; ++i) {
    EXPECT_EQ(peek(), 1u);
  }
  EXPECT_TRUE(queue_.complete(1));
  EXPECT_EQ(allocations.seen(), 0u);
}

}  // namespace
}  // namespace vmux::intel

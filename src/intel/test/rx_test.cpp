// SPDX-License-Identifier: BSD-3-Clause
// Receive: frames come into the buffers that a driver has posted, and the write-backs tell of them.
#include "intel/rx.hpp"

#include <gtest/gtest.h>

#include "intel/test/queues.hpp"
#include "packet/test/test_frames.hpp"
#include "rigs/allocations.hpp"

namespace vmux::intel {
namespace {

using packet::test::pattern;
using packet::test::View;
using packet::test::whole_frame;
using test::Bytes;

class IntelRx : public testing::Test {
 protected:
  static constexpr std::uint16_t kLength = 64;

  IntelRx() {
    memory_.space().attach(queue_.memory());
    rules_.filters.unicast_promisc = rules_.filters.multicast_promisc = true;
    start({.ring = Iova{test::kRxRing}, .length = kLength, .buffer_size = 2048, .max_frame = 9728});
  }
  ~IntelRx() override { memory_.space().detach(queue_.memory()); }

  void start(const RxQueueConfig& config) {
    queue_.configure(config);
    size_ = config.wide ? 32 : 16;
    for (std::uint64_t i = 0; i < kLength; ++i) {
      memory_.put64(test::kRxRing + i * size_, test::buffer(i));
      memory_.put64(test::kRxRing + i * size_ + 8, 0);
    }
    queue_.enable();
    tail_ = kLength - 1;
  }
  std::size_t deliver(const packet::FrameView& view) {
    RxInfo info;
    steer(rules_, {&view, 1}, {&info, 1});
    return queue_.deliver({&view, 1}, {&info, 1}, accepts(rules_, 9728), tail_);
  }
  std::size_t deliver(const Bytes& bytes) {
    const View v{bytes, 128, {65536}};
    return deliver(v.view);
  }
  std::uint64_t word(std::uint64_t index, std::uint64_t number) {
    return memory_.get64(test::kRxRing + index * size_ + number * 8);
  }
  // Fields of a legacy write-back, from Linux' iavf_type.h.
  std::uint64_t status(std::uint64_t index) { return word(index, 1) & 0x7ffff; }
  std::uint64_t errors(std::uint64_t index) { return word(index, 1) >> 19 & 0xff; }
  std::uint64_t ptype(std::uint64_t index) { return word(index, 1) >> 30 & 0xff; }
  std::uint64_t length(std::uint64_t index) { return word(index, 1) >> 38 & 0x3fff; }
  Bytes stored(std::uint64_t index, std::size_t size) { return memory_.get(test::buffer(index), size); }

  test::Memory memory_{8 << 20};
  RxQueue queue_{"test", 0};
  RxRules rules_;
  std::uint32_t tail_ = 0, size_ = 32;
};
constexpr std::uint64_t kDd = 1, kEof = 2, kTag1 = 4, kChecked = 8, kHash = 3u << 12;

TEST_F(IntelRx, StoresFramesOfAllCommonSizesAsTheyAre) {
  const std::vector<std::size_t> sizes{60, 61, 64, 65, 127, 128, 129, 1514, 2048};
  for (const std::size_t size : sizes)
    ASSERT_EQ(deliver(pattern(size, static_cast<unsigned>(size))), 1u);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    EXPECT_EQ(status(i) & 3, kDd | kEof);
    EXPECT_EQ(length(i), sizes[i]);
    EXPECT_EQ(stored(i, sizes[i]), pattern(sizes[i], static_cast<unsigned>(sizes[i])));
  }
  EXPECT_TRUE(queue_.flush());
  EXPECT_FALSE(queue_.flush());
}

// As a lane is for a moment when its first queue is enabled: nothing may be longer than nothing.
TEST_F(IntelRx, NothingIsStoredWhereNothingIsAccepted) {
  const Bytes before = stored(0, 4096);
  const Bytes frame = pattern(3000);
  const View v{frame, 128, {65536}};
  RxInfo info;
  steer(rules_, {&v.view, 1}, {&info, 1});
  static_cast<void>(queue_.deliver({&v.view, 1}, {&info, 1}, accepts(rules_, 0), tail_));
  EXPECT_EQ(stored(0, 4096), before);
}

TEST_F(IntelRx, SpreadsALongFrameOverBuffers) {
  const Bytes frame = pattern(5000);
  ASSERT_EQ(deliver(frame), 1u);
  EXPECT_EQ(status(0), kDd);
  EXPECT_EQ(status(1), kDd);
  EXPECT_EQ(status(2) & 3, kDd | kEof);
  EXPECT_EQ(length(0), 2048u);
  EXPECT_EQ(length(2), 5000u - 4096);
  Bytes all = stored(0, 2048);
  packet::test::append(all, stored(1, 2048));
  packet::test::append(all, stored(2, 904));
  EXPECT_EQ(all, frame);
}

// A sender's view has such headers whole; a look at the checksum reaches as far.
TEST_F(IntelRx, FinishesAndVerifiesChecksumsBehindLongHeaders) {
  const packet::test::FarFrame frame{440, pattern(900)};
  View undone{frame.undone, frame.l4 + 32u, {300}};
  undone.view.offload = frame.offload();
  const View done{frame.whole, frame.l4 + 32u, {65536}};
  Bytes broken_bytes = frame.whole;
  broken_bytes.back() ^= 1;
  const View broken{broken_bytes, frame.l4 + 32u, {65536}};
  ASSERT_EQ(deliver(undone.view) + deliver(done.view) + deliver(broken.view), 3u);
  EXPECT_EQ(stored(0, frame.whole.size()), frame.whole);
  EXPECT_EQ(stored(1, frame.whole.size()), frame.whole);
  EXPECT_EQ(status(1) & kChecked, kChecked);
  EXPECT_EQ(errors(1), 0u);
  EXPECT_EQ(errors(2), 1u << 4);
}

TEST_F(IntelRx, TakesNothingWithoutDescriptorsAndCounts) {
  tail_ = 0;
  EXPECT_EQ(deliver(pattern(64)), 0u);
  EXPECT_EQ(queue_.counters().dropped.get(), 1u);
  EXPECT_FALSE(queue_.flush());
}

TEST_F(IntelRx, TakesNoPartOfAFrameThatFindsTooFewBuffers) {
  tail_ = 2;
  EXPECT_EQ(deliver(pattern(5000)), 0u);
  EXPECT_EQ(status(0), 0u);
  EXPECT_EQ(deliver(pattern(64)), 1u);
  EXPECT_EQ(status(0) & 3, kDd | kEof);
}

TEST_F(IntelRx, GoesAroundTheRing) {
  for (unsigned i = 0; i < 200; ++i) {
    ASSERT_EQ(deliver(pattern(64, i)), 1u);
    ASSERT_EQ(stored(i % kLength, 64), pattern(64, i));
    tail_ = i % kLength;  // the driver has filled it again
    memory_.put64(test::kRxRing + std::uint64_t{tail_} * size_, test::buffer(tail_));
  }
  EXPECT_EQ(queue_.counters().frames.get(), 200u);
}

TEST_F(IntelRx, DeliversABurstAcrossTheEndOfTheRing) {
  for (unsigned i = 0; i < 50; ++i)
    ASSERT_EQ(deliver(pattern(64, i)), 1u);
  tail_ = 49;
  std::vector<std::unique_ptr<View>> views;
  std::vector<Bytes> bytes;
  std::vector<packet::FrameView> frames;
  for (unsigned i = 0; i < 32; ++i)
    bytes.push_back(pattern(100 + i, i));
  for (const Bytes& frame : bytes) {
    views.push_back(std::make_unique<View>(frame, 128, std::initializer_list<std::size_t>{65536}));
    frames.push_back(views.back()->view);
  }
  for (std::uint64_t i = 0; i < kLength; ++i)
    memory_.put64(test::kRxRing + i * size_, test::buffer(i));
  std::vector<RxInfo> infos(frames.size());
  steer(rules_, frames, infos);
  EXPECT_EQ(queue_.deliver(frames, infos, accepts(rules_, 9728), tail_), 32u);
  for (unsigned i = 0; i < 32; ++i)
    EXPECT_EQ(stored((50 + i) % kLength, 100 + i), bytes[i]);
}

TEST_F(IntelRx, TellsPacketTypesAndGoodChecksums) {
  ASSERT_EQ(deliver(whole_frame({}, pattern(100))), 1u);
  ASSERT_EQ(deliver(whole_frame({.ip = packet::test::Ip::v6, .proto = packet::test::Proto::udp}, pattern(100))), 1u);
  ASSERT_EQ(deliver(pattern(64)), 1u);
  EXPECT_EQ(ptype(0), 26u);
  EXPECT_EQ(ptype(1), 90u);
  EXPECT_EQ(ptype(2), 1u);
  EXPECT_EQ(status(0) & kChecked, kChecked);
  EXPECT_EQ(status(2) & kChecked, 0u);
  EXPECT_EQ(errors(0), 0u);
  EXPECT_EQ(errors(1), 0u);
}

TEST_F(IntelRx, TellsBadChecksums) {
  Bytes frame = whole_frame({}, pattern(1000));
  frame[500] ^= 1;
  ASSERT_EQ(deliver(frame), 1u);
  frame = whole_frame({}, pattern(1000));
  frame[14 + 8] ^= 1;  // TTL
  ASSERT_EQ(deliver(frame), 1u);
  EXPECT_EQ(errors(0), 1u << 4);
  EXPECT_EQ(errors(1), 1u << 3);
}

TEST_F(IntelRx, ChecksWhatItCopiesWhereverHeaderAndSegmentEnd) {
  using packet::test::Ip, packet::test::Proto;
  std::size_t index = 0;
  const auto take = [&](const Bytes& frame, std::size_t header, std::initializer_list<std::size_t> slices) {
    const View v{frame, header, slices};
    ASSERT_EQ(deliver(v.view), 1u);
    ASSERT_EQ(stored(index, frame.size()), frame);
    tail_ = static_cast<std::uint32_t>(index);
  };
  const auto next = [&] {  // the driver fills it again
    const std::uint64_t said = errors(index);
    memory_.put64(test::kRxRing + index * size_, test::buffer(index));
    index = (index + 1) % kLength;
    return said;
  };
  constexpr std::uint64_t kBad = 1u << 4;
  for (const std::size_t header : {86u, 99u, 128u}) {
    for (const std::size_t payload : {0u, 1u, 2u, 3u, 4u, 5u, 6u, 7u, 25u, 64u, 127u, 600u, 1401u, 1440u}) {
      for (const Ip ip : {Ip::v4, Ip::v6}) {
        for (const std::size_t padding : {0u, 1u, 90u}) {
          SCOPED_TRACE(testing::Message() << header << ' ' << payload << ' ' << padding);
          Bytes frame = whole_frame({.ip = ip, .proto = Proto::udp}, pattern(payload, 3));
          const std::size_t end = frame.size();
          packet::test::append(frame, pattern(padding, 4));
          frame.resize(std::max<std::size_t>(frame.size(), 64));
          take(frame, header, {65536});
          ASSERT_EQ(next(), 0u);
          take(frame, header, {301, 64});
          ASSERT_EQ(next(), 0u);
          frame[end - 1] ^= 0x40;  // of the segment's, or of its length
          take(frame, header, {65536});
          ASSERT_EQ(next(), kBad);
        }
      }
    }
  }
}

TEST_F(IntelRx, CallsASegmentBadThatIsLongerThanItsFrame) {
  Bytes frame = whole_frame({}, pattern(700));
  frame.pop_back();
  ASSERT_EQ(deliver(frame), 1u);
  EXPECT_EQ(errors(0), 1u << 4);
  EXPECT_EQ(stored(0, frame.size()), frame);
}

TEST_F(IntelRx, SurvivesABufferThatIsBeingSentFrom) {
  const Bytes frame = whole_frame({}, pattern(1400));
  for (const std::uint64_t distance : {1u, 31u, 32u, 100u}) {
    const std::uint64_t source = test::buffer(2) + distance;
    memory_.put64(test::kRxRing + std::uint64_t{queue_.state().head} * size_, test::buffer(2));
    memory_.put(source, frame);
    const std::span<const std::byte> sent = std::as_bytes(std::span{memory_.at(source), frame.size()});
    const packet::Slice payload = sent.subspan(128);
    packet::FrameView view;
    view.header = packet::test::slice(frame).first(128);  // always a copy
    view.payload = {&payload, 1};
    view.length = static_cast<std::uint32_t>(frame.size());
    ASSERT_EQ(deliver(view), 1u);
    EXPECT_EQ(memory_.get(test::buffer(2), 128), (Bytes{frame.begin(), frame.begin() + 128})) << distance;
  }
}

TEST_F(IntelRx, FinishesAChecksumThatTheSenderLeftUndone) {
  const Bytes whole = whole_frame({.tcp_options = false}, pattern(900));
  Bytes frame = whole;
  const auto headers = packet::parse(packet::test::slice(frame));
  packet::test::set16(frame, 50, packet::pseudo_header_sum(packet::test::slice(frame), *headers, 920));
  View v{frame, 128, {400}};
  v.view.offload = {.needs_checksum = true, .csum_start = 34, .csum_offset = 16};
  ASSERT_EQ(deliver(v.view), 1u);
  EXPECT_EQ(stored(0, whole.size()), whole);
  EXPECT_EQ(errors(0), 0u);
}

TEST_F(IntelRx, StripsATagInTheBytes) {
  rules_.vlan.outer.strip = true;
  ASSERT_EQ(deliver(whole_frame({.tag = 0x3007}, pattern(100))), 1u);
  EXPECT_EQ(stored(0, whole_frame({}, pattern(100)).size()), whole_frame({}, pattern(100)));
  EXPECT_EQ(status(0) & kTag1, kTag1);
  EXPECT_EQ(word(0, 0) >> 16 & 0xffff, 0x3007u);
  EXPECT_EQ(errors(0), 0u);
}

TEST_F(IntelRx, StripsATagBesideTheBytes) {
  rules_.vlan.outer.strip = true;
  const Bytes frame = whole_frame({}, pattern(100));
  View v{frame, 128, {65536}};
  v.view.offload.has_vlan = true;
  v.view.offload.vlan_tci = 0x0fff;
  ASSERT_EQ(deliver(v.view), 1u);
  EXPECT_EQ(stored(0, frame.size()), frame);
  EXPECT_EQ(word(0, 0) >> 16 & 0xffff, 0x0fffu);
}

TEST_F(IntelRx, PutsATagBesideTheBytesIntoThemWithoutStripping) {
  const Bytes frame = whole_frame({}, pattern(100));
  View v{frame, 128, {65536}};
  v.view.offload.has_vlan = true;
  v.view.offload.vlan_tci = 0x3007;
  ASSERT_EQ(deliver(v.view), 1u);
  const Bytes tagged = whole_frame({.tag = 0x3007}, pattern(100));
  EXPECT_EQ(stored(0, tagged.size()), tagged);
  EXPECT_EQ(status(0) & (kTag1 | kChecked), kChecked);
  EXPECT_EQ(errors(0), 0u);
}

TEST_F(IntelRx, TellsTheHash) {
  rules_.rss.enabled = true;
  rules_.rss.hena = kHashedPackets;
  rules_.rss.key[0] = 0x6d;
  rules_.prepare_hash();
  ASSERT_EQ(deliver(whole_frame({}, pattern(100))), 1u);
  EXPECT_EQ(status(0) & kHash, kHash);
}

TEST_F(IntelRx, WritesNarrowDescriptors) {
  start({.ring = Iova{test::kRxRing},
         .length = kLength,
         .buffer_size = 2048,
         .max_frame = 1518,
         .rxdid = rxdid::legacy16,
         .wide = false});
  ASSERT_EQ(deliver(pattern(64)), 1u);
  ASSERT_EQ(deliver(pattern(65)), 1u);
  EXPECT_EQ(length(0), 64u);
  EXPECT_EQ(length(1), 65u);
  EXPECT_EQ(word(2, 0), test::buffer(2));
}

TEST_F(IntelRx, WritesTheFlexibleLayoutOfDpdk) {
  rules_.rss.enabled = true;
  rules_.rss.hena = kHashedPackets;
  rules_.rss.key[3] = 0x6d;
  rules_.prepare_hash();
  start({.ring = Iova{test::kRxRing},
         .length = kLength,
         .buffer_size = 2048,
         .max_frame = 1518,
         .rxdid = rxdid::comms_ovs});
  const Bytes frame = whole_frame({}, pattern(100));
  ASSERT_EQ(deliver(frame), 1u);
  EXPECT_EQ(word(0, 0) & 0x3f, 22u);
  EXPECT_EQ(word(0, 0) >> 16 & 0x3ff, 26u);
  EXPECT_EQ(word(0, 0) >> 32 & 0x3fff, frame.size());
  EXPECT_EQ(word(0, 1) & 0xffff, 0x100bu);   // DD, EOF, L3L4P, RSS_VALID
  EXPECT_EQ(word(0, 1) >> 32, 0xffffffffu);  // no flow
  EXPECT_NE(word(0, 3) & 0xffffffff, 0u);
}

TEST_F(IntelRx, KeepsTheFrameCheckSequenceWhenAsked) {
  start({.ring = Iova{test::kRxRing}, .length = kLength, .buffer_size = 2048, .max_frame = 1518, .keep_crc = true});
  Bytes frame(60, 0);  // CRC-32 of sixty zero bytes, by any other implementation
  ASSERT_EQ(deliver(frame), 1u);
  EXPECT_EQ(length(0), 64u);
  packet::test::append(frame, {0x08, 0x89, 0x12, 0x04});
  EXPECT_EQ(stored(0, 64), frame);
}

TEST_F(IntelRx, StopsAtABufferOutsideGuestMemory) {
  memory_.put64(test::kRxRing, 0x10);
  EXPECT_EQ(deliver(pattern(64)), 0u);
  EXPECT_TRUE(queue_.is_stopped());
  EXPECT_EQ(queue_.counters().guest_fault.get(), 1u);
}

TEST_F(IntelRx, StopsAtATailBeyondTheRing) {
  tail_ = kLength;
  EXPECT_EQ(deliver(pattern(64)), 0u);
  EXPECT_TRUE(queue_.is_stopped());
}

TEST_F(IntelRx, AllocatesNothingUnderTraffic) {
  const Bytes frame = whole_frame({}, pattern(100));
  const View v{frame, 128, {65536}};
  const rigs::CountAllocations allocations;
  for (unsigned i = 0; i < 60; ++i)
    ASSERT_EQ(deliver(v.view), 1u);
  EXPECT_EQ(allocations.seen(), 0u);
}

}  // namespace
}  // namespace vmux::intel

// SPDX-License-Identifier: BSD-3-Clause
// What comes out of a capture: blocks as Wireshark reads them, and the ways that it ends.
#include "control/capture/capture_writer.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/test/pcapng_reader.hpp"
#include "packet/test/test_frames.hpp"

namespace vmux::control {
namespace {

using packet::test::Bytes;
using port::DropReason;
using switching::PortId;
using switching::Tap;
using switching::Way;
using test::PcapBlock;

TEST(Pcapng, IsAsTheDraftHasIt) {
  pcapng::Bytes bytes;
  pcapng::append_section(bytes, "vMux 1");
  const std::string expected =
      "0a0d0d0a 2c000000 4d3c2b1a 01000000 ffffffffffffffff 0400 0600 764d75782031 0000 00000000 2c000000";
  std::string hex;
  for (const std::byte byte : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned>(byte));
    hex += digits;
  }
  std::string packed = expected;
  std::erase(packed, ' ');
  EXPECT_EQ(hex, packed);
}

class CaptureWriterTest : public testing::Test {
 protected:
  static constexpr PortId kFirst{1}, kSecond{2};
  void SetUp() override { begin({}); }
  void begin(CaptureWriter::Options options, std::size_t ring = 1 << 20, std::uint32_t snaplen = 128) {
    writer.reset();
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    reader = UniqueFd{ends[0]};
    ::fcntl(reader.get(), F_SETFL, O_NONBLOCK);
    taps.clear();
    for (int i = 0; i < 2; ++i)
      taps.push_back(std::make_unique<Tap>(switching::CaptureRules{.snaplen = snaplen}, ring));
    options.on_change = [this] { return ++changes > 0; };
    writer = std::make_unique<CaptureWriter>(*poller, UniqueFd{ends[1]}, std::vector{taps[0].get(), taps[1].get()},
                                             std::move(options));
    ASSERT_TRUE(writer->start());
    writer->add(kFirst, "vm0", "vm0 on switch sw");
  }
  void take(std::size_t tap, std::uint64_t time_ns, PortId port = kFirst, Way way = Way::in,
            DropReason why = DropReason::none, std::size_t size = 61) {
    const Bytes frame = packet::test::pattern(size, static_cast<unsigned>(time_ns));
    const packet::test::View view{frame, 61, {size}};
    taps[tap]->take(
        {.time_ns = time_ns, .port = port, .queue = static_cast<std::uint16_t>(tap), .way = way, .why = why},
        view.view);
    taps[tap]->publish();
  }
  void run() {
    for (int i = 0; i < 20; ++i)
      static_cast<void>(poller->run_once(0));
    char buffer[65536];
    for (ssize_t got = 0; (got = ::read(reader.get(), buffer, sizeof buffer)) >= 0;) {
      file.append(buffer, static_cast<std::size_t>(got));
      if (got == 0) is_closed = true;
      if (got == 0) break;
      static_cast<void>(poller->run_once(0));
    }
  }
  [[nodiscard]] std::vector<PcapBlock> blocks(std::uint32_t type) const {
    std::vector<PcapBlock> found;
    for (const PcapBlock& block : test::read_pcapng(file)) {
      if (block.type == type) found.push_back(block);
    }
    return found;
  }

  std::unique_ptr<runtime::Poller> poller = *runtime::Poller::create();
  UniqueFd reader;
  std::vector<std::unique_ptr<Tap>> taps;
  std::unique_ptr<CaptureWriter> writer;
  int changes = 0;
  bool is_closed = false;
  std::string file;
};

constexpr std::uint32_t kInterface = 1, kStatistics = 5, kPacket = 6;

TEST_F(CaptureWriterTest, WritesFramesWithTheirWayQueueAndFate) {
  take(1, 1000, kFirst, Way::out, DropReason::no_room);
  run();
  ASSERT_EQ(blocks(kInterface).size(), 1u);
  EXPECT_EQ(blocks(kInterface)[0].text(2), "vm0");
  EXPECT_EQ(blocks(kInterface)[0].number(9), 9u);  // nanoseconds
  ASSERT_EQ(blocks(kPacket).size(), 1u);
  const PcapBlock packet = blocks(kPacket)[0];
  EXPECT_EQ(packet.word(0), 0u);
  EXPECT_EQ(packet.word(12), 61u);
  EXPECT_EQ(packet.word(16), 61u);
  const Bytes frame = packet::test::pattern(61, 1000);
  EXPECT_EQ(packet.body.substr(20, 61), std::string(frame.begin(), frame.end()));
  EXPECT_EQ(packet.text(1), "dropped: no_room");
  EXPECT_EQ(packet.number(2), 2u);  // outbound
  EXPECT_EQ(packet.number(6), 1u);  // its queue
}

TEST_F(CaptureWriterTest, PutsFramesOfSeveralPollersInTheOrderOfTheirTime) {
  for (const std::uint64_t time : {10u, 30u, 50u})
    take(0, time);
  for (const std::uint64_t time : {20u, 40u})
    take(1, time);
  run();
  std::vector<std::uint32_t> queues;
  for (const PcapBlock& packet : blocks(kPacket))
    queues.push_back(static_cast<std::uint32_t>(packet.number(6)));
  EXPECT_EQ(queues, (std::vector<std::uint32_t>{0, 1, 0, 1, 0}));
}

TEST_F(CaptureWriterTest, NamesPortsThatComeLaterAndThoseThatMoved) {
  writer->add(kSecond, "vm1", "vm1 on switch sw");
  const PortId elsewhere{2 + 1024};  // the same slot, later
  take(0, 1, kSecond);
  run();
  writer->add(elsewhere, "vm0", "vm0 on switch other");
  take(0, 2, elsewhere);
  run();
  const auto packets = blocks(kPacket);
  ASSERT_EQ(packets.size(), 2u);
  EXPECT_EQ(blocks(kInterface).size(), 2u);
  EXPECT_EQ(packets[0].word(0), 1u);
  EXPECT_EQ(packets[1].word(0), 0u);
  EXPECT_EQ(writer->totals().seen, 2u);
}

TEST_F(CaptureWriterTest, EndsWithTheCountThatWasAskedFor) {
  begin({.count = 2});
  for (const std::uint64_t time : {1u, 2u, 3u, 4u})
    take(0, time);
  run();
  EXPECT_EQ(writer->end(), CaptureEnd::count);
  EXPECT_GT(changes, 0);
  writer->finish(CaptureEnd::count, "enough");
  run();
  EXPECT_TRUE(is_closed && writer->is_closed());
  EXPECT_EQ(blocks(kPacket).size(), 2u);
  ASSERT_EQ(blocks(kStatistics).size(), 1u);
  EXPECT_EQ(blocks(kStatistics)[0].text(1), "enough");
  EXPECT_EQ(blocks(kStatistics)[0].number(8), 2u);
  EXPECT_EQ(writer->totals().written, 2u);
}

TEST_F(CaptureWriterTest, EndsWhenItsReaderWantsNoMoreAndWritesWhatItHas) {
  ::shutdown(reader.get(), SHUT_WR);
  run();
  EXPECT_EQ(writer->end(), CaptureEnd::reader);
  take(0, 1);  // before the switch let go
  writer->finish(CaptureEnd::reader, "enough");
  run();
  EXPECT_TRUE(is_closed);
  EXPECT_EQ(blocks(kPacket).size(), 1u);
}

TEST_F(CaptureWriterTest, EndsWhenItsReaderIsGone) {
  reader.reset();
  take(0, 1);
  for (int i = 0; i < 20; ++i)
    static_cast<void>(poller->run_once(0));
  EXPECT_EQ(writer->end(), CaptureEnd::gone);
  EXPECT_TRUE(writer->is_closed());
  writer->finish(CaptureEnd::gone, "gone");
}

TEST_F(CaptureWriterTest, DoesNotWaitForAReaderThatDoesNotRead) {
  begin({}, 1 << 12);
  std::uint64_t time = 0;
  for (int i = 0; i < 500; ++i) {
    for (int j = 0; j < 50; ++j)
      take(0, ++time);
    static_cast<void>(poller->run_once(0));
  }
  const CaptureTotals full = writer->totals();
  EXPECT_EQ(full.seen, 25'000u);
  EXPECT_GT(full.missed, 0u);
  run();
  writer->finish(CaptureEnd::stopped, "enough");
  run();
  std::uint64_t gaps = 0;
  for (const PcapBlock& packet : blocks(kPacket))
    gaps += packet.number(4);
  const PcapBlock last = blocks(kStatistics).back();
  EXPECT_EQ(last.number(5), full.missed);
  EXPECT_EQ(last.number(4), full.seen);
  EXPECT_LE(gaps, full.missed);
  EXPECT_EQ(blocks(kPacket).size() + full.missed, full.seen);
}

// However long it does not read: what is kept for it has a limit.
TEST_F(CaptureWriterTest, TellsOfGapsWhenItsReaderHasWhatCameBefore) {
  begin({}, 1 << 20, 1000);
  for (std::uint64_t time = 0; time < 2000; ++time)
    take(0, time, kFirst, Way::in, DropReason::none, 1000);
  ASSERT_GT(writer->totals().missed, 0u);
  for (int i = 0; i < 100; ++i)
    run();
  EXPECT_EQ(blocks(kStatistics).size(), 1u);
  EXPECT_EQ(test::read_pcapng(file).back().type, kStatistics);
}

TEST_F(CaptureWriterTest, LeavesAtOnceAReaderThatHasNoRoom) {
  for (std::uint64_t i = 0; i < 9000; ++i)
    take(0, i);
  writer->finish(CaptureEnd::daemon, "the daemon ends", /*at_once=*/true);
  EXPECT_TRUE(writer->is_closed());
  run();
  EXPECT_TRUE(is_closed);
  EXPECT_FALSE(blocks(kPacket).empty());
}

}  // namespace
}  // namespace vmux::control

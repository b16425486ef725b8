// SPDX-License-Identifier: BSD-3-Clause
// The header, and messages in pieces, in bursts and in disorder.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "protocol/rig.hpp"

namespace vmux::protocol_test {
namespace {

void send_byte_by_byte(Rig& rig, const Bytes& bytes) {
  for (const auto byte : bytes) {
    rig.send(Bytes{}.u8(byte));
    rig.settle();
  }
}

TEST(Header, RejectsSizeSmallerThanItselfAndCloses) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(Bytes{}.u16(1).u16(2).u32(15).u32(0).u32(0)), EINVAL));
  EXPECT_TRUE(rig.is_closed());
}

TEST(Header, RejectsSizeBeyondTheLongestMessageAndCloses) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(Bytes{}.u16(1).u16(kRegionWrite).u32(~0u).u32(0).u32(0)), EINVAL));
  EXPECT_TRUE(rig.is_closed());
}

TEST(Header, EchoesIdAndCommand) {
  Rig rig{Profile::qemu};
  const auto reply = rig.ask(message(0xffff, kReset));
  EXPECT_EQ(reply.id, 0xffffu);
  EXPECT_EQ(reply.command, kReset);
}

TEST(Header, NoReplyIsHonouredOnEveryCommand) {
  Rig rig{Profile::qemu};
  rig.send(message(2, kReset, {}, kNoReply));
  auto silent = dma_map(3, 0, 4096);
  silent[8] = kNoReply;
  rig.send(silent);
  silent = dma_unmap(4, 0, 4096);
  silent[8] = kNoReply;
  rig.send(silent);
  rig.send(message(5, 99, {}, kNoReply));
  EXPECT_EQ(rig.ask(message(6, kReset)).id, 6u);
}

TEST(Header, UnknownCommandsGetAnErrorAndTheConnectionStays) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(message(1, 0)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(message(2, kDirtyPages, Bytes{}.zeroes(100))), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(message(3, 19)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(message(4, 0xffff)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(message(5, kDmaRead, Bytes{}.u64(0).u64(4))), EINVAL));
  EXPECT_TRUE(is_success(rig.ask(message(6, kReset)), 6, kReset, 0));
}

TEST(Header, ReplyToNothingGetsAnErrorAndTheConnectionStays) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(message(1, kDmaRead, {}, kReply)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(message(2, kReset, {}, 0xf)), EINVAL));
  EXPECT_TRUE(is_success(rig.ask(message(6, kReset)), 6, kReset, 0));
}

TEST(Stream, MessagesArriveByteByByte) {
  Rig rig;
  send_byte_by_byte(rig, qemu_version());
  EXPECT_EQ(rig.receive()->flags, kReply);
  send_byte_by_byte(rig, region_write(2, kBar2, 0, Bytes{}.u32(0x11223344)));
  EXPECT_TRUE(is_success(*rig.receive(), 2, kRegionWrite, 16));
  send_byte_by_byte(rig, region_read(3, kBar2, 0, 4));
  EXPECT_EQ(rig.receive()->payload.number_at(16, 4), 0x11223344u);
  send_byte_by_byte(rig, dma_map(4, 0, 4096));
  EXPECT_TRUE(is_success(*rig.receive(), 4, kDmaMap, 0));
}

TEST(Stream, DescriptorsMayComeWithAnyByte) {
  Rig rig{Profile::qemu};
  const auto file = new_memfd(4096);
  const auto map = dma_map(4, 0, 4096);
  Bytes head, tail;
  head.assign(map.begin(), map.begin() + 20);
  tail.assign(map.begin() + 20, map.end());
  rig.send(head);
  rig.settle();
  rig.send(tail, {file.get()});
  EXPECT_TRUE(is_success(*rig.receive(), 4, kDmaMap, 0));
  EXPECT_NE(rig.function->memory().windows().at(0).host, nullptr);
}

TEST(Stream, BurstIsAnsweredInOrder) {
  Rig rig{Profile::qemu};
  Bytes burst;
  for (unsigned i = 0; i < 500; ++i)
    burst.append(region_write(i, kBar2, 0, Bytes{}.u32(i))).append(region_read(1000 + i, kBar2, 0, 4));
  rig.send(burst);
  for (unsigned i = 0; i < 500; ++i) {
    ASSERT_EQ(rig.receive().value().id, i);
    const auto read = rig.receive().value();
    ASSERT_EQ(read.id, 1000 + i);
    ASSERT_EQ(read.payload.number_at(16, 4), i);
  }
}

TEST(Stream, LongBurstIsServedInTurns) {
  Rig rig{Profile::qemu};
  rig.device.on_write = [] { std::this_thread::sleep_for(std::chrono::milliseconds{3}); };
  Bytes burst;
  for (unsigned i = 0; i < 3; ++i)
    burst.append(region_write(i, kBar2, 0, Bytes{}.u32(i)));
  rig.send(burst);
  rig.poller->run_once();
  EXPECT_EQ(rig.device.writes.size(), 1u);  // other sessions have their turn here
  rig.settle();
  EXPECT_EQ(rig.device.writes.size(), 3u);
  for (unsigned i = 0; i < 3; ++i)
    EXPECT_EQ(rig.receive().value().id, i);
}

// What QEMU does at start: many maps under way, with and without descriptors, several in one read of ours.
TEST(Stream, EachPipelinedMapGetsItsOwnDescriptor) {
  Rig rig{Profile::qemu};
  const auto small = new_memfd(4096), large = new_memfd(0x100000);
  rig.send(dma_map(1, 0, 4096));
  rig.send(dma_map(2, 0x100000, 0x100000), {large.get()});
  rig.send(dma_map(3, 0x10000, 4096));
  rig.send(dma_map(4, 0x20000, 4096), {small.get()});
  rig.send(region_read(5, kBar2, 0, 4));
  EXPECT_EQ(rig.receive()->error, 0u);
  EXPECT_EQ(rig.receive()->error, 0u);
  EXPECT_EQ(rig.receive()->error, 0u);
  EXPECT_EQ(rig.receive()->error, 0u);
  EXPECT_EQ(rig.receive()->id, 5u);
  const auto windows = rig.function->memory().windows();
  ASSERT_EQ(windows.size(), 4u);
  EXPECT_EQ(windows[0].host, nullptr);
  EXPECT_EQ(windows[1].host, nullptr);
  EXPECT_NE(windows[2].host, nullptr);
  EXPECT_NE(windows[3].host, nullptr);
}

TEST(Stream, LargestTransferWorks) {
  vfio_user::ServerOptions options;
  options.max_transfer = 8192;
  Rig rig{options};
  rig.greet(Profile::qemu);
  Bytes data;
  data.resize(4096, 0x5a);
  EXPECT_TRUE(is_success(rig.ask(region_write(2, kBar0, 0x1000, data)), 2, kRegionWrite, 16));
  const auto reply = rig.ask(region_read(3, kBar0, 0x1000, 4096));
  ASSERT_TRUE(is_success(reply, 3, kRegionRead, 16 + 4096));
  EXPECT_EQ(reply.payload.back(), 0x5a);
}

// A client that asks and never reads must not make the server hoard replies.
TEST(Stream, SlowReaderIsHeldBackAndGetsEverythingInTheEnd) {
  Rig rig{Profile::qemu};
  const unsigned count = 2000;
  unsigned sent = 0;
  const auto flags = ::fcntl(rig.raw(), F_GETFL);
  ::fcntl(rig.raw(), F_SETFL, flags | O_NONBLOCK);
  while (sent < count) {
    const auto request = region_read(sent, kBar0, 0x1000, 4096);
    if (::send(rig.raw(), request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) break;
    ++sent;
    rig.settle();
  }
  ASSERT_GT(sent, 50u);
  EXPECT_LT(rig.server->stats().requests, sent + 1u);  // VERSION is one of them: some were not even read
  for (unsigned i = 0; i < sent; ++i) {
    const auto reply = rig.receive();
    ASSERT_TRUE(reply.has_value());
    ASSERT_EQ(reply->id, i);
  }
}

std::size_t resident_bytes() {
  std::size_t size = 0, resident = 0;
  std::ifstream{"/proc/self/statm"} >> size >> resident;
  return resident * 4096;
}

// One that always leaves something unread must not make it keep what it has sent.
TEST(Stream, QueueThatNeverRunsEmptyDoesNotGrow) {
  Rig rig{Profile::qemu};
  Bytes five;  // made once: what is freed stays resident under AddressSanitizer
  for (unsigned i = 0; i < 5; ++i)
    five.append(region_read(i, kBar0, 0x1000, 4096));
  std::vector<std::uint8_t> some(20'000);
  const auto exchange = [&](unsigned count) {
    for (unsigned i = 0; i < count; ++i) {
      rig.send(five);
      rig.settle();
      ASSERT_GT(::recv(rig.raw(), some.data(), some.size(), MSG_DONTWAIT), 0);
    }
  };
  exchange(200);
  const auto before = resident_bytes();
  exchange(1500);  // 30 MB
  EXPECT_LT(resident_bytes(), before + (8u << 20));
}

TEST(Stream, PeerThatLeavesInTheMiddleOfAMessageLeavesNothingBehind) {
  Rig rig{Profile::qemu};
  const auto before = open_fds();
  const auto file = new_memfd(4096);
  const auto map = dma_map(4, 0, 4096);
  Bytes part;
  part.assign(map.begin(), map.begin() + 20);
  rig.send(part, {file.get()});
  rig.settle();
  rig.hang_up();
  EXPECT_EQ(open_fds(), before - 2 + 1);  // ours is still open
  EXPECT_EQ(rig.device.attachments, 0);
}

TEST(Stream, RunningOutOfDescriptorsCostsOneRequest) {
  Rig rig{Profile::qemu};
  const auto file = new_memfd(4096);
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  rlimit tight = limit;
  tight.rlim_cur = 3;  // below what is open: no new descriptor can be had
  rig.send(dma_map(4, 0, 4096), {file.get()});
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  const auto refused = rig.receive();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_TRUE(refused.has_value());
  EXPECT_TRUE(is_error(*refused, EMFILE));
  EXPECT_TRUE(is_success(rig.ask(dma_map(5, 0, 4096), {file.get()}), 5, kDmaMap, 0));
}

TEST(Stream, SpinningServerAnswersWithoutEvents) {
  vfio_user::ServerOptions options;
  options.spin = true;
  Rig rig{options};
  rig.greet(Profile::qemu);
  EXPECT_TRUE(is_success(rig.ask(region_read(3, kBar2, 0, 4)), 3, kRegionRead, 20));
  rig.hang_up();
  EXPECT_EQ(rig.device.attachments, 0);
  rig.connect();
  rig.greet(Profile::qemu);
}

}  // namespace
}  // namespace vmux::protocol_test

// SPDX-License-Identifier: BSD-3-Clause
// A stream that stops anywhere, and what its record says to somebody else then.
#include "ipc/stream_record.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>

namespace vmux::ipc {
namespace {

constexpr std::size_t kLongest = 4096;

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span{text}); }
std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
/// Messages of these tests are of ten bytes.
std::size_t owner_of(std::span<const std::byte> bytes, std::size_t) { return (bytes.size() - 1) / 10 * 10; }

class StreamRecordTest : public testing::Test {
 protected:
  StreamRecordTest() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    ours.reset(ends[0]);
    peer.reset(ends[1]);
  }
  void peer_sends(const std::string& text) {
    ASSERT_EQ(::send(peer.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  }
  std::string peer_reads() {
    char text[8192];
    const ssize_t got = ::recv(peer.get(), text, sizeof text, 0);
    return got < 0 ? "" : std::string{text, static_cast<std::size_t>(got)};
  }
  /// The system call alone, as of a process that died right behind it.
  std::string receive() {
    msghdr message{};
    std::span<const std::byte> bytes;
    const ssize_t got = record.receive(ours.get(), kLongest, MSG_DONTWAIT, message, bytes);
    return got < 0 ? "" : text_of(bytes);
  }
  std::string receive_all() {
    const std::string text = receive();
    record.received(text.size(), nullptr);
    return text;
  }
  ssize_t send(const std::string& text) {
    iovec part{const_cast<char*>(text.data()), text.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    return record.send(ours.get(), message, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  StreamRecord::Left left() {
    auto other = StreamRecord::open(UniqueFd{::fcntl(record.fd(), F_DUPFD_CLOEXEC, 0)});
    EXPECT_TRUE(other);
    auto left = other->left(&owner_of, 10);
    EXPECT_TRUE(left) << (left ? "" : left.error());
    return left ? std::move(*left) : StreamRecord::Left{};
  }

  StreamRecord record = *StreamRecord::create(kLongest);
  UniqueFd ours, peer;
};

TEST_F(StreamRecordTest, HasWhatWasReadThoughNobodyHasSaidSo) {
  peer_sends("0123456789");
  EXPECT_EQ(receive(), "0123456789");
  EXPECT_EQ(text_of(left().in), "0123456789");
  record.received(10, nullptr);
  EXPECT_EQ(text_of(left().in), "0123456789");
}

TEST_F(StreamRecordTest, ServesAgainWhatIsNotCommitted) {
  peer_sends("0123456789abcdefghij");
  EXPECT_EQ(receive_all().size(), 20u);
  record.begin(0);
  EXPECT_TRUE(left().died_serving);
  EXPECT_EQ(left().deaths, 1u);
  EXPECT_EQ(text_of(left().in), "0123456789abcdefghij");
  const std::uint64_t round = record.round();
  record.commit(10, 3, bytes_of("reply"), {});
  EXPECT_NE(record.round(), round);
  const auto now = left();
  EXPECT_FALSE(now.died_serving);
  EXPECT_EQ(now.image, 3u);
  EXPECT_EQ(text_of(now.in), "abcdefghij");
  EXPECT_EQ(text_of(now.out), "reply");
}

TEST_F(StreamRecordTest, KnowsWhatWasSent) {
  record.commit(0, 1, bytes_of("first"), {});
  record.commit(0, 1, bytes_of("second"), {});
  EXPECT_EQ(text_of(left().out), "firstsecond");
  EXPECT_EQ(send("first"), 5);
  EXPECT_EQ(text_of(left().out), "second");
  EXPECT_EQ(send("second"), 6);
  EXPECT_EQ(text_of(left().out), "");
  EXPECT_EQ(peer_reads(), "firstsecond");
}

TEST_F(StreamRecordTest, KeepsDescriptorsWithTheirMessages) {
  StreamFds fds;
  fds.position = 10;
  fds.count = 2;
  fds.fds[0] = 100;
  fds.fds[1] = 101;
  peer_sends("0123456789abcdefghij");
  EXPECT_EQ(receive().size(), 20u);
  record.received(20, &fds);
  ASSERT_EQ(left().arrived.size(), 1u);
  EXPECT_EQ(left().arrived[0].fds[1], 101);
  record.commit(10, 1, {}, {});
  EXPECT_EQ(left().arrived.size(), 1u);
  StreamFds out;
  out.count = 1;
  out.fds[0] = 200;
  record.commit(20, 1, bytes_of("reply"), {&out, 1});
  EXPECT_TRUE(left().arrived.empty());
  ASSERT_EQ(left().departing.size(), 1u);
  EXPECT_EQ(left().departing[0].fds[0], 200);
  EXPECT_EQ(send("reply"), 5);
  EXPECT_TRUE(left().departing.empty());
}

// What is left moves to the front of its buffer now and then; whoever looks in between sees the same.
TEST_F(StreamRecordTest, GoesRoundItsBuffers) {
  std::string sent, queued;
  for (unsigned i = 0; i < 3000; ++i) {
    std::string message = std::to_string(1'000'000'000 + i);
    peer_sends(message + (i % 7 == 0 ? "12345" : ""));
    const std::string came = receive_all();
    ASSERT_EQ(came.substr(0, 10), i % 7 == 1 ? message : came.substr(0, 10));
    record.commit(left().in_position + (i % 7 == 0 ? 10 : came.size()), i, bytes_of(message), {});
    queued += message;
    if (i % 7 == 0) {
      ASSERT_EQ(text_of(left().in), "12345");
      record.commit(left().in_position + 5, i, {}, {});
    }
    ASSERT_EQ(text_of(left().out), queued);
    if (queued.size() < 2000) continue;
    const ssize_t took = send(queued);
    ASSERT_GT(took, 0);
    ASSERT_EQ(peer_reads(), queued.substr(0, static_cast<std::size_t>(took)));
    queued.erase(0, static_cast<std::size_t>(took));
  }
}

TEST_F(StreamRecordTest, GoesOnWithWhatAnotherLeft) {
  StreamFds fds;
  fds.count = 1;
  fds.fds[0] = 50;
  ASSERT_TRUE(record.begin_with(bytes_of("0123456789"), {&fds, 1}, 1));
  EXPECT_EQ(text_of(left().in), "0123456789");
  ASSERT_EQ(left().arrived.size(), 1u);
  record.commit(0, 1, {}, {});  // nothing was served: whoever died of it before has died of it still
  record.begin(0);
  EXPECT_EQ(left().deaths, 2u);
  record.commit(10, 2, {}, {});
  record.begin(10);
  EXPECT_EQ(left().deaths, 0u);  // not of a message that has come
  EXPECT_FALSE(record.begin_with(std::vector<std::byte>(kLongest + 1), {}, 0));
}

TEST_F(StreamRecordTest, ThatCannotBeIsRefused) {
  EXPECT_FALSE(StreamRecord::open(*make_memfd("short", 100)));
  EXPECT_FALSE(StreamRecord::open(*make_memfd("of nothing", 1 << 20)));
  EXPECT_FALSE(StreamRecord::open(UniqueFd{}));
}

}  // namespace
}  // namespace vmux::ipc

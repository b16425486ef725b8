// SPDX-License-Identifier: BSD-3-Clause
// "twin_socket" of VFIO_USER_VERSION: the server's requests and their replies on a socket of their own.
#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <string>

#include "protocol/rig.hpp"

namespace vmux::protocol_test {
namespace {

constexpr std::uint64_t kAt = 0xc0000;

std::string json_of(const Reply& version) { return {version.payload.begin() + 4, version.payload.end() - 1}; }

/// A client that asked for it and got it, with memory that has no descriptor.
struct TwinRig : Rig {
  explicit TwinRig(vfio_user::ServerOptions options = {}) : Rig(std::move(options)) {
    auto version = ask(twin_version());
    EXPECT_EQ(version.flags, kReply);
    EXPECT_EQ(version.fds.size(), 1u);
    if (!version.fds.empty()) twin = std::move(version.fds.front());
    EXPECT_EQ(ask(dma_map(2, kAt, 0x10000)).error, 0u);
    EXPECT_EQ(ask(region_write(3, kConfig, 4, Bytes{}.u16(6))).error, 0u);  // bus master on
  }
  void start_read() {
    function->dma_read(Iova{kAt}, std::as_writable_bytes(std::span{bytes}), [this](Result<void> how) {
      is_done = true;
      result = how;
    });
  }
  /// What has come on the second socket.
  Bytes received() {
    settle();
    std::array<std::uint8_t, 4096> buffer;
    const ssize_t got = ::recv(twin.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    Bytes all;
    if (got > 0) all.assign(buffer.begin(), buffer.begin() + got);
    return all;
  }
  void say(const Bytes& bytes_) {
    EXPECT_EQ(::send(twin.get(), bytes_.data(), bytes_.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes_.size()));
    settle();
  }
  UniqueFd twin;
  std::array<char, 8> bytes{};
  bool is_done = false;
  Result<void> result;
};

Bytes answer_to(const Bytes& request) {
  return message(static_cast<unsigned>(request.number_at(0, 2)), kDmaRead, Bytes{}.u64(kAt).u64(8).text("ABCDEFGH"),
                 kReply);
}

TEST(TwinSocket, ComesWithTheReplyToVersion) {
  Rig rig;
  const auto version = rig.ask(twin_version());
  EXPECT_EQ(version.flags, kReply);
  EXPECT_NE(json_of(version).find(R"("twin_socket":{"supported":true,"fd_index":0})"), std::string::npos);
  ASSERT_EQ(version.fds.size(), 1u);
  int type = 0;
  socklen_t size = sizeof type;
  EXPECT_EQ(::getsockopt(version.fds[0].get(), SOL_SOCKET, SO_TYPE, &type, &size), 0);
  EXPECT_EQ(type, SOCK_STREAM);
}

TEST(TwinSocket, IsForThoseWhoAskForIt) {
  Rig rig;
  const auto version = rig.ask(qemu_version());
  EXPECT_EQ(json_of(version).find("twin_socket"), std::string::npos);
  EXPECT_TRUE(version.fds.empty());
}

TEST(TwinSocket, IsNotMadeForAClientThatReadsNoReply) {
  Rig rig;
  const std::size_t before = open_fds();
  rig.send(twin_version(kNoReply));
  rig.settle();
  EXPECT_EQ(rig.ask(region_read(2, kBar2, 0, 4)).flags, kReply);
  EXPECT_EQ(open_fds(), before);
}

TEST(TwinSocket, CarriesRequestsAndTheirReplies) {
  TwinRig rig;
  rig.start_read();
  const Bytes request = rig.received();
  ASSERT_EQ(request.size(), 32u);
  EXPECT_EQ(request.number_at(2, 2), kDmaRead);
  EXPECT_EQ(request.number_at(16, 8), kAt);
  EXPECT_FALSE(rig.receive().has_value());  // nothing of it on the first
  rig.say(answer_to(request));
  EXPECT_TRUE(rig.is_done && rig.result);
  EXPECT_EQ(std::string(rig.bytes.data(), 8), "ABCDEFGH");
}

// That is what it is for: on one socket this request would come after the reply.
TEST(TwinSocket, IsNotHeldUpByAnUnmapThatWaitsForReaders) {
  TwinRig rig;
  EXPECT_EQ(rig.ask(dma_map(4, 0x100000, 0x1000)).error, 0u);
  SlowReader lagging;
  rig.function->memory().attach(lagging);
  rig.send(dma_unmap(5, 0x100000, 0x1000));
  EXPECT_FALSE(rig.receive().has_value());
  rig.start_read();
  rig.say(answer_to(rig.received()));
  EXPECT_TRUE(rig.is_done && rig.result);
  rig.function->memory().detach(lagging);
  EXPECT_EQ(rig.receive().value().id, 5u);
}

TEST(TwinSocket, RepliesOnTheFirstAnswerNothing) {
  TwinRig rig;
  rig.start_read();
  const Bytes request = rig.received();
  EXPECT_TRUE(is_error(rig.ask(answer_to(request)), EINVAL));
  EXPECT_FALSE(rig.is_done);
  rig.say(answer_to(request));
  EXPECT_TRUE(rig.is_done && rig.result);
}

TEST(TwinSocket, TakesItsRepliesByteByByte) {
  TwinRig rig;
  rig.start_read();
  for (const std::uint8_t byte : answer_to(rig.received())) {
    EXPECT_FALSE(rig.is_done);
    rig.say(Bytes{}.u8(byte));
  }
  EXPECT_TRUE(rig.is_done && rig.result);
}

TEST(TwinSocket, TakesAReplyWithAsMuchDataAsTheServerTakes) {
  TwinRig rig{{.max_transfer = 8}};
  rig.start_read();
  rig.say(answer_to(rig.received()));
  EXPECT_TRUE(rig.is_done && rig.result);
}

TEST(TwinSocket, GetsTheRestOfARequestThatIsLongerThanASocketHolds) {
  TwinRig rig;
  const std::vector<std::byte> much(1 << 20, std::byte{0x5a});
  EXPECT_EQ(rig.ask(dma_map(4, much.size(), much.size())).error, 0u);
  rig.function->dma_write(Iova{much.size()}, much, [](Result<void>) {});
  std::size_t got = 0;
  for (Bytes part = rig.received(); !part.empty(); part = rig.received())
    got += part.size();
  EXPECT_EQ(got, 32 + much.size());
}

struct Breach {
  const char* name;
  Bytes bytes;
};
class TwinBreach : public testing::TestWithParam<Breach> {};
TEST_P(TwinBreach, EndsTheSessionAndTheTransfer) {
  TwinRig rig;
  rig.start_read();
  EXPECT_EQ(rig.received().number_at(0, 2), 1u);
  rig.say(GetParam().bytes);
  EXPECT_TRUE(rig.is_closed());
  EXPECT_TRUE(rig.is_done && !rig.result);
}
INSTANTIATE_TEST_SUITE_P(Bytes, TwinBreach,
                         testing::Values(Breach{"Command", region_read(1, kBar2, 0, 4)},
                                         Breach{"CommandInPlaceOfTheReply",
                                                message(1, kDmaRead, Bytes{}.u64(kAt).u64(8).zeroes(8))},
                                         Breach{"ReplyToNothing", message(77, kDmaRead, {}, kReply)},
                                         Breach{"SizeBelowTheHeader", Bytes{}.u16(1).u16(11).u32(3).u32(1).u32(0)},
                                         Breach{"Endless", Bytes{}.u16(1).u16(11).u32(~0u).u32(1).u32(0)}),
                         [](const auto& its) { return its.param.name; });

TEST(TwinSocket, ThatIsClosedEndsTheSessionAndLeavesNothingOpen) {
  const std::size_t before = open_fds();
  {
    TwinRig rig;
    rig.start_read();
    rig.settle();
    rig.twin.reset();
    EXPECT_TRUE(rig.is_closed());
    EXPECT_TRUE(rig.is_done && !rig.result);
    rig.connect();  // and the next client is served
    rig.greet(Profile::qemu);
  }
  EXPECT_EQ(open_fds(), before);
}

TEST(TwinSocket, DescriptorsThatComeOnItAreClosed) {
  TwinRig rig;
  rig.start_read();
  const Bytes request = rig.received();
  const std::size_t before = open_fds();
  const Bytes reply = answer_to(request);
  iovec part{const_cast<std::uint8_t*>(reply.data()), reply.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof(int));
  *reinterpret_cast<int*>(CMSG_DATA(head)) = rig.twin.get();
  ASSERT_EQ(::sendmsg(rig.twin.get(), &message, MSG_NOSIGNAL), static_cast<ssize_t>(reply.size()));
  rig.settle();
  EXPECT_TRUE(rig.is_done && rig.result);
  EXPECT_EQ(open_fds(), before);
}

TEST(TwinSocket, MalformedOfferIsRefused) {
  Rig rig;
  const auto reply = rig.ask(
      message(1, kVersion, Bytes{}.u16(0).u16(0).text(R"({"capabilities":{"twin_socket":{"supported":1}}})").u8(0)));
  EXPECT_TRUE(is_error(reply, EINVAL));
  EXPECT_TRUE(rig.is_closed());
}

}  // namespace
}  // namespace vmux::protocol_test

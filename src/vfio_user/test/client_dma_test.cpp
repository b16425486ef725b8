// SPDX-License-Identifier: BSD-3-Clause
// What the server asks of the client: memory, on the first socket or on a second one.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "vfio_user/test/scripted_server.hpp"
#include "vmux/vfio_user/client.hpp"

namespace vmux::vfio_user {
namespace {

TEST(Client, RefusesADmaReadThatNobodyAnswersAndGoesOnWaiting) {
  ScriptedServer server{{agree(),
                         [](const Bytes&) {
                           Bytes body;
                           body << std::uint64_t{0x1000} << std::uint64_t{4};
                           return message(77, kDmaRead, 0, 0, body);
                         },
                         [](const Bytes&) { return message(1, kReset, kReply, 0, {}); }}};
  const auto client = Client::adopt(std::move(server.client_end));
  ASSERT_TRUE(client);
  static_cast<void>((*client)->reset());
  server.join();
  ASSERT_EQ(server.requests.size(), 3u);
  EXPECT_EQ(at<std::uint16_t>(server.requests[2], 0), 77u);
  EXPECT_EQ(at<std::uint32_t>(server.requests[2], 8) & (kReply | kError), kReply | kError);
}

struct Alphabet final : DmaTarget {
  bool read(Iova from, std::span<std::byte> into) noexcept override {
    asked = from.raw;
    std::memcpy(into.data(), "ABCDEFGH", std::min<std::size_t>(into.size(), 8));
    return true;
  }
  bool write(Iova, std::span<const std::byte>) noexcept override { return false; }
  std::uint64_t asked = 0;
};

Bytes ask_for_memory() {
  Bytes body;
  body << std::uint64_t{0x1000} << std::uint64_t{8};
  return message(77, kDmaRead, 0, 0, body);
}

// The server answers the call only when it has got the memory that it asked for over the second socket.
TEST(Client, AnswersOnTheSecondSocketWhileItWaitsOnTheFirst) {
  TwinServer server;
  Bytes told;
  std::thread serving{[&] {
    server.agree(kTwinJson);
    const Bytes read = TwinServer::receive(server.socket);
    TwinServer::send(server.twin, reply_to(read, Bytes(20, 0x5a)));  // which answers nothing there
    TwinServer::send(server.twin, ask_for_memory());
    told = TwinServer::receive(server.twin);
    TwinServer::send(server.socket, reply_to(read, region_reply(4, 4)));
  }};
  Alphabet memory;
  auto client = Client::adopt(std::move(server.client_end), {.timeout_ns = kForever, .twin_socket = true});
  std::uint32_t value = 0;
  EXPECT_TRUE(client);
  if (client) {
    (*client)->set_dma_target(&memory);
    EXPECT_TRUE((*client)->limits().twin_socket);
    EXPECT_GE((*client)->twin_fd(), 0);
    EXPECT_TRUE(read_register(**client, value));
    client->reset();  // hangs up, should the server still wait
  }
  serving.join();
  EXPECT_EQ(value, 0xa5a5a5a5u);
  EXPECT_EQ(memory.asked, 0x1000u);
  EXPECT_EQ(at<std::uint16_t>(told, 0), 77u);
  EXPECT_EQ(at<std::uint32_t>(told, 8), kReply);
  EXPECT_EQ(std::string(told.begin() + 32, told.end()), "ABCDEFGH");
}

// The server reads nothing more before it has got the memory that it asked for.
TEST(Client, AnswersOnTheSecondSocketWhileTheFirstIsFull) {
  TwinServer server;
  std::size_t got = 0;
  std::thread serving{[&] {
    server.agree(kTwinJson);
    TwinServer::send(server.twin, ask_for_memory());
    EXPECT_EQ(TwinServer::receive(server.twin).size(), 40u);
    while (got < (1 << 20)) {
      const Bytes part = TwinServer::receive(server.socket);
      if (part.empty()) break;
      got += part.size();
    }
  }};
  Alphabet memory;
  auto client = Client::adopt(std::move(server.client_end), {.timeout_ns = kForever, .twin_socket = true});
  EXPECT_TRUE(client);
  if (client) {
    (*client)->set_dma_target(&memory);
    const std::vector<std::byte> much(1 << 20);
    EXPECT_TRUE((*client)->write_posted(pci::Region::bar0, RegionOffset{0}, much));
    client->reset();
  }
  serving.join();
  EXPECT_GE(got, std::size_t{1} << 20);
}

TEST(Client, ServesItsSecondSocketBetweenCalls) {
  TwinServer server;
  std::thread serving{[&] { server.agree(kTwinJson); }};
  Alphabet memory;
  const auto client = Client::adopt(std::move(server.client_end), {.twin_socket = true});
  serving.join();
  ASSERT_TRUE(client);
  (*client)->set_dma_target(&memory);
  TwinServer::send(server.twin, ask_for_memory());
  EXPECT_TRUE((*client)->serve());
  EXPECT_EQ(TwinServer::receive(server.twin).size(), 40u);
  server.twin.reset();
  EXPECT_FALSE((*client)->serve());  // gone
}

/// Counts what is asked of it.
struct Count final : DmaTarget {
  bool read(Iova, std::span<std::byte>) noexcept override {
    ++reads;
    return true;
  }
  bool write(Iova, std::span<const std::byte>) noexcept override { return false; }
  std::size_t reads = 0;
};

// Each request of 32 bytes is to be answered with 64 KiB: a server that asks and does not read makes the client wait,
// not grow. What it asked for comes when it reads.
TEST(Client, KeepsFewAnswersForAServerThatDoesNotReadThem) {
  constexpr std::size_t kRequests = 2000, kPart = 64 << 10, kAnswer = kHeader + 16 + kPart;
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const UniqueFd server{ends[0]};
  std::thread agreeing{[&] { TwinServer::send(server, reply_to(TwinServer::receive(server), version_body(0, "{}"))); }};
  const auto client = Client::adopt(UniqueFd{ends[1]}, {.max_transfer = kPart, .timeout_ns = kShort});
  agreeing.join();
  ASSERT_TRUE(client);
  Count memory;
  (*client)->set_dma_target(&memory);
  Bytes body, all;
  body << std::uint64_t{0x1000} << std::uint64_t{kPart};
  for (std::size_t i = 0; i < kRequests; ++i) {
    const Bytes one = message(static_cast<std::uint16_t>(i), kDmaRead, 0, 0, body);
    all.insert(all.end(), one.begin(), one.end());
  }
  TwinServer::send(server, all);
  const auto served = (*client)->serve();
  ASSERT_FALSE(served);
  EXPECT_EQ(served.error().code, Errc::timed_out);
  EXPECT_LT(memory.reads, 100u);

  std::size_t got = 0;
  std::thread reading{[&] {
    for (Bytes part = TwinServer::receive(server); !part.empty(); part = TwinServer::receive(server))
      got += part.size();
  }};
  while (memory.reads < kRequests)
    static_cast<void>((*client)->serve());
  ::shutdown((*client)->fd(), SHUT_WR);
  reading.join();
  EXPECT_EQ(got, kRequests * kAnswer);
}

struct TwinOffer {
  const char* name;
  const char* json;
  bool asked, with_fd;
};
class BadTwin : public testing::TestWithParam<TwinOffer> {};
TEST_P(BadTwin, IsNotAgreedTo) {
  TwinServer server;
  std::thread serving{[&] { server.agree(GetParam().json, GetParam().with_fd); }};
  EXPECT_FALSE(Client::adopt(std::move(server.client_end), {.twin_socket = GetParam().asked}));
  serving.join();
}
INSTANTIATE_TEST_SUITE_P(
    Offers, BadTwin,
    testing::Values(TwinOffer{"WithoutDescriptor", kTwinJson, true, false},
                    TwinOffer{"NotAskedFor", kTwinJson, false, true},
                    TwinOffer{"WithoutIndex", R"({"capabilities":{"twin_socket":{"supported":true}}})", true, true},
                    TwinOffer{"IndexBeyondTheLast",
                              R"({"capabilities":{"twin_socket":{"supported":true,"fd_index":1}}})", true, true},
                    TwinOffer{"IndexThatIsNoNumber",
                              R"({"capabilities":{"twin_socket":{"supported":true,"fd_index":"0"}}})", true, true}),
    [](const auto& its) { return its.param.name; });

}  // namespace
}  // namespace vmux::vfio_user

// SPDX-License-Identifier: BSD-3-Clause
// The client against a server that says what the test tells it to, in bytes written out by hand.
#include "vmux/vfio_user/client.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace vmux::vfio_user {
namespace {

using Bytes = std::vector<std::uint8_t>;

// The message header: id, command (16 bits each), size, flags, error (32 bits each).
constexpr std::size_t kHeader = 16;
constexpr std::uint8_t kReply = 1, kNoReply = 0x10, kError = 0x20;
constexpr std::uint64_t kForever = 3'600'000'000'000;  // ns: ctest's time limit is the failure
constexpr std::uint64_t kShort = 300'000'000;          // ns: a busy machine still agrees on a version within
constexpr std::uint8_t kVersion = 1, kRegionRead = 9, kRegionWrite = 10, kDmaRead = 11, kReset = 13;

template <class T>
T at(const Bytes& bytes, std::size_t offset) {
  T value{};
  if (offset + sizeof value <= bytes.size()) std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

template <class T>
Bytes& operator<<(Bytes& bytes, T value) {
  const auto* raw = reinterpret_cast<const std::uint8_t*>(&value);
  bytes.insert(bytes.end(), raw, raw + sizeof value);
  return bytes;
}

Bytes message(std::uint16_t id, std::uint16_t command, std::uint32_t flags, std::uint32_t error, const Bytes& body) {
  Bytes bytes;
  bytes << id << command << static_cast<std::uint32_t>(kHeader + body.size()) << flags << error;
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

Bytes reply_to(const Bytes& request, const Bytes& body = {}) {
  return message(at<std::uint16_t>(request, 0), at<std::uint16_t>(request, 2), kReply, 0, body);
}

Bytes version_body(std::uint16_t major, const std::string& json) {
  Bytes body;
  body << major << std::uint16_t{0};
  body.insert(body.end(), json.begin(), json.end());
  body.push_back(0);
  return body;
}

Bytes region_reply(std::uint32_t count, std::size_t sent) {
  Bytes body;
  body << std::uint64_t{8} << std::uint32_t{0} << count;
  body.resize(body.size() + sent, 0xa5);
  return body;
}

/// Answers each request with the next step of its script, then hangs up, unless it `stays` for the test to go on.
class ScriptedServer {
 public:
  using Step = std::function<Bytes(const Bytes& request)>;

  /// Sends at most `piece` bytes at once.
  explicit ScriptedServer(std::vector<Step> script, std::size_t piece = 65536, bool stays = false) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    socket_ = UniqueFd{ends[0]};
    client_end = UniqueFd{ends[1]};
    thread_ = std::thread{[this, script = std::move(script), piece, stays] {
      for (const Step& step : script) {
        requests.push_back(receive());
        if (!send(step(requests.back()), piece)) return;
      }
      if (!stays) ::shutdown(socket_.get(), SHUT_WR);
    }};
  }
  ~ScriptedServer() { join(); }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

  UniqueFd client_end;
  std::vector<Bytes> requests;  // to be read after join()

  // For the script's thread, or after join() for the test.
  bool send(const Bytes& answer, std::size_t piece = 65536) {
    for (std::size_t sent = 0; sent < answer.size(); sent += piece) {
      const std::size_t length = std::min(piece, answer.size() - sent);
      if (::send(socket_.get(), answer.data() + sent, length, MSG_NOSIGNAL) < 0) return false;
    }
    return true;
  }
  Bytes receive() {
    Bytes bytes(kHeader);
    if (!fill(bytes, 0)) return {};
    bytes.resize(at<std::uint32_t>(bytes, 4));
    return fill(bytes, kHeader) ? bytes : Bytes{};
  }

 private:
  bool fill(Bytes& bytes, std::size_t from) {
    while (from < bytes.size()) {
      const ssize_t got = ::recv(socket_.get(), bytes.data() + from, bytes.size() - from, 0);
      if (got <= 0) return false;
      from += static_cast<std::size_t>(got);
    }
    return true;
  }
  UniqueFd socket_;
  std::thread thread_;
};

ScriptedServer::Step agree(const std::string& json = R"({"capabilities":{}})") {
  return [json](const Bytes& request) { return reply_to(request, version_body(0, json)); };
}
ScriptedServer::Step answer(Bytes body) {
  return [body = std::move(body)](const Bytes& request) { return reply_to(request, body); };
}

Result<void> read_register(Client& client, std::uint32_t& into) {
  return client.read(pci::Region::bar0, RegionOffset{8}, std::as_writable_bytes(std::span{&into, 1}));
}

TEST(Client, ProposesAVersionAndTakesTheServersLimits) {
  ScriptedServer server{
      {agree(R"({"capabilities":{"max_msg_fds":4,"max_data_xfer_size":4096,"write_multiple":true}})")}};
  const auto client = Client::adopt(std::move(server.client_end));
  ASSERT_TRUE(client);
  EXPECT_EQ((*client)->limits().max_fds, 4u);
  EXPECT_EQ((*client)->limits().max_transfer, 4096u);
  EXPECT_TRUE((*client)->limits().write_multiple);
  server.join();
  EXPECT_EQ(at<std::uint16_t>(server.requests[0], 2), kVersion);
  EXPECT_EQ(server.requests[0].back(), 0);  // the JSON ends with NUL
}

TEST(Client, RefusesAnotherMajorVersion) {
  ScriptedServer server{{[](const Bytes& request) { return reply_to(request, version_body(1, "{}")); }}};
  EXPECT_FALSE(Client::adopt(std::move(server.client_end)));
}

TEST(Client, RefusesAVersionThatIsNoJson) {
  ScriptedServer server{{agree("{\"capabilities\":")}};
  EXPECT_FALSE(Client::adopt(std::move(server.client_end)));
}

TEST(Client, ReadsARegister) {
  ScriptedServer server{{agree(), answer(region_reply(4, 4))}};
  const auto client = Client::adopt(std::move(server.client_end));
  ASSERT_TRUE(client);
  std::uint32_t value = 0;
  ASSERT_TRUE(read_register(**client, value));
  EXPECT_EQ(value, 0xa5a5a5a5u);
  server.join();
  EXPECT_EQ(at<std::uint16_t>(server.requests[1], 2), kRegionRead);
  EXPECT_EQ(at<std::uint64_t>(server.requests[1], 16), 8u);
  EXPECT_EQ(at<std::uint32_t>(server.requests[1], 28), 4u);
}

TEST(Client, TakesAReplyThatComesInPieces) {
  ScriptedServer server{{agree(), [](const Bytes& request) { return reply_to(request, region_reply(4, 4)); }}, 5};
  const auto client = Client::adopt(std::move(server.client_end));
  ASSERT_TRUE(client);
  std::uint32_t value = 0;
  EXPECT_TRUE(read_register(**client, value));
  EXPECT_EQ(value, 0xa5a5a5a5u);
}

TEST(Client, TakesNoReplyThatIsTooShort) {
  ScriptedServer server{{agree(), answer(region_reply(4, 2))}};
  const auto client = Client::adopt(std::move(server.client_end));
  ASSERT_TRUE(client);
  std::uint32_t value = 0;
  EXPECT_FALSE(read_register(**client, value));
}

TEST(Client, TellsTheServersErrno) {
  ScriptedServer server{{agree(), [](const Bytes& request) {
                           return message(at<std::uint16_t>(request, 0), kReset, kReply | kError, EBUSY, {});
                         }}};
  const auto client = Client::adopt(std::move(server.client_end));
  ASSERT_TRUE(client);
  const auto done = (*client)->reset();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::system);
  EXPECT_EQ(done.error().sys, EBUSY);
}

TEST(Client, NoticesThatTheServerIsGone) {
  ScriptedServer server{{agree()}};
  const auto client = Client::adopt(std::move(server.client_end));
  ASSERT_TRUE(client);
  server.join();
  const auto done = (*client)->reset();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::disconnected);
}

TEST(Client, GivesUpOnASilentServer) {
  ScriptedServer server{{agree(), [](const Bytes&) { return Bytes{}; }, [](const Bytes&) { return Bytes{}; }}};
  auto client = Client::adopt(std::move(server.client_end), {.timeout_ns = kShort});
  ASSERT_TRUE(client);
  const auto done = (*client)->reset();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::timed_out);
  client->reset();
}

// The buffer of a call that has returned is not the client's any more.
TEST(Client, AReplyThatComesAfterItsCallCouldNotBeSentInTimeIsDropped) {
  ScriptedServer server{{agree()}, 65536, /*stays=*/true};
  auto client = Client::adopt(std::move(server.client_end), {.timeout_ns = kShort});
  ASSERT_TRUE(client);
  server.join();  // it reads nothing now, and this is more than a socket holds
  const std::vector<std::byte> much(1 << 20);
  EXPECT_FALSE((*client)->write_posted(pci::Region::bar0, RegionOffset{0}, much));
  std::uint32_t value = 7;
  EXPECT_FALSE(read_register(**client, value));

  std::thread late{[&server] {
    EXPECT_EQ(at<std::uint16_t>(server.receive(), 2), kRegionWrite);
    const Bytes read = server.receive();
    EXPECT_EQ(at<std::uint16_t>(read, 2), kRegionRead);
    EXPECT_TRUE(server.send(reply_to(read, region_reply(4, 4))));
    for (Bytes reset = server.receive(); !reset.empty(); reset = server.receive())
      EXPECT_TRUE(server.send(reply_to(reset)));
  }};
  while (!(*client)->reset()) {  // however long that thread takes to come
  }
  client->reset();
  late.join();
  EXPECT_EQ(value, 7u);
}

TEST(Client, WaitsForNothingAfterAPostedWrite) {
  ScriptedServer server{{agree(), [](const Bytes&) { return Bytes{}; }}};
  const auto client = Client::adopt(std::move(server.client_end));
  ASSERT_TRUE(client);
  const std::uint32_t value = 7;
  EXPECT_TRUE((*client)->write_posted(pci::Region::bar0, RegionOffset{8}, std::as_bytes(std::span{&value, 1})));
  server.join();
  EXPECT_EQ(at<std::uint16_t>(server.requests[1], 2), kRegionWrite);
  EXPECT_EQ(at<std::uint32_t>(server.requests[1], 8) & kNoReply, kNoReply);
}

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

Bytes io_fd(std::uint64_t offset, std::uint32_t fd_index) {
  Bytes part;
  part << offset << std::uint64_t{4} << fd_index << std::uint32_t{0} << std::uint32_t{1} << std::uint32_t{0}
       << std::uint64_t{7};
  return part;
}
Bytes io_fds(std::uint32_t argsz, std::uint32_t count, const Bytes& parts) {
  Bytes body;
  body << argsz << std::uint32_t{0} << std::uint32_t{2} << count;
  body.insert(body.end(), parts.begin(), parts.end());
  return body;
}

TEST(Client, FindsNoDescriptorsWhereThereAreNone) {
  ScriptedServer server{{agree(), answer(io_fds(16, 0, {}))}};
  const auto client = Client::adopt(std::move(server.client_end));
  const auto found = (*client)->region_io_fds(2);
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->parts.empty());
}

TEST(Client, TakesNoListOfDescriptorsThatIsShortOrNamesWhatIsNotThere) {
  ScriptedServer server{
      {agree(), answer(io_fds(96, 2, io_fd(8, 0))), answer(io_fds(56, 1, io_fd(8, 0))), answer(io_fds(16, 1, {}))}};
  const auto client = Client::adopt(std::move(server.client_end));
  EXPECT_FALSE((*client)->region_io_fds(2));
  EXPECT_FALSE((*client)->region_io_fds(2));
  EXPECT_FALSE((*client)->region_io_fds(2));
}

/// A server that sends descriptors: a second socket along with its first reply, if it agrees to one.
struct TwinServer {
  TwinServer() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    socket = UniqueFd{ends[0]};
    client_end = UniqueFd{ends[1]};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    twin = UniqueFd{ends[0]};
    twin_of_client = UniqueFd{ends[1]};
  }
  static Bytes receive(const UniqueFd& from) {
    Bytes bytes(4096);
    const ssize_t got = ::recv(from.get(), bytes.data(), bytes.size(), 0);
    bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    return bytes;
  }
  static void send(const UniqueFd& to, const Bytes& bytes) {
    EXPECT_EQ(::send(to.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  void send_with(int fd, const Bytes& bytes) {
    iovec part{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr what{};
    what.msg_iov = &part;
    what.msg_iovlen = 1;
    if (fd >= 0) {
      what.msg_control = control.data();
      what.msg_controllen = control.size();
      cmsghdr* const head = CMSG_FIRSTHDR(&what);
      head->cmsg_level = SOL_SOCKET;
      head->cmsg_type = SCM_RIGHTS;
      head->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(head), &fd, sizeof fd);
    }
    EXPECT_EQ(::sendmsg(socket.get(), &what, MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  void agree(const std::string& json, bool with_fd = true) {
    send_with(with_fd ? twin_of_client.get() : -1, reply_to(receive(socket), version_body(0, json)));
    twin_of_client.reset();
  }
  UniqueFd socket, client_end, twin, twin_of_client;
};

constexpr const char* kTwinJson = R"({"capabilities":{"twin_socket":{"supported":true,"fd_index":0}}})";

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

/// What the client makes of this answer, which one descriptor comes with.
Result<IoFds> io_fds_from(const Bytes& answer) {
  TwinServer server;
  std::thread serving{[&] {
    server.agree(R"({"capabilities":{"max_msg_fds":4}})", false);
    server.send_with(server.twin.get(), reply_to(TwinServer::receive(server.socket), answer));
  }};
  const auto client = Client::adopt(std::move(server.client_end), {.timeout_ns = kShort});
  EXPECT_TRUE(client);
  auto found = client ? (*client)->region_io_fds(2) : Result<IoFds>{};
  serving.join();
  return found;
}

TEST(Client, TakesTheDescriptorsOfARegion) {
  const auto found = io_fds_from(io_fds(56, 1, io_fd(8, 0)));
  ASSERT_TRUE(found);
  ASSERT_EQ(found->parts.size(), 1u);
  EXPECT_EQ(found->parts[0].offset, 8u);
  EXPECT_EQ(found->parts[0].size, 4u);
  EXPECT_EQ(found->parts[0].flags, 1u);
  EXPECT_EQ(found->parts[0].value, 7u);
  EXPECT_FALSE(found->parts[0].is_ioregionfd);
  EXPECT_EQ(found->fds.size(), 1u);
}

TEST(Client, TakesDescriptionsThatHaveGrown) {
  Bytes parts = io_fd(8, 0);
  parts << std::uint64_t{0};
  for (const std::uint8_t byte : io_fd(16, 0))
    parts << byte;
  parts << std::uint64_t{0};
  parts[20] = 1;  // the type: an ioregionfd
  const auto found = io_fds_from(io_fds(112, 2, parts));
  ASSERT_TRUE(found);
  ASSERT_EQ(found->parts.size(), 2u);
  EXPECT_EQ(found->parts[1].offset, 16u);
  EXPECT_EQ(found->parts[1].value, 7u);
  EXPECT_TRUE(found->parts[0].is_ioregionfd);
  EXPECT_FALSE(found->parts[1].is_ioregionfd);
}

TEST(Client, TakesNoDescriptionThatIsCutOff) {
  EXPECT_FALSE(io_fds_from(io_fds(96, 2, io_fd(8, 0))));
  EXPECT_FALSE(io_fds_from(io_fds(48, 1, io_fd(8, 0))));
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

// SPDX-License-Identifier: BSD-3-Clause
// However a connection ends: what the peer had sent and nobody read must not turn its end into ECONNRESET (QEMU
// aborts).
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "protocol/rig.hpp"
#include "vmux/base/clock.hpp"
#include "vmux/vfio_user/client.hpp"

namespace vmux::protocol_test {
namespace {

/// One server, and a peer that it has greeted unless told otherwise.
struct World {
  explicit World(unsigned version_timeout_ms = 5000) {
    char name[] = "/tmp/vmux-test-XXXXXX";
    directory = ::mkdtemp(name);
    vfio_user::ServerOptions options;
    options.path = directory + "/x.sock";
    options.version_timeout_ms = version_timeout_ms;
    server = vfio_user::Server::create(*poller, *function, options).value();
  }
  ~World() {
    server.reset();
    ::rmdir(directory.c_str());
  }
  [[nodiscard]] UniqueFd connect() const {
    UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, (directory + "/x.sock").c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return socket;
  }
  void settle() const {
    for (int idle = 0; idle < 3;)
      idle = poller->run_once() ? 0 : idle + 1;
  }
  /// Until the client is gone, or half a minute has passed.
  void run_until_gone() const {
    for (const std::uint64_t start = monotonic_ns();
         server->stats().is_connected && monotonic_ns() - start < 30'000'000'000;)
      poller->run_once(10'000'000);
  }
  std::string directory;
  TestDevice device;
  std::unique_ptr<runtime::Poller> poller = runtime::Poller::create().value();
  std::unique_ptr<pci::Function> function = pci::Function::create(TestDevice::describe(), device).value();
  std::unique_ptr<vfio_user::Server> server;
};

void put(const UniqueFd& socket, const Bytes& bytes) {
  ASSERT_EQ(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
}

/// More than the server reads at once, with a descriptor in the middle that must not stay open.
void put_much(const UniqueFd& socket) {
  const UniqueFd extra = new_eventfd();
  Bytes rest;
  for (unsigned id = 0; id < 1500; ++id)
    rest.append(region_read(id, kConfig, 0, 4));
  put(socket, rest);
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = extra.get();
  std::memcpy(CMSG_DATA(head), &fd, sizeof fd);
  ASSERT_EQ(::sendmsg(socket.get(), &message, MSG_NOSIGNAL), 1);
  put(socket, rest);
}

/// What a peer reads at last: 0 for the end of the stream, else an errno. EAGAIN: it has not ended.
int how_it_ends(const UniqueFd& socket) {
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t got = ::recv(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0) return errno;
    if (got == 0) return 0;
  }
}

UniqueFd greeted(const World& world) {
  UniqueFd socket = world.connect();
  put(socket, qemu_version());
  world.settle();
  return socket;
}

/// A way to end: leaves unread bytes behind, and returns the peer's socket after the end.
struct Way {
  const char* name;
  UniqueFd (*end)();
};
std::ostream& operator<<(std::ostream& out, const Way& way) { return out << way.name; }

UniqueFd by_going_away() {
  const World world;
  UniqueFd socket = greeted(world);
  put_much(socket);
  return socket;
}

UniqueFd by_going_away_before_version() {
  const World world;
  UniqueFd socket = world.connect();
  world.settle();
  put(socket, qemu_version());
  return socket;
}

UniqueFd by_going_away_with_a_backlog() {
  const World world;
  const UniqueFd first = greeted(world);
  UniqueFd second = world.connect();
  put(second, qemu_version());
  put_much(second);
  world.settle();
  return second;
}

UniqueFd by_going_away_with_a_silent_backlog() {
  const World world;
  const UniqueFd first = greeted(world);
  return world.connect();
}

UniqueFd by_a_broken_stream() {
  const World world;
  UniqueFd socket = greeted(world);
  put(socket, Bytes{}.u16(1).u16(kGetInfo).u32(3).u32(0).u32(0));
  put_much(socket);
  world.settle();
  return socket;
}

UniqueFd by_no_agreement() {
  const World world;
  UniqueFd socket = world.connect();
  put(socket, message(1, kVersion, Bytes{}.u16(7).u16(0)));
  put_much(socket);
  world.settle();
  return socket;
}

UniqueFd by_a_late_version() {
  const World world{1};
  UniqueFd socket = world.connect();
  put(socket, Bytes{}.u16(1).u16(kVersion).u32(60'000).u32(0).u32(0));
  world.settle();
  world.run_until_gone();
  return socket;
}

UniqueFd by_being_the_second() {
  const World world;
  const UniqueFd first = greeted(world);
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  UniqueFd second{ends[0]};
  put(second, qemu_version());
  EXPECT_FALSE(world.server->adopt(UniqueFd{ends[1]}));
  return second;
}

UniqueFd by_truncated_memory() {
  const World world;
  UniqueFd socket = greeted(world);
  const UniqueFd memory = new_memfd(4096);
  EXPECT_TRUE(world.function->map({Iova{0}, ByteCount{4096}, memory::Access::read, memory.duplicate().value(), 0}));
  memory::GuestMemory reader;
  world.function->memory().attach(reader);
  EXPECT_EQ(::ftruncate(memory.get(), 0), 0);
  std::array<std::byte, 8> bytes;
  static_cast<void>(reader.read(Iova{0}, bytes));
  world.function->memory().detach(reader);
  put_much(socket);
  world.settle();
  world.run_until_gone();
  return socket;
}

/// The client's end of the second socket, which came with the reply to VERSION.
struct Pair {
  UniqueFd first, second;
};
Pair twins(const World& world) {
  Pair pair{world.connect(), UniqueFd{}};
  put(pair.first, twin_version());
  world.settle();
  std::array<char, 4096> bytes;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  iovec part{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  EXPECT_GT(::recvmsg(pair.first.get(), &message, MSG_CMSG_CLOEXEC), 0);
  int fd = -1;
  if (const cmsghdr* const head = CMSG_FIRSTHDR(&message)) std::memcpy(&fd, CMSG_DATA(head), sizeof fd);
  EXPECT_GE(fd, 0);
  pair.second.reset(fd);
  return pair;
}

UniqueFd by_going_away_seen_on_the_second_socket() {
  const World world;
  Pair pair = twins(world);
  put_much(pair.second);
  return std::move(pair.second);
}

UniqueFd by_a_command_on_the_second_socket() {
  const World world;
  Pair pair = twins(world);
  put(pair.second, region_read(1, kConfig, 0, 4));
  put_much(pair.second);
  put_much(pair.first);
  world.settle();
  EXPECT_EQ(how_it_ends(pair.second), 0);
  return std::move(pair.first);
}

/// The other way round: our client, and a server of the test's that has sent what nobody reads.
UniqueFd by_our_client_going() {
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  UniqueFd server{ends[0]};
  put(server, message(1, kVersion, Bytes{}.u16(0).u16(0).text("{\"capabilities\":{}}").u8(0), kReply));
  const auto client = vfio_user::Client::adopt(UniqueFd{ends[1]});
  EXPECT_TRUE(client.has_value());
  EXPECT_NE(how_it_ends(server), 0);  // its VERSION is read
  put_much(server);
  return server;
}

class Ending : public ::testing::TestWithParam<Way> {};

TEST_P(Ending, PeerReadsTheEndOfTheStreamAndNoReset) {
  const std::size_t before = open_fds();
  {
    const UniqueFd peer = GetParam().end();
    EXPECT_EQ(how_it_ends(peer), 0) << std::strerror(how_it_ends(peer));
    EXPECT_EQ(how_it_ends(peer), 0);  // and again: an error would be told once
    EXPECT_EQ(::send(peer.get(), "x", 1, MSG_NOSIGNAL), -1);
    EXPECT_EQ(errno, EPIPE);
  }
  EXPECT_EQ(open_fds(), before);
}

INSTANTIATE_TEST_SUITE_P(Each, Ending,
                         ::testing::Values(Way{"ServerGone", by_going_away},
                                           Way{"ServerGoneBeforeVersion", by_going_away_before_version},
                                           Way{"ServerGoneWithABacklog", by_going_away_with_a_backlog},
                                           Way{"ServerGoneWithASilentBacklog", by_going_away_with_a_silent_backlog},
                                           Way{"BrokenStream", by_a_broken_stream}, Way{"NoAgreement", by_no_agreement},
                                           Way{"LateVersion", by_a_late_version},
                                           Way{"SecondClient", by_being_the_second},
                                           Way{"TruncatedMemory", by_truncated_memory},
                                           Way{"ServerGoneSecondSocket", by_going_away_seen_on_the_second_socket},
                                           Way{"CommandOnTheSecondSocket", by_a_command_on_the_second_socket},
                                           Way{"OurClientGone", by_our_client_going}),
                         [](const auto& way) { return std::string{way.param.name}; });

// What a process forked before goes on using.
TEST(EndingClient, ThatLetsGoLeavesTheConnectionToOthers) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd server{ends[0]}, other{::dup(ends[1])};
  put(server, message(1, kVersion, Bytes{}.u16(0).u16(0).text("{\"capabilities\":{}}").u8(0), kReply));
  auto client = vfio_user::Client::adopt(UniqueFd{ends[1]});
  ASSERT_TRUE(client.has_value());
  (*client)->let_go();
  client->reset();
  EXPECT_EQ(::send(other.get(), "x", 1, MSG_NOSIGNAL), 1);
  EXPECT_EQ(::send(server.get(), "x", 1, MSG_NOSIGNAL), 1);
}

}  // namespace
}  // namespace vmux::protocol_test

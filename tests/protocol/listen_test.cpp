// SPDX-License-Identifier: BSD-3-Clause
// Sockets with a name: stale and live ones, clients one after the other.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <functional>

#include "protocol/rig.hpp"
#include "vmux/base/clock.hpp"
#include "vmux/vfio_user/client.hpp"

namespace vmux::protocol_test {
namespace {

/// A path in a directory of its own, gone with the test.
struct Path {
  Path() {
    char name[] = "/tmp/vmux-test-XXXXXX";
    directory = ::mkdtemp(name);
    socket = directory + "/x.sock";
  }
  ~Path() {
    ::unlink(socket.c_str());
    ::rmdir(directory.c_str());
  }
  std::string directory, socket;
};

struct Served {
  explicit Served(const std::string& path, vfio_user::ServerOptions options = {}) {
    options.path = path;
    server = vfio_user::Server::create(*poller, *function, options);
  }
  void settle() {
    for (int idle = 0; idle < 3;)
      idle = poller->run_once() ? 0 : idle + 1;
  }
  /// Until that is true, or half a minute has passed.
  void run_until(const std::function<bool()>& is_done) {
    for (const std::uint64_t start = monotonic_ns(); !is_done() && monotonic_ns() - start < 30'000'000'000;)
      poller->run_once(10'000'000);
  }
  TestDevice device;
  std::unique_ptr<runtime::Poller> poller = runtime::Poller::create().value();
  std::unique_ptr<pci::Function> function = pci::Function::create(TestDevice::describe(), device).value();
  Result<std::unique_ptr<vfio_user::Server>> server = fail(Errc::busy, "not yet");
};

UniqueFd connect_to(const std::string& path) {
  UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) socket.reset();
  return socket;
}

bool exists(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0;
}

void say_hello(const UniqueFd& socket) {
  const auto hello = qemu_version();
  ASSERT_EQ(::send(socket.get(), hello.data(), hello.size(), MSG_NOSIGNAL), static_cast<ssize_t>(hello.size()));
}

TEST(Listen, MakesTheSocketForItsOwnerAndRemovesIt) {
  const Path path;
  {
    const Served served{path.socket};
    ASSERT_TRUE(served.server.has_value());
    struct stat status {};
    ASSERT_EQ(::lstat(path.socket.c_str(), &status), 0);
    EXPECT_TRUE(S_ISSOCK(status.st_mode));
    EXPECT_EQ(status.st_mode & 0777, 0600u);
  }
  EXPECT_FALSE(exists(path.socket));
}

/// The umask of the test, as long as it lives.
struct Umask {
  explicit Umask(mode_t mask) : before(::umask(mask)) {}
  ~Umask() { ::umask(before); }
  mode_t before;
};

class ListenUnder : public testing::TestWithParam<mode_t> {};
TEST_P(ListenUnder, AnyUmaskLetsThoseInWhoAreNamed) {
  const Path path;
  const Umask umask{GetParam()};
  const bool may_give_away = ::geteuid() == 0;
  const uid_t owner = may_give_away ? 12345 : ::geteuid();
  const gid_t group = may_give_away ? 12346 : ::getegid();
  const Served served{path.socket, {.mode = 0620, .owner = owner, .group = group}};
  ASSERT_TRUE(served.server.has_value());
  struct stat status {};
  ASSERT_EQ(::lstat(path.socket.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0620u);
  EXPECT_EQ(status.st_uid, owner);
  EXPECT_EQ(status.st_gid, group);
}
INSTANTIATE_TEST_SUITE_P(Masks, ListenUnder, testing::Values(0, 0077, 0777));

TEST(Listen, RefusesASocketThatSomeoneServes) {
  const Path path;
  const Served first{path.socket};
  const Served second{path.socket};
  ASSERT_FALSE(second.server.has_value());
  EXPECT_EQ(second.server.error().code, Errc::busy);
  EXPECT_TRUE(connect_to(path.socket));
}

// Anyone may lock a directory that he can read, /tmp say.
TEST(Listen, WaitsForNobodyWhoKeepsTheDirectoryLocked) {
  const Path path;
  const UniqueFd directory{::open(path.directory.c_str(), O_RDONLY | O_DIRECTORY)};
  ASSERT_EQ(::flock(directory.get(), LOCK_EX), 0);
  const Served served{path.socket};
  EXPECT_TRUE(served.server.has_value());
}

TEST(Listen, ReplacesTheSocketOfADeadProcess) {
  const Path path;
  const pid_t child = ::fork();
  if (child == 0) {
    const UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM, 0)};
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.socket.c_str(), sizeof address.sun_path - 1);
    ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    ::listen(socket.get(), 1);
    ::kill(::getpid(), SIGKILL);
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  ASSERT_TRUE(exists(path.socket));
  const Served served{path.socket};
  EXPECT_TRUE(served.server.has_value());
}

TEST(Listen, RefusesToReplaceAFile) {
  const Path path;
  std::ofstream{path.socket} << "precious";
  const Served served{path.socket};
  ASSERT_FALSE(served.server.has_value());
  EXPECT_EQ(served.server.error().code, Errc::already_exists);
  EXPECT_TRUE(exists(path.socket));
}

TEST(Listen, LeavesASocketThatTookItsPlace) {
  const Path path;
  {
    const Served served{path.socket};
    ::unlink(path.socket.c_str());
    std::ofstream{path.socket} << "other";
  }
  EXPECT_TRUE(exists(path.socket));
}

TEST(Listen, RefusesAPathThatDoesNotFit) {
  const Served served{"/tmp/" + std::string(200, 'x')};
  ASSERT_FALSE(served.server.has_value());
  EXPECT_EQ(served.server.error().code, Errc::invalid_argument);
}

TEST(Listen, ServesTheNextClientWhenOneHasGone) {
  const Path path;
  Served served{path.socket};
  for (int round = 0; round < 3; ++round) {
    const auto socket = connect_to(path.socket);
    say_hello(socket);
    served.settle();
    ASSERT_EQ(served.device.attachments, 1);
    // The socket closes here.
  }
  served.settle();
  EXPECT_EQ(served.device.attachments, 0);
  EXPECT_EQ((*served.server)->stats().connections, 3u);
}

TEST(Listen, SecondClientWaitsForTheFirstToGo) {
  const Path path;
  Served served{path.socket};
  auto first = connect_to(path.socket);
  const auto second = connect_to(path.socket);
  say_hello(first);
  say_hello(second);
  served.settle();
  EXPECT_EQ((*served.server)->stats().connections, 1u);
  first.reset();
  served.settle();
  EXPECT_EQ((*served.server)->stats().connections, 2u);
  EXPECT_EQ(served.device.attachments, 1);
}

TEST(Listen, ManyMayWait) {
  const Path path;
  Served served{path.socket};
  std::vector<UniqueFd> sockets;
  for (int i = 0; i < 128; ++i)
    sockets.push_back(connect_to(path.socket));
  EXPECT_TRUE(sockets.back());
}

TEST(Listen, KilledClientMakesRoomForTheNext) {
  const Path path;
  Served served{path.socket};
  ASSERT_TRUE(served.server.has_value());
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto socket = connect_to(path.socket);
    const auto hello = qemu_version();
    const auto map = dma_map(2, 0, 4096);
    ::send(socket.get(), hello.data(), hello.size(), 0);
    ::send(socket.get(), map.data(), map.size(), 0);
    if (::write(ready[1], "x", 1) == 1) ::pause();
    ::_exit(1);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ::close(ready[0]);
  ::close(ready[1]);
  served.settle();
  EXPECT_EQ(served.device.attachments, 1);
  EXPECT_EQ(served.function->memory().size(), 1u);
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  served.settle();
  EXPECT_EQ(served.device.attachments, 0);
  EXPECT_EQ(served.function->memory().size(), 0u);
  const auto next = connect_to(path.socket);
  say_hello(next);
  served.settle();
  EXPECT_EQ(served.device.attachments, 1);
}

// A monitoring probe that forgets to close, say.
TEST(Listen, ClientThatSaysNothingMakesRoomForTheNext) {
  const Path path;
  Served served{path.socket, {.version_timeout_ms = 1}};
  const auto silent = connect_to(path.socket), next = connect_to(path.socket);
  say_hello(next);
  served.run_until([&] { return served.device.attachments == 1; });
  EXPECT_EQ(served.device.attachments, 1);
  char byte = 0;
  EXPECT_EQ(::recv(silent.get(), &byte, 1, MSG_DONTWAIT), 0);
}

TEST(Listen, ClientThatStopsWithinItsVersionMakesRoomForTheNext) {
  const Path path;
  Served served{path.socket, {.version_timeout_ms = 1}};
  const auto slow = connect_to(path.socket), next = connect_to(path.socket);
  ASSERT_EQ(::send(slow.get(), qemu_version().data(), 20, MSG_NOSIGNAL), 20);
  say_hello(next);
  served.run_until([&] { return served.device.attachments == 1; });
  EXPECT_EQ(served.device.attachments, 1);
}

TEST(Listen, ClientThatHasSaidItsVersionMayBeSilentForever) {
  const Path path;
  Served served{path.socket, {.version_timeout_ms = 1}};
  const auto client = connect_to(path.socket);
  say_hello(client);
  const std::uint64_t start = monotonic_ns();
  served.run_until([&] { return monotonic_ns() - start > 500'000'000; });  // two looks at the least
  EXPECT_EQ(served.device.attachments, 1);
}

TEST(Listen, ServerThatGoesHangsUp) {
  const Path path;
  UniqueFd socket;
  {
    Served served{path.socket};
    socket = connect_to(path.socket);
    say_hello(socket);
    served.settle();
  }
  Bytes rest;
  rest.resize(4096);
  EXPECT_GT(::recv(socket.get(), rest.data(), rest.size(), 0), 0);  // the reply
  EXPECT_EQ(::recv(socket.get(), rest.data(), rest.size(), 0), 0);
}

}  // namespace
}  // namespace vmux::protocol_test

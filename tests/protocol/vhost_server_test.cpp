// SPDX-License-Identifier: BSD-3-Clause
// vhost-user: who may be at the other end, in either role, and what comes and goes too often.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "protocol/vhost_rig.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::vhost_protocol_test {
namespace {

class VhostServer : public ::testing::Test {
 protected:
  VhostServer() {
    char name[] = "/tmp/vmux-vhost-XXXXXX";
    directory = ::mkdtemp(name);
    options.path = directory + "/socket";
    options.name = "test";
  }
  ~VhostServer() override {
    server.reset();
    std::filesystem::remove_all(directory);
  }

  void create() { server = vhost_user::Server::create(*poller, device, options).value(); }
  [[nodiscard]] UniqueFd new_socket() const { return UniqueFd{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)}; }
  [[nodiscard]] sockaddr_un address() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, options.path.c_str(), sizeof address.sun_path - 1);
    return address;
  }
  [[nodiscard]] UniqueFd connect() const {
    auto socket = new_socket();
    const auto to = address();
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    return socket;
  }
  [[nodiscard]] UniqueFd listen() const {
    auto socket = new_socket();
    const auto at = address();
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::listen(socket.get(), 4), 0);
    return socket;
  }
  /// Drives the poller until the condition holds.
  template <class Condition>
  void until(Condition condition) {
    while (!condition())
      poller->run_once(10'000'000);
  }
  /// Sends a question; true when it was answered, false when the connection ended.
  [[nodiscard]] bool is_served(const UniqueFd& socket) {
    const auto question = message(kGetFeatures);
    if (::send(socket.get(), question.data(), question.size(), MSG_NOSIGNAL) < 0) return false;
    char answer[64];
    ssize_t got = -1;
    until([&] {
      got = ::recv(socket.get(), answer, sizeof answer, 0);
      return got >= 0 || errno != EAGAIN;
    });
    return got > 0;
  }

  std::string directory;
  vhost_user::ServerOptions options;
  TestDevice device;
  std::unique_ptr<runtime::Poller> poller = runtime::Poller::create().value();
  std::unique_ptr<vhost_user::Server> server;
};

TEST_F(VhostServer, ListensWithThePermissionsItWasGiven) {
  options.mode = 0660;
  create();
  struct stat status {};
  ASSERT_EQ(::stat(options.path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777u, 0660u);
  EXPECT_TRUE(is_served(connect()));
}

TEST_F(VhostServer, ServesOneAtATimeAndThenTheNext) {
  create();
  auto first = connect(), second = connect();
  EXPECT_TRUE(is_served(first));
  const auto question = message(kGetFeatures);
  ASSERT_EQ(::send(second.get(), question.data(), question.size(), 0), 12);
  for (int i = 0; i < 20; ++i)
    poller->run_once();
  char answer[64];
  EXPECT_LT(::recv(second.get(), answer, sizeof answer, 0), 0);
  first.reset();
  EXPECT_TRUE(is_served(second));
}

TEST_F(VhostServer, MakesRoomForTheNextWhenOneSaysNothing) {
  options.first_message_timeout_ms = 1;
  create();
  const auto silent = connect();
  const auto next = connect();
  EXPECT_TRUE(is_served(next));
  EXPECT_FALSE(is_served(silent));
}

TEST_F(VhostServer, SendsAnotherUsersProcessAway) {
  options.peer = ::geteuid() + 1;
  create();
  const auto socket = connect();
  EXPECT_FALSE(is_served(socket));
  EXPECT_EQ(server->stats().connections, 0u);
}

TEST_F(VhostServer, ServesTheUserThatWasNamed) {
  options.peer = ::geteuid();
  create();
  EXPECT_TRUE(is_served(connect()));
}

TEST_F(VhostServer, ConnectsAsSoonAsTheFrontEndListensAndAgainWhenItHasGone) {
  options.connects = true;
  create();
  for (int i = 0; i < 20; ++i)
    poller->run_once();
  EXPECT_FALSE(server->stats().is_connected);
  const auto listener = listen();
  for (std::uint64_t round = 1; round <= 3; ++round) {
    UniqueFd front_end;
    until([&] {
      front_end.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK));
      return static_cast<bool>(front_end);
    });
    EXPECT_TRUE(is_served(front_end));
    EXPECT_EQ(server->stats().connections, round);
  }
}

TEST_F(VhostServer, SendsNothingToAListenerOfAnotherUser) {
  options.connects = true;
  options.peer = ::geteuid() + 1;
  const auto listener = listen();
  create();
  UniqueFd front_end;
  until([&] {
    front_end.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK));
    return static_cast<bool>(front_end);
  });
  EXPECT_FALSE(is_served(front_end));
  EXPECT_EQ(server->stats().connections, 0u);
}

TEST_F(VhostServer, SlowsDownWhoComesAndGoesInALoop) {
  create();
  const std::uint64_t start = monotonic_ns();
  for (int i = 0; i < 9; ++i)
    EXPECT_TRUE(is_served(connect()));
  // Three are free, then 10, 20, 40, 80, 160 ms.
  EXPECT_GE(monotonic_ns() - start, 310'000'000u);
}

TEST_F(VhostServer, OffersTheSameToEach) {
  create();
  std::vector<std::uint64_t> offers;
  for (int i = 0; i < 2; ++i) {
    const auto socket = connect();
    Bytes answer = Bytes{}.zeroes(64);
    const auto question = message(kGetFeatures);
    ASSERT_EQ(::send(socket.get(), question.data(), question.size(), 0), 12);
    ssize_t got = -1;
    until([&] { return (got = ::recv(socket.get(), answer.data(), answer.size(), 0)) > 0; });
    offers.push_back(answer.number_at(12, 8));
  }
  EXPECT_EQ(offers[0], offers[1]);
}

TEST_F(VhostServer, RemovesItsSocketAndHangsUpInTheEnd) {
  create();
  const auto socket = connect();
  EXPECT_TRUE(is_served(socket));
  server.reset();
  EXPECT_FALSE(std::filesystem::exists(options.path));
  EXPECT_FALSE(is_served(socket));
  EXPECT_EQ(device.signals, nullptr);
}

}  // namespace
}  // namespace vmux::vhost_protocol_test

// SPDX-License-Identifier: BSD-3-Clause
// The client against peers that are no daemon of ours, over socketpairs that hold the answer before the call is made.
#include "control/rpc/rpc_client.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>
#include <thread>

namespace vmux::control {
namespace {

using testing::HasSubstr;

struct Ends {
  Ends() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    near = UniqueFd{ends[0]};
    far = UniqueFd{ends[1]};
  }
  void say(std::string_view text) const {
    ASSERT_EQ(::send(far.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  UniqueFd near, far;
};

struct Case {
  std::string said;
  const char* expected;
};
class OddPeer : public testing::TestWithParam<Case> {};
TEST_P(OddPeer, IsToldInASentence) {
  Ends ends;
  ends.say(GetParam().said);
  ::shutdown(ends.far.get(), SHUT_WR);
  RpcClient client{std::move(ends.near), "vmux at /x"};
  const auto result = client.call("port.list");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ProblemKind::host);
  EXPECT_THAT(result.error().text, HasSubstr(GetParam().expected));
}
INSTANTIATE_TEST_SUITE_P(
    Answers, OddPeer,
    testing::Values(Case{"", "vmux at /x closed the connection before it answered port.list"},
                    Case{"{\"jsonrpc\":\"2.0\",", "vmux at /x closed the connection while it answered port.list"},
                    Case{"HTTP/1.1 400 Bad Request\r\n", "is no vmux, or of another version: its answer is not JSON"},
                    Case{"\n", "is not JSON"}, Case{std::string{"\0\n", 2}, "is not JSON"},
                    Case{"\xff\xfe\n", "is not JSON"},
                    Case{"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"\xff\"}\n", "JSON"},
                    Case{"5\n", "is not JSON-RPC 2.0"}, Case{"null\n", "is not JSON-RPC 2.0"},
                    Case{"[]\n", "is not JSON-RPC 2.0"}, Case{"[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1}]\n", "2.0"},
                    Case{R"({"id":1,"result":[]})"
                         "\n",
                         "is not JSON-RPC 2.0"},
                    Case{R"({"jsonrpc":"1.0","id":1,"result":[]})"
                         "\n",
                         "is not JSON-RPC 2.0"},
                    Case{R"({"jsonrpc":2,"id":1,"result":[]})"
                         "\n",
                         "is not JSON-RPC 2.0"},
                    Case{R"({"jsonrpc":"2.0","id":1})"
                         "\n",
                         "neither a result nor an error"},
                    Case{R"({"jsonrpc":"2.0","id":1,"result":1,"error":{}})"
                         "\n",
                         "or both"},
                    Case{R"({"jsonrpc":"2.0","id":7,"result":[]})"
                         "\n",
                         "it answered another call"},
                    Case{R"({"jsonrpc":"2.0","id":"1","result":[]})"
                         "\n",
                         "it answered another call"},
                    Case{R"({"jsonrpc":"2.0","id":null,"result":[]})"
                         "\n",
                         "it answered another call"},
                    Case{R"({"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"x"}})"
                         "\n",
                         "it answered another call"},
                    Case{R"({"jsonrpc":"2.0","method":"event","params":{}})"
                         "\n",
                         "neither a result nor an error"},
                    Case{R"({"jsonrpc":"2.0","id":1,"error":5})"
                         "\n",
                         "makes no sense"},
                    Case{R"({"jsonrpc":"2.0","id":1,"error":{"code":"x","message":[],"data":7}})"
                         "\n",
                         "makes no sense"},
                    Case{R"({"jsonrpc":"2.0","id":1,"result":)" + std::string(100'000, '[') + "\n",
                         "another version"}));

TEST(RpcCall, TellsWhatAPeerSaidThatCouldNotReadIt) {
  Ends ends;
  ends.say("{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,\"message\":\"others want to connect\"}}\n");
  RpcClient client{std::move(ends.near)};
  EXPECT_EQ(client.call("port.list").error().text, "others want to connect");
}

// It told us why before it went: that is what counts, not that our call no longer arrives.
TEST(RpcCall, HearsAPeerThatHasHungUp) {
  Ends ends;
  ends.say("{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,\"message\":\"no\"}}\n");
  ends.far.reset();
  RpcClient client{std::move(ends.near)};
  EXPECT_EQ(client.call("port.list").error().text, "no");
}

TEST(RpcCall, TellsHowLongItWaitedForWhat) {
  Ends ends;
  RpcClient client{std::move(ends.near), "vmux at /x", 1};
  EXPECT_EQ(client.call("port.list").error().text, "vmux at /x did not answer port.list within 1 s");
}

// Its time is for the whole answer: a byte now and then does not keep us.
TEST(RpcCall, WaitsNoLongerForAPeerThatDribbles) {
  Ends ends;
  RpcClient client{std::move(ends.near), "vmux at /x", 1};
  std::thread peer{[&ends] {
    while (::send(ends.far.get(), " ", 1, MSG_NOSIGNAL) == 1)
      ::usleep(20'000);
  }};
  const auto result = client.call("port.list");
  EXPECT_EQ(result.error().text, "vmux at /x did not answer port.list to the end within 1 s");
  ::shutdown(ends.far.get(), SHUT_RDWR);
  peer.join();
}

TEST(RpcCall, DoesNotTakeALineWithoutEnd) {
  Ends ends;
  RpcClient client{std::move(ends.near), "vmux at /x", 60};
  std::thread peer{[&ends] {
    const std::string much(1 << 20, 'x');
    while (::send(ends.far.get(), much.data(), much.size(), MSG_NOSIGNAL) > 0) {
    }
  }};
  const auto result = client.call("port.list");
  EXPECT_EQ(result.error().text, "vmux at /x answered port.list with more than 64 MiB and no end");
  ::shutdown(ends.far.get(), SHUT_RDWR);
  peer.join();
}

/// A socket that nobody accepts from.
struct Deaf {
  explicit Deaf(int backlog) {
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(socket.get(), backlog), 0);
  }
  ~Deaf() { ::unlink(path.c_str()); }
  std::string path = "/tmp/vmux-deaf-" + std::to_string(::getpid());
  sockaddr_un address{};
  UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
};

TEST(RpcClient, TellsThatNoConnectionWasTaken) {
  const Deaf deaf{0};
  const auto first = RpcClient::connect(deaf.path, 1);  // fills the backlog
  const auto second = RpcClient::connect(deaf.path, 1);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().text, HasSubstr("took no connection within 1 s"));
}

}  // namespace
}  // namespace vmux::control

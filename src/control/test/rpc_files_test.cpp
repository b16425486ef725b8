// SPDX-License-Identifier: BSD-3-Clause
// Descriptors that come along with a request's line.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "control/rpc/rpc_client.hpp"
#include "control/test/rpc_socket.hpp"

namespace vmux::control {
namespace {

using test::kEcho;
using test::RpcSocket;

/// A line with descriptors, as SCM_RIGHTS has them.
void send_with(const UniqueFd& socket, std::string text, const std::vector<int>& fds) {
  iovec part{text.data(), text.size()};
  std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  ASSERT_EQ(::sendmsg(socket.get(), &message, MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
}

/// How many descriptors have the other end of a pipe, beside our own: the pipe hangs up when there is none.
struct Watched {
  Watched() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    out = UniqueFd{ends[0]};
    in = UniqueFd{ends[1]};
  }
  [[nodiscard]] bool is_elsewhere() {
    in.reset();
    char byte = 0;
    return ::read(out.get(), &byte, 1) < 0;  // EAGAIN; or 0, the end
  }
  UniqueFd out, in;
};

class RpcFiles : public RpcSocket {
 protected:
  void SetUp() override {
    RpcSocket::SetUp();
    methods_.add_with_file("write",
                           [](const Json& params, const UniqueFd& file) -> Outcome<Json> {
                             if (!file) return refuse(ProblemKind::invalid, "", "no file");
                             const std::string text = params.value("text", "");
                             return Json(::write(file.get(), text.data(), text.size()));
                           },
                           {});
  }
  static std::string call(const char* text) {
    return R"({"jsonrpc":"2.0","method":"write","params":{"text":")" + std::string{text} + "\"},\"id\":1}\n";
  }
  static std::string content(const UniqueFd& pipe) {
    char buffer[64];
    const ssize_t got = ::read(pipe.get(), buffer, sizeof buffer);
    return {buffer, got > 0 ? static_cast<std::size_t>(got) : 0};
  }
};

TEST_F(RpcFiles, GoToTheMethodInWhoseLineTheyCame) {
  const UniqueFd client{connect()};
  Watched a, b;
  send_with(client, call("one") + std::string{kEcho} + "\n" + call("two"), {a.in.get(), b.in.get()});
  settle();
  EXPECT_EQ(content(a.out), "one");
  EXPECT_EQ(content(b.out), "two");
  EXPECT_FALSE(a.is_elsewhere());
  EXPECT_FALSE(b.is_elsewhere());
}

TEST_F(RpcFiles, WaitForTheRestOfTheirLine) {
  const UniqueFd client{connect()};
  Watched file;
  const std::string line = call("whole");
  send_with(client, line.substr(0, 10), {file.in.get()});
  settle();
  send(client, line.substr(10));
  settle();
  EXPECT_EQ(content(file.out), "whole");
}

TEST_F(RpcFiles, AreClosedWhenNothingTakesThem) {
  const UniqueFd client{connect()};
  Watched file;
  send_with(client, std::string{kEcho} + "\n", {file.in.get()});
  settle();
  EXPECT_FALSE(file.is_elsewhere());
  send(client, call("late"));
  settle();
  EXPECT_NE(receive(client).find("no file"), std::string::npos);
}

TEST_F(RpcFiles, BeyondAFewAreClosedAtOnce) {
  const UniqueFd client{connect()};
  Watched many, kept;
  send_with(client, "{", {kept.in.get(), kept.in.get(), kept.in.get(), kept.in.get()});
  send_with(client, "{", {many.in.get()});
  settle();
  EXPECT_FALSE(many.is_elsewhere());
  EXPECT_TRUE(kept.is_elsewhere());
}

TEST_F(RpcFiles, GoWithAClientThatLeaves) {
  Watched file;
  {
    const UniqueFd client{connect()};
    send_with(client, "{", {file.in.get()});
    settle();
  }
  settle();
  EXPECT_FALSE(file.is_elsewhere());
}

TEST_F(RpcFiles, AreSentByOurOwnClient) {
  Watched file;
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  ASSERT_TRUE(server_->adopt(ipc::Connection{UniqueFd{ends[0]}}));
  ASSERT_TRUE(poller_->start());
  RpcClient client{UniqueFd{ends[1]}};
  const auto done = client.call("write", {{"text", "by call"}}, file.in.get());
  poller_->stop();
  poller_->join();
  ASSERT_TRUE(done) << done.error().text;
  EXPECT_EQ(*done, 7);
  EXPECT_EQ(content(file.out), "by call");
}

}  // namespace
}  // namespace vmux::control

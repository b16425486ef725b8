// SPDX-License-Identifier: BSD-3-Clause
// The server on a poller that the test drives by hand, over socketpairs: no thread, no waiting.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "control/rpc/rpc_server.hpp"

namespace vmux::control::test {

inline constexpr const char* kEcho = R"({"jsonrpc":"2.0","method":"echo","params":{},"id":1})";
inline constexpr const char* kEchoed = "{\"jsonrpc\":\"2.0\",\"result\":{},\"id\":1}\n";

class RpcSocket : public testing::Test {
 protected:
  void SetUp() override {
    methods_.add("echo", [](const Json& params) -> Outcome<Json> { return params; });
    methods_.add("big", [](const Json&) -> Outcome<Json> { return Json(std::string(300'000, 'x')); });
    poller_ = std::move(*runtime::Poller::create());
    directory_ = std::filesystem::temp_directory_path() / ("vmux-rpc-" + std::to_string(::getpid()));
    std::filesystem::create_directory(directory_);
    path_ = directory_ / "rpc.sock";
    server_ = std::move(*RpcServer::create(*poller_, methods_, path_));
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }
  int connect() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    EXPECT_TRUE(server_->adopt(ipc::Connection{UniqueFd{ends[0]}}));
    return ends[1];
  }
  static void send(const UniqueFd& socket, std::string_view text) {
    ASSERT_EQ(::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  void settle() {
    while (poller_->run_once()) {
    }
  }
  static std::string receive(const UniqueFd& socket) {
    std::string text;
    char buffer[4096];
    for (ssize_t got = 0; (got = ::recv(socket.get(), buffer, sizeof buffer, 0)) > 0;) {
      text.append(buffer, static_cast<std::size_t>(got));
    }
    return text;
  }

  Methods methods_;
  std::unique_ptr<runtime::Poller> poller_;
  std::filesystem::path directory_, path_;
  std::unique_ptr<RpcServer> server_;
};

}  // namespace vmux::control::test

// SPDX-License-Identifier: BSD-3-Clause
// The server on a poller that the test drives by hand, over socketpairs: no thread, no waiting.
#include "control/rpc/rpc_server.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "control/live/event_ring.hpp"
#include "control/rpc/rpc_client.hpp"
#include "control/test/rpc_socket.hpp"

namespace vmux::control {
namespace {

using test::kEcho;
using test::kEchoed;
using test::RpcSocket;

TEST_F(RpcSocket, AnswersALineThatComesInPieces) {
  const UniqueFd client{connect()};
  send(client, std::string_view{kEcho}.substr(0, 20));
  settle();
  EXPECT_EQ(receive(client), "");
  send(client, std::string_view{kEcho}.substr(20));
  send(client, "\n");
  settle();
  EXPECT_EQ(receive(client), kEchoed);
}
TEST_F(RpcSocket, AnswersManyLinesOfOneRead) {
  const UniqueFd client{connect()};
  send(client, std::string{kEcho} + "\n\n" + kEcho + "\r\n");
  settle();
  EXPECT_EQ(receive(client), std::string{kEchoed} + kEchoed);
}

TEST_F(RpcSocket, AnswersALastLineWithoutNewline) {
  const UniqueFd client{connect()};
  send(client, kEcho);
  ::shutdown(client.get(), SHUT_WR);
  settle();
  EXPECT_EQ(receive(client), kEchoed);
  EXPECT_EQ(server_->clients(), 0u);
}

TEST_F(RpcSocket, RefusesALineThatIsTooLongAndGoesOn) {
  const UniqueFd client{connect()};
  const std::string piece(100'000, 'a');
  send(client, piece);
  settle();
  send(client, piece);
  settle();
  send(client, piece);
  settle();
  EXPECT_EQ(receive(client), answer_too_long() + "\n");
  send(client, piece + "\n" + kEcho + "\n");
  settle();
  EXPECT_EQ(receive(client), kEchoed);
}

TEST_F(RpcSocket, ServesOthersWhileAClientDoesNotRead) {
  const UniqueFd slow{connect()};
  const UniqueFd quick{connect()};
  std::string flood;
  for (int i = 0; i < 20; ++i)
    flood += "{\"jsonrpc\":\"2.0\",\"method\":\"big\",\"id\":1}\n";
  send(slow, flood);
  settle();
  send(quick, std::string{kEcho} + "\n");
  settle();
  EXPECT_EQ(receive(quick), kEchoed);
  // It gets all its answers once it reads.
  std::size_t lines = 0;
  for (int round = 0; round < 10'000 && lines < 20; ++round) {
    const std::string text = receive(slow);
    lines += static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
    settle();
  }
  EXPECT_EQ(lines, 20u);
}

TEST_F(RpcSocket, ForgetsAClientThatLeaves) {
  UniqueFd client{connect()};
  settle();
  EXPECT_EQ(server_->clients(), 1u);
  client.reset();
  settle();
  EXPECT_EQ(server_->clients(), 0u);
}

constexpr const char* kMakesRoom = "others want to connect, and this connection was idle for longest";

TEST_F(RpcSocket, SendsAwayWhoIsIdleForLongestWhenItIsFull) {
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 64; ++i)
    clients.emplace_back(connect());
  send(clients[0], std::string{kEcho} + "\n");  // no longer the one that has been idle for longest
  settle();
  EXPECT_EQ(receive(clients[0]), kEchoed);
  const UniqueFd newcomer{connect()};
  send(newcomer, std::string{kEcho} + "\n");
  settle();
  EXPECT_EQ(receive(newcomer), kEchoed);
  EXPECT_EQ(receive(clients[1]), farewell(kMakesRoom) + "\n");
  char byte = 0;
  EXPECT_EQ(::recv(clients[1].get(), &byte, 1, 0), 0);  // and the end of the stream
  EXPECT_EQ(receive(clients[0]), "");
  EXPECT_EQ(receive(clients[2]), "");
  EXPECT_EQ(server_->clients(), 64u);
}

TEST_F(RpcSocket, KeepsRequestsThatAreUnderWayWhenItIsFull) {
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 64; ++i)
    clients.emplace_back(connect());
  for (int i = 0; i < 63; ++i)
    send(clients[static_cast<std::size_t>(i)], "{");
  settle();
  const UniqueFd newcomer{connect()};
  EXPECT_EQ(receive(clients[63]), farewell(kMakesRoom) + "\n");
  EXPECT_EQ(receive(clients[0]), "");
}

TEST_F(RpcSocket, LetsANewcomerInThoughAllAreInTheMiddleOfARequest) {
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 64; ++i) {
    clients.emplace_back(connect());
    send(clients.back(), "{");
    settle();
  }
  const UniqueFd newcomer{connect()};
  send(newcomer, std::string{kEcho} + "\n");
  settle();
  EXPECT_EQ(receive(newcomer), kEchoed);
  EXPECT_NE(receive(clients[0]), "");
  EXPECT_EQ(receive(clients[1]), "");
}

TEST_F(RpcSocket, DropsARequestThatDoesNotComeToItsEndAndNobodyElse) {
  server_.reset();
  server_ = std::move(*RpcServer::create(*poller_, methods_, path_, {}, {.request_ns = 1'000'000}));
  const UniqueFd idle{connect()}, slow{connect()};
  send(slow, "{");
  for (int round = 0; round < 30'000 && server_->clients() == 2; ++round)
    poller_->run_once(1'000'000);
  EXPECT_EQ(server_->clients(), 1u);
  EXPECT_EQ(receive(slow), farewell("the rest of this request did not come within 0 s") + "\n");
  send(idle, std::string{kEcho} + "\n");
  settle();
  EXPECT_EQ(receive(idle), kEchoed);
}

TEST_F(RpcSocket, DropsAClientThatTakesNoneOfItsAnswers) {
  server_.reset();
  server_ =
      std::move(*RpcServer::create(*poller_, methods_, path_, {}, {.request_ns = 1'000'000, .answer_ns = 2'000'000}));
  const UniqueFd slow{connect()};
  for (int i = 0; i < 8; ++i)
    send(slow, "{\"jsonrpc\":\"2.0\",\"method\":\"big\",\"id\":1}\n");
  for (int round = 0; round < 30'000 && server_->clients() == 1; ++round)
    poller_->run_once(1'000'000);
  EXPECT_EQ(server_->clients(), 0u);
}

/// With a method whose answers wait until the test lets them go.
class RpcSocketThatWaits : public RpcSocket {
 protected:
  void SetUp() override {
    RpcSocket::SetUp();
    methods_.add(
        "later", [](const Json& params) -> Outcome<Json> { return params; }, {Role::read},
        [this](const Json& params) -> Wait {
          ++asked_;
          return {is_over_ ? 0 : params.value("ns", 3'600'000'000'000u), [this] { return is_over_; }};
        });
  }
  bool is_over_ = false;
  int asked_ = 0;
  const std::string later_ = "{\"jsonrpc\":\"2.0\",\"method\":\"later\",\"id\":2}\n";
  const std::string answered_ = "{\"jsonrpc\":\"2.0\",\"result\":{},\"id\":2}\n";
};

TEST_F(RpcSocketThatWaits, AnswersWhenTheWaitIsOverAndWhatIsBehindItThen) {
  const UniqueFd client{connect()}, other{connect()};
  send(client, later_ + kEcho + "\n");
  settle();
  EXPECT_EQ(receive(client), "");
  send(other, std::string{kEcho} + "\n");
  settle();
  EXPECT_EQ(receive(other), kEchoed);
  is_over_ = true;
  poller_->run_once();
  settle();
  EXPECT_EQ(receive(client), answered_ + kEchoed);
}

TEST_F(RpcSocketThatWaits, AnswersAtTheEndOfTheTimeThoughThereIsNothingToSay) {
  const UniqueFd client{connect()};
  send(client, "{\"jsonrpc\":\"2.0\",\"method\":\"later\",\"params\":{\"ns\":1000},\"id\":2}\n");
  std::string said;
  for (int round = 0; round < 30'000 && said.empty(); ++round) {
    poller_->run_once(1'000'000);
    said = receive(client);
  }
  EXPECT_EQ(said, "{\"jsonrpc\":\"2.0\",\"result\":{\"ns\":1000},\"id\":2}\n");
}

TEST_F(RpcSocketThatWaits, AnswersAtOnceInABatchOrWhereThereIsSomethingToSay) {
  const UniqueFd client{connect()};
  send(client, "[" + later_.substr(0, later_.size() - 1) + "]\n");
  settle();
  EXPECT_EQ(receive(client), "[" + answered_.substr(0, answered_.size() - 1) + "]\n");
  EXPECT_EQ(asked_, 0);
  is_over_ = true;
  send(client, later_);
  settle();
  EXPECT_EQ(receive(client), answered_);
}

TEST_F(RpcSocketThatWaits, AnswersOneThatSendsNoMoreAndForgetsOneThatHasGone) {
  UniqueFd half{connect()}, gone{connect()};
  send(half, later_);
  send(gone, later_);
  settle();
  ::shutdown(half.get(), SHUT_WR);
  gone.reset();
  settle();
  EXPECT_EQ(server_->clients(), 1u);
  is_over_ = true;
  poller_->run_once();
  settle();
  EXPECT_EQ(receive(half), answered_);
  EXPECT_EQ(server_->clients(), 0u);
}

TEST_F(RpcSocketThatWaits, CountsAsIdleMeanwhile) {
  server_.reset();
  server_ = std::move(*RpcServer::create(*poller_, methods_, path_, {}, {.clients = 2, .request_ns = 1'000}));
  const UniqueFd waiting{connect()}, slow{connect()};
  send(waiting, later_);
  settle();
  send(slow, "{");
  for (int round = 0; round < 30'000 && server_->clients() == 2; ++round)
    poller_->run_once(1'000'000);
  EXPECT_EQ(server_->clients(), 1u);
  EXPECT_EQ(receive(waiting), "");
  is_over_ = true;
  poller_->run_once();
  settle();
  EXPECT_EQ(receive(waiting), answered_);
}

TEST_F(RpcSocketThatWaits, WakesUpForWhatAnotherThreadLetsGo) {
  EventRing events{poller_.get()};
  methods_.add(
      "events", [&events](const Json&) -> Outcome<Json> { return Json(events.read(0, 9).next); }, {Role::read},
      [&events](const Json&) -> Wait {
        return {events.has_behind(0) ? 0 : 3'600'000'000'000u, [&events] {
                  events.expect();
                  return events.has_behind(0);
                }};
      });
  ASSERT_TRUE(poller_->start());
  auto client = RpcClient::connect(path_, 100);
  ASSERT_TRUE(client);
  std::thread writer{[&] {
    while (poller_->call([this] { return server_->waiting(); }) == 0)
      std::this_thread::yield();
    events.write(EventType::added, "port", "vm0");
  }};
  EXPECT_EQ(client->call("events").value(), 1);
  writer.join();
  poller_->stop();
  poller_->join();
}

// A subscriber that does not read gets no further event, and is hung up on when it has had its time.
TEST_F(RpcSocketThatWaits, DropsASubscriberThatDoesNotRead) {
  server_.reset();
  server_ = std::move(*RpcServer::create(*poller_, methods_, path_, {}, {.request_ns = 1'000, .answer_ns = 2'000'000}));
  const UniqueFd deaf{connect()};
  for (int i = 0; i < 8; ++i)
    send(deaf, "{\"jsonrpc\":\"2.0\",\"method\":\"big\",\"id\":1}\n");
  send(deaf, later_);
  for (int round = 0; round < 30'000 && server_->clients() == 1; ++round)
    poller_->run_once(1'000'000);
  EXPECT_EQ(server_->clients(), 0u);
}

TEST_F(RpcSocket, IsForItsOwnerOnly) {
  struct stat status {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0600u);
}

TEST_F(RpcSocket, IsForThoseWhoAreNamed) {
  server_.reset();
  server_ = std::move(*RpcServer::create(*poller_, methods_, path_, {{}, Account{"0", ::getegid()}, 0660}));
  struct stat status {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0660u);
}

TEST_F(RpcSocket, RefusesTheSocketOfALiveServer) {
  const auto second = RpcServer::create(*poller_, methods_, path_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().field, "rpc");
  EXPECT_NE(second.error().text.find("--rpc PATH"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(RpcSocket, IsRemovedWithTheServer) {
  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(RpcSocket, RefusesAFileThatIsNoSocket) {
  const auto file = directory_ / "file";
  std::ofstream{file} << "kept";
  EXPECT_FALSE(RpcServer::create(*poller_, methods_, file));
  EXPECT_TRUE(std::filesystem::exists(file));
}

TEST_F(RpcSocket, ServesTheClientClass) {
  ASSERT_TRUE(poller_->start());
  auto client = RpcClient::connect(path_, 10);
  ASSERT_TRUE(client);
  EXPECT_EQ(client->call("echo", Json{{"a", 1}}).value(), (Json{{"a", 1}}));
  EXPECT_EQ(client->call("nothing").error().kind, ProblemKind::not_supported);
  EXPECT_EQ(client->call("big").value().get<std::string>().size(), 300'000u);
  poller_->stop();
  poller_->join();
}

TEST(RpcClient, TellsThatNobodyAnswers) {
  const auto client = RpcClient::connect("/nonexistent/vmux.sock");
  ASSERT_FALSE(client);
  EXPECT_NE(client.error().text.find("no vmux answers at /nonexistent/vmux.sock"), std::string::npos);
}

}  // namespace
}  // namespace vmux::control

// SPDX-License-Identifier: BSD-3-Clause
// What is asked of a daemon: the methods of a real one, with fake models behind them, over a real socket.
#include "app/vmux_web/daemon.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "control/rpc/rpc_server.hpp"
#include "control/test/live_control.hpp"

namespace vmux::app {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ADaemon : public control::test::LiveControl {
 protected:
  void SetUp() override {
    LiveControl::SetUp();
    thread_ = std::move(*runtime::Poller::create());
    ASSERT_TRUE(thread_->start());
    begin();
  }
  void TearDown() override {
    end();
    thread_.reset();
    LiveControl::TearDown();
  }
  void begin() {
    thread_->call([this] { server_ = std::move(*control::RpcServer::create(*thread_, methods_, path())); });
  }
  void end() {
    thread_->call([this] { server_.reset(); });
  }
  [[nodiscard]] std::string path() const { return directory_ / "rpc.sock"; }
  /// On the thread that answers, as its own calls.
  control::Outcome<Json> change(const std::string& method, const Json& params) {
    return thread_->call([&] { return call(method, params); });
  }
  Daemon daemon(std::uint64_t fresh_for_ns = 0) {
    return Daemon{path(), [this](const std::string& line) { told.push_back(line); }, fresh_for_ns};
  }

  std::vector<std::string> told;

 private:
  std::unique_ptr<runtime::Poller> thread_;
  std::unique_ptr<control::RpcServer> server_;
};

TEST_F(ADaemon, IsAskedForWhatARoleMayRead) {
  for (const char* method : kMethodsCalled) {
    const auto names = methods_.names();
    if (std::find(names.begin(), names.end(), method) == names.end()) continue;
    EXPECT_EQ(methods_.role_for(method, Json{{"name", "a"}}), control::Role::read) << method;
  }
}

TEST_F(ADaemon, IsSeenWithAllThatItHas) {
  Daemon seen = daemon();
  ASSERT_TRUE(change("port.add", port("vm0")));
  const Snapshot& now = seen.look();
  ASSERT_TRUE(now.is_up) << now.why;
  EXPECT_EQ(now.ports[0]["name"], "vm0");
  EXPECT_EQ(now.stats[0]["name"], "vm0");
  EXPECT_EQ(now.switches[0]["name"], "default");
  EXPECT_EQ(now.pollers.size(), 1u);
  EXPECT_EQ(now.events.back()["event"], "added");
  EXPECT_FALSE(now.counters.empty());
  EXPECT_TRUE(now.findings.is_null());
  EXPECT_THAT(told, ElementsAre(HasSubstr("answers at")));
}

TEST_F(ADaemon, IsSeenAsItIsNow) {
  Daemon seen = daemon();
  EXPECT_EQ(seen.look().ports.size(), 0u);
  ASSERT_TRUE(change("port.add", port("vm0")));
  EXPECT_EQ(seen.look().ports.size(), 1u);
  ASSERT_TRUE(change("port.remove", Json{{"name", "vm0"}}));
  const Snapshot& now = seen.look();
  EXPECT_EQ(now.ports.size(), 0u);
  EXPECT_EQ(now.events.back()["event"], "removed");
  EXPECT_EQ(std::count_if(now.events.begin(), now.events.end(),
                          [](const Json& one) { return one["event"] == "added" && one["name"] == "vm0"; }),
            1);
}

TEST_F(ADaemon, IsNotAskedAgainForAWhile) {
  Daemon seen = daemon(/*fresh_for_ns=*/3'600'000'000'000);
  EXPECT_EQ(seen.look().ports.size(), 0u);
  ASSERT_TRUE(change("port.add", port("vm0")));
  EXPECT_EQ(seen.look().ports.size(), 0u);
}

TEST_F(ADaemon, IsMetAgainAfterItWasAway) {
  Daemon seen = daemon();
  EXPECT_TRUE(seen.look().is_up);
  end();
  EXPECT_FALSE(seen.look().is_up);
  EXPECT_THAT(seen.look().why, HasSubstr("is it running?"));
  begin();
  EXPECT_TRUE(seen.look().is_up);
  EXPECT_THAT(told, ElementsAre(HasSubstr("answers at"), HasSubstr("is it running?"), HasSubstr("answers at")));
}

TEST_F(ADaemon, ThatWasStartedAnewInBetweenIsNoNews) {
  Daemon seen = daemon();
  EXPECT_TRUE(seen.look().is_up);
  end();
  begin();
  EXPECT_TRUE(seen.look().is_up);
  EXPECT_EQ(told.size(), 1u);
}

TEST_F(ADaemon, HasFindingsForPeopleWhereItHasADoctor) {
  methods_.add("doctor",
               [](const Json&) -> control::Outcome<Json> {
                 return Json{{"findings", Json::array({{{"text", "it hurts"}}})}};
               },
               {control::Role::read});
  Daemon seen = daemon();
  EXPECT_TRUE(seen.look().findings.is_null());
  while (seen.look(Daemon::For::people).findings.is_null())
    std::this_thread::yield();  // it is asked aside; ctest's time limit is the failure
  EXPECT_EQ(seen.look().findings["findings"][0]["text"], "it hurts");
}

TEST_F(ADaemon, WhoseDoctorTakesItsTimeIsSeenMeanwhile) {
  std::atomic<bool> may_answer{false};
  methods_.add(
      "doctor", [](const Json&) -> control::Outcome<Json> { return Json::object(); }, {control::Role::read},
      [&](const Json&) -> control::Wait {
        return {60'000'000'000, [&may_answer] { return may_answer.load(); }};
      });
  Daemon seen = daemon();
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(seen.look(Daemon::For::people).is_up);
    EXPECT_TRUE(seen.look(Daemon::For::people).findings.is_null());
  }
  may_answer = true;
  while (seen.look(Daemon::For::people).findings.is_null())
    static_cast<void>(change("port.list", Json::object()));  // another call: waits end in rounds of the server's poller
}

TEST_F(ADaemon, WhoseDoctorRefusesIsSeenAllTheSame) {
  methods_.add(
      "doctor",
      [](const Json&) -> control::Outcome<Json> { return control::refuse(control::ProblemKind::busy, "", "later"); },
      {control::Role::read});
  Daemon seen = daemon();
  EXPECT_TRUE(seen.look(Daemon::For::people).is_up);
  EXPECT_TRUE(seen.look(Daemon::For::people).findings.is_null());
}

TEST(Findings, OfNobodyAreNone) {
  Findings findings{"/nowhere", 0};
  for (findings.ask(); findings.is_asking();)
    EXPECT_TRUE(findings.last().is_null());
}

}  // namespace
}  // namespace vmux::app

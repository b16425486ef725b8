// SPDX-License-Identifier: BSD-3-Clause
// Captures as they are asked for: who may, what they see, how they end, and what is told of that.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/capture/filter_text.hpp"
#include "control/test/live_control.hpp"
#include "control/test/pcapng_reader.hpp"

namespace vmux::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

TEST(FilterText, IsReadAsToolsWriteIt) {
  for (const char* text : {"1,6 0 0 262144", "1,6 0 0 262144,", "2,0 0 0 1,22 0 0 0"})
    EXPECT_TRUE(parse_filter(text)) << text;
  EXPECT_EQ(parse_filter("2,48 1 2 3,6 0 0 7")->program()[0], (packet::FilterInstruction{48, 1, 2, 3}));
}

class NoFilter : public testing::TestWithParam<std::string> {};
TEST_P(NoFilter, IsRefused) { EXPECT_FALSE(parse_filter(GetParam())); }
INSTANTIATE_TEST_SUITE_P(Texts, NoFilter,
                         testing::Values("", ",", "0", "0,", "1", "2,6 0 0 1", "1,6 0 0 1,6 0 0 1", "1,6 0 0",
                                         "1,6 0 0 -1", "1,6 0 0 4294967296", "1,65536 0 0 1", "1,6 256 0 1",
                                         "1,6  0 0 1", "1, 6 0 0 1", "1,6 0 0 1,,", "one,6 0 0 1", "1,5 0 0 4294967295",
                                         std::string(100'000, ',')));

class CaptureCalls : public test::LiveControl {
 protected:
  CaptureCalls() : LiveControl(2) {}
  void SetUp() override {
    LiveControl::SetUp();
    for (const char* name : {"vm0", "vm1"})
      ASSERT_TRUE(call("port.add", port(name)));
    ASSERT_TRUE(call("switch.add", {{"name", "br0"}}));
    since_ = events_.read(0, 1000).next;
  }
  /// An uplink that says one frame.
  void add_speaker(const std::string& name, const std::string& on = "default") {
    ASSERT_TRUE(call("uplink.add", {{"name", name}, {"backend", "tap"}, {"device", "speaking0"}, {"switch", on}}));
  }

  /// A capture with its reader.
  struct Started {
    Outcome<Json> result = Json();
    UniqueFd reader;
    std::string file;
    void stop() const { ::shutdown(reader.get(), SHUT_WR); }
    [[nodiscard]] std::vector<std::string> names() const {
      std::vector<std::string> all;
      for (const test::PcapBlock& block : test::read_pcapng(file)) {
        if (block.type == 1) all.push_back(block.text(2));
      }
      return all;
    }
    [[nodiscard]] std::size_t packets() const {
      const auto blocks = test::read_pcapng(file);
      return static_cast<std::size_t>(
          std::count_if(blocks.begin(), blocks.end(), [](const auto& block) { return block.type == 6; }));
    }
  };
  Started start(const Json& params) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    Started started{Json(), UniqueFd{ends[0]}, {}};
    UniqueFd there{ends[1]};
    started.result = methods_.call("capture.start", params, [&there] { return std::move(there); });
    return started;
  }
  /// To its end; false when that does not come. Nobody but these calls looks after captures here.
  bool read_all(Started& capture) {
    char buffer[4096];
    for (int i = 0; i < 10'000; ++i) {
      static_cast<void>(call("capture.list", {}));
      pollfd one{capture.reader.get(), POLLIN, 0};
      if (::poll(&one, 1, 1) != 1) continue;
      const ssize_t got = ::read(capture.reader.get(), buffer, sizeof buffer);
      if (got <= 0) return got == 0;
      capture.file.append(buffer, static_cast<std::size_t>(got));
    }
    return false;
  }
  /// Of the last capture.
  Json last() { return call("capture.list", {}).value().back(); }
  /// Waits for it to have ended.
  std::string end_of_last() {
    for (int i = 0; i < 10'000 && last()["end"].is_null(); ++i)
      ::usleep(1000);
    return last()["end"].is_null() ? "" : last()["end"].get<std::string>();
  }
  std::vector<std::string> told() {
    const auto slice = events_.read(since_, 1000);
    since_ = slice.next;
    std::vector<std::string> texts;
    for (const Event& event : slice.events) {
      if (event.type != EventType::capture_started && event.type != EventType::capture_stopped) continue;
      texts.push_back(std::string{text_of(event.type).name} + ' ' + event.kind + ' ' + event.name.data() + ": " +
                      event.detail.data());
      by_ = event.number;
    }
    return texts;
  }
};

TEST_F(CaptureCalls, SeeFramesUntilTheirReaderWantsNoMore) {
  auto capture = start({{"name", "default"}});
  ASSERT_TRUE(capture.result) << capture.result.error().text;
  EXPECT_EQ((*capture.result)["direction"], "in");
  EXPECT_EQ((*capture.result)["snaplen"], 128);
  add_speaker("up");  // its frame comes when it likes, mostly before it is captured
  capture.stop();
  EXPECT_EQ(end_of_last(), "reader");
  EXPECT_TRUE(read_all(capture));
  EXPECT_THAT(capture.names(), ElementsAre("vm0", "vm1", "up"));
  EXPECT_THAT(told(), ElementsAre("capture_started switch default: in, 128 bytes",
                                  "capture_stopped switch default: its reader wanted no more"));
  EXPECT_EQ(by_, ::geteuid());
}

TEST_F(CaptureCalls, SeeWhatComesToAPort) {
  auto capture = start({{"name", "vm0"}, {"count", 1}});
  ASSERT_TRUE(capture.result);
  EXPECT_EQ((*capture.result)["direction"], "both");
  add_speaker("up");
  EXPECT_TRUE(end_of_last() == "count");
  EXPECT_TRUE(read_all(capture));
  EXPECT_EQ(capture.packets(), 1u);
  EXPECT_EQ(last()["frames"], 1);
}

TEST_F(CaptureCalls, SeeOnlyWhatTheFilterLetsPass) {
  auto none = start({{"name", "vm0"}, {"filter", "1,6 0 0 0"}, {"filter_text", "no\x1b[2J frame"}});
  auto all = start({{"name", "vm0"}, {"filter", "1,6 0 0 1"}, {"count", 1}});
  ASSERT_TRUE(none.result && all.result);
  EXPECT_EQ((*none.result)["filter"], "no[2J frame");
  add_speaker("up");
  EXPECT_TRUE(read_all(all));
  none.stop();
  EXPECT_TRUE(read_all(none));
  EXPECT_EQ(none.packets(), 0u);
  EXPECT_EQ(all.packets(), 1u);
}

TEST_F(CaptureCalls, FollowAPortToAnotherSwitch) {
  auto capture = start({{"name", "vm0"}, {"count", 1}});
  ASSERT_TRUE(call("port.set", {{"name", "vm0"}, {"switch", "br0"}}));
  add_speaker("up", "br0");
  EXPECT_EQ(end_of_last(), "count");
  EXPECT_TRUE(read_all(capture));
  EXPECT_THAT(capture.names(), ElementsAre("vm0"));
  ASSERT_TRUE(call("port.remove", {{"name", "vm0"}}));
  ASSERT_TRUE(call("uplink.remove", {{"name", "up"}}));
  ASSERT_TRUE(call("switch.remove", {{"name", "br0"}}));
}

TEST_F(CaptureCalls, EndWithWhatTheySee) {
  auto port = start({{"name", "vm0"}}), whole = start({{"name", "br0"}});
  ASSERT_TRUE(call("port.remove", {{"name", "vm0"}}));
  EXPECT_TRUE(read_all(port));
  ASSERT_TRUE(call("switch.remove", {{"name", "br0"}}));
  EXPECT_TRUE(read_all(whole));
  EXPECT_EQ(end_of_last(), "removed");
  EXPECT_THAT(told(), ElementsAre(StartsWith("capture_started port vm0"), StartsWith("capture_started switch br0"),
                                  "capture_stopped port vm0: port vm0 is gone",
                                  "capture_stopped switch br0: switch br0 is gone"));
}

TEST_F(CaptureCalls, EndWhenSomebodyStopsThem) {
  auto capture = start({{"name", "vm0"}});
  const Json number = (*capture.result)["capture"];
  const auto stopped = call("capture.stop", {{"capture", number}});
  ASSERT_TRUE(stopped);
  EXPECT_EQ((*stopped)["end"], "stopped");
  EXPECT_TRUE(read_all(capture));
  EXPECT_THAT(call("capture.show", {{"capture", number}}).value()["why"].get<std::string>(), HasSubstr("stopped it"));
  EXPECT_EQ(call("capture.stop", {{"capture", number}}).error().kind, ProblemKind::not_found);
}

TEST_F(CaptureCalls, EndWithTheDaemon) {
  auto capture = start({{"name", "vm0"}});
  controller_.reset();
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(capture.reader.get(), buffer, sizeof buffer)) > 0;)
    capture.file.append(buffer, static_cast<std::size_t>(got));
  EXPECT_EQ(test::read_pcapng(capture.file).back().text(1), "the daemon ends");
}

TEST_F(CaptureCalls, AreAFewAtATime) {
  std::vector<Started> all;
  for (std::size_t i = 0; i < Captures::kMost; ++i)
    ASSERT_TRUE(all.emplace_back(start({{"name", "vm0"}})).result);
  const auto more = start({{"name", "vm1"}});
  EXPECT_EQ(more.result.error().kind, ProblemKind::busy);
  EXPECT_THAT(more.result.error().text, HasSubstr("capture-stop"));
  all.front().reader.reset();
  for (int i = 0; i < 10'000 && call("capture.list", {}).value()[0]["end"].is_null(); ++i)
    ::usleep(1000);
  EXPECT_EQ(call("capture.list", {}).value()[0]["end"], "gone");
  EXPECT_TRUE(start({{"name", "vm1"}}).result);
}

TEST_F(CaptureCalls, AreRefusedWithASentence) {
  ASSERT_TRUE(call("port.add", port("own", {{"model", "device"}, {"device", "0000:01:00.0"}})));
  EXPECT_EQ(start({{"name", "nobody"}}).result.error().kind, ProblemKind::not_found);
  EXPECT_EQ(start({{"name", "own"}}).result.error().kind, ProblemKind::not_supported);
  EXPECT_EQ(start({{"name", "vm0"}, {"direction", "up"}}).result.error().field, "direction");
  EXPECT_EQ(start({{"name", "vm0"}, {"filter", "1,5 0 0 4294967295"}}).result.error().field, "filter");
  EXPECT_EQ(start({{"name", "vm0"}, {"snaplen", 300'000}}).result.error().field, "snaplen");
  EXPECT_EQ(start({{"name", "vm0"}, {"count", 0}}).result.error().field, "count");
  EXPECT_EQ(start({}).result.error().field, "name");
  EXPECT_TRUE(told().empty());
}

TEST_F(CaptureCalls, GoToAUnixStreamSocketOnly) {
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  UniqueFd out{pipe[0]}, in{pipe[1]};
  EXPECT_FALSE(methods_.call("capture.start", {{"name", "vm0"}}, [&in] { return std::move(in); }));
  EXPECT_FALSE(methods_.call("capture.start", {{"name", "vm0"}}));
  UniqueFd datagrams{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  EXPECT_FALSE(methods_.call("capture.start", {{"name", "vm0"}}, [&datagrams] { return std::move(datagrams); }));
}

TEST_F(CaptureCalls, OfMoreThanHeadersAreForAdmins) {
  EXPECT_EQ(methods_.role_for("capture.start", {{"name", "vm0"}}), Role::operate);
  EXPECT_EQ(methods_.role_for("capture.start", {{"name", "vm0"}, {"snaplen", 128}}), Role::operate);
  for (const Json& more : {Json(129), Json(0), Json(-1), Json("128"), Json(1e9)})
    EXPECT_EQ(methods_.role_for("capture.start", {{"name", "vm0"}, {"snaplen", more}}), Role::admin) << more;
  EXPECT_EQ(methods_.role_for("capture.stop", {{"capture", 1}}), Role::operate);
  EXPECT_EQ(methods_.role_for("capture.list", {}), Role::read);
}

}  // namespace
}  // namespace vmux::control

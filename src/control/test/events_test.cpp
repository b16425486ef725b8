// SPDX-License-Identifier: BSD-3-Clause
// What is written down of what happens to objects: by a watch on a poller that the test drives, and in calls.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "control/live/controller.hpp"
#include "control/live/port_watch.hpp"
#include "control/model/hardware.hpp"
#include "control/rpc/methods.hpp"
#include "control/test/fake_catalogue.hpp"
#include "rigs/document.hpp"
#include "runtime/counter_rows.hpp"
#include "vmux/vfio_user/client.hpp"

namespace vmux::control {
namespace {

using testing::ElementsAre;

/// Whatever a test says.
struct Told final : Device, Frontend {
  [[nodiscard]] bool is_ready() noexcept override { return ready; }
  [[nodiscard]] std::uint64_t faults() const noexcept override { return fault_count; }
  [[nodiscard]] State state() const noexcept override { return client; }
  bool announce_departure(bool) noexcept override { return false; }
  void report(CounterReport&) const override {}
  bool ready = false;
  std::uint64_t fault_count = 0;
  State client;
};

class AWatch : public testing::Test {
 protected:
  AWatch() { watch_.add("vm0", port_, port_); }
  std::vector<std::string> look() {
    watch_.poll();
    return seen();
  }
  std::vector<std::string> seen() {
    const auto slice = events_.read(since_, 100);
    since_ = slice.next;
    std::vector<std::string> names;
    for (const Event& event : slice.events)
      names.emplace_back(text_of(event.type).name);
    return names;
  }
  std::unique_ptr<runtime::Poller> poller_ = std::move(*runtime::Poller::create());
  EventRing events_;
  Told port_;
  PortWatch watch_{*poller_, events_};
  std::uint64_t since_ = 0;
};

/// The poller has had an event since the watch looked.
void have_event(runtime::Poller& poller) {
  const auto eventfd = std::move(*make_eventfd());
  const auto watch = poller.watch(eventfd.get(), 1, [&](std::uint32_t) { drain_eventfd(eventfd.get()); });
  signal_eventfd(eventfd.get());
  const std::uint64_t before = poller.stats().events;
  while (poller.stats().events == before)
    poller.run_once();
}

TEST_F(AWatch, SeesAClientComeItsDriverComeUpAndBothGo) {
  port_.client = {1, true};
  have_event(*poller_);
  EXPECT_THAT(seen(), ElementsAre("client_attached"));
  port_.ready = true;
  have_event(*poller_);
  EXPECT_THAT(seen(), ElementsAre("guest_ready"));
  port_.client.is_connected = false;
  port_.ready = false;
  have_event(*poller_);
  EXPECT_THAT(seen(), ElementsAre("guest_not_ready", "client_detached"));
}

TEST_F(AWatch, SeesAClientThatCameAndWentBetweenTwoLooks) {
  port_.client = {1, false};
  have_event(*poller_);
  EXPECT_THAT(seen(), ElementsAre("client_attached", "client_detached"));
  port_.client = {2, true};
  have_event(*poller_);
  port_.client = {3, true};
  static_cast<void>(seen());
  have_event(*poller_);
  EXPECT_THAT(seen(), ElementsAre("client_detached", "client_attached"));
}

TEST_F(AWatch, SeesFaultsWithTheirNumber) {
  port_.fault_count = 3;
  have_event(*poller_);
  const auto slice = events_.read(0, 10);
  ASSERT_EQ(slice.events.size(), 1u);
  EXPECT_EQ(slice.events[0].type, EventType::fault);
  EXPECT_EQ(slice.events[0].number, 3u);
  EXPECT_STREQ(slice.events[0].name.data(), "vm0");
}

TEST_F(AWatch, LooksNowAndThenThoughThereIsNoEvent) {
  have_event(*poller_);
  port_.ready = true;
  while (seen().empty())  // a few milliseconds
    poller_->run_once();
}

TEST_F(AWatch, TellsTheEndOfAPortThatGoesWithItsClient) {
  port_.client = {1, true};
  watch_.remove("vm0");
  EXPECT_THAT(seen(), ElementsAre("client_attached", "client_detached"));
  port_.fault_count = 1;
  have_event(*poller_);
  EXPECT_THAT(seen(), ElementsAre());
}

class Events : public testing::Test {
 protected:
  void SetUp() override {
    socket_ = std::filesystem::temp_directory_path() / ("vmux-events-" + std::to_string(::getpid()));
    controller_ = std::move(*Controller::create(fake::kCatalogue, hardware_, events_, {}));
    add_methods(methods_, *controller_);
  }
  /// "kind name event" of what came behind the last call; waits until something has.
  std::vector<std::string> told() {
    std::vector<std::string> lines;
    while (lines.empty()) {
      const Json result = methods_.call("events", Json{{"since", since_}}).value();
      since_ = result["next"].get<std::uint64_t>();
      for (const Json& event : result["events"])
        lines.push_back(event["kind"].get<std::string>() + ' ' + event.value("name", "-") + ' ' +
                        event["event"].get<std::string>());
    }
    return lines;
  }
  std::string socket_;
  Hardware hardware_;
  EventRing events_;
  std::unique_ptr<Controller> controller_;
  Methods methods_;
  std::uint64_t since_ = 0;
};

TEST_F(Events, TellTheLifeOfAPort) {
  ASSERT_TRUE(methods_.call("switch.add", Json{{"name", "br0"}}));
  ASSERT_TRUE(methods_.call("port.add", Json{{"name", "vm0"}, {"model", "silent"}, {"socket", socket_}}));
  EXPECT_THAT(told(), ElementsAre("switch br0 added", "port vm0 added"));
  auto client = std::move(*vfio_user::Client::connect(socket_));
  EXPECT_THAT(told(), ElementsAre("port vm0 client_attached"));
  client.reset();
  EXPECT_THAT(told(), ElementsAre("port vm0 client_detached"));
  ASSERT_TRUE(methods_.call("port.remove", Json{{"name", "vm0"}}));
  ASSERT_TRUE(methods_.call("switch.remove", Json{{"name", "br0"}}));
  EXPECT_THAT(told(), ElementsAre("port vm0 removed", "switch br0 removed"));
}

TEST_F(Events, DoNotTellWhatFailed) {
  ASSERT_FALSE(methods_.call("port.add", Json{{"name", "broken"}, {"model", "silent"}, {"socket", socket_}}));
  EXPECT_TRUE(methods_.call("events", {}).value()["events"].empty());
}

TEST_F(Events, HaveTheFormOfTheReference) {
  events_.write(EventType::attached, "port", "vm0", 2);
  events_.write(EventType::reloaded, "daemon", "", 0);
  const Json result = methods_.call("events", {}).value();
  EXPECT_EQ(result["next"], 2);
  EXPECT_EQ(result["lost"], 0);
  Json first = result["events"][0];
  EXPECT_EQ(first["time"].get<std::string>().size(), std::string{"2026-01-31T23:59:59.123456Z"}.size());
  first.erase("time");
  EXPECT_EQ(first, Json::parse(R"({"sequence":1,"event":"client_attached","kind":"port","name":"vm0","number":2})"));
  EXPECT_FALSE(result["events"][1].contains("name"));
}

TEST_F(Events, WaitForWhatIsBehindANumberAndNotForWhatIsThere) {
  const Json params{{"since", 1}, {"wait_s", 7}};
  events_.write(EventType::reloaded, "daemon", "");
  const Wait wait = methods_.wait_of("events", params);
  EXPECT_EQ(wait.ns, 7'000'000'000u);
  EXPECT_FALSE(wait.is_over());
  events_.write(EventType::reloaded, "daemon", "");
  EXPECT_TRUE(wait.is_over());
  EXPECT_EQ(methods_.wait_of("events", params).ns, 0u);
  EXPECT_EQ(methods_.wait_of("events", Json{{"wait_s", "long"}}).ns, 0u);
  EXPECT_EQ(methods_.call("events", Json{{"wait_s", 4000}}).error().field, "wait_s");
}

// --- the reference pages ---

TEST(Reference, HasEveryEvent) {
  std::string text = "| event | what happened | `number` |\n|---|---|---|\n";
  for (const EventText& event : event_texts()) {
    EXPECT_STREQ(text_of(event.type).name, event.name);
    text += std::string{"| `"} + event.name + "` | " + event.help + " | " + (event.number ? event.number : "") + " |\n";
  }
  test::expect_section("docs/rpc.md", "events", text);
}

TEST(Reference, HasEveryCounter) {
  std::string text;
  const auto add = [&text](const std::string& title, DescribeCounters describe) {
    if (describe == nullptr) return;
    CounterDescriptions all;
    describe(all);
    text += "\n### " + title + "\n\n| counter | unit | meaning |\n|---|---|---|\n";
    for (const CounterDescription& one : all)
      text += "| `" + one.name + "` | " + one.unit + " | " + one.help + " |\n";
  };
  add("Pollers", [](CounterDescriptions& into) { describe(into, runtime::kPollerCounterRows); });
  for (const ModelEntry& model : builtin_catalogue().models)
    add(std::string{"Model "} + model.name, model.describe);
  for (const TransportEntry& transport : builtin_catalogue().transports)
    add(std::string{"Transport "} + transport.name, transport.describe);
  test::expect_section("docs/counters.md", "counters", text);
}

}  // namespace
}  // namespace vmux::control

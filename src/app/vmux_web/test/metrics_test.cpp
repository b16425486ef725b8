// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux_web/metrics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "app/vmux_web/metric_names.hpp"
#include "control/model/catalogue.hpp"
#include "port/counters.hpp"
#include "runtime/counter_rows.hpp"

namespace vmux::app {
namespace {

using testing::HasSubstr;
using testing::Not;

struct NameRow {
  Counting who;
  const char *counter, *unit, *kind;
  const char* family;
  std::vector<std::pair<std::string, std::string>> labels;
  double scale = 1;
};
class NameOfAMetric : public testing::TestWithParam<NameRow> {};
TEST_P(NameOfAMetric, IsPrometheusOwn) {
  const NameRow& row = GetParam();
  const MetricName name = metric_name(row.who, row.counter, row.unit, row.kind);
  EXPECT_EQ(name.family, row.family);
  EXPECT_EQ(name.labels, row.labels);
  EXPECT_EQ(name.scale, row.scale);
}
INSTANTIATE_TEST_SUITE_P(
    Rows, NameOfAMetric,
    testing::Values(
        NameRow{Counting::port, "rx_bytes", "bytes", "total", "vmux_port_rx_bytes_total", {}},
        NameRow{Counting::port, "drop_no_room", "frames", "total", "vmux_port_drops_total", {{"reason", "no_room"}}},
        NameRow{Counting::model, "tx.frames", "frames", "total", "vmux_model_frames_total", {{"direction", "tx"}}},
        NameRow{Counting::model,
                "rx12.dropped",
                "frames",
                "total",
                "vmux_queue_dropped_total",
                {{"direction", "rx"}, {"queue", "12"}}},
        NameRow{Counting::model,
                "rxN.dropped",
                "frames",
                "total",
                "vmux_queue_dropped_total",
                {{"direction", "rx"}, {"queue", "N"}}},
        NameRow{Counting::model,
                "unknown_command.0x1f",
                "",
                "total",
                "vmux_model_unknown_command_total",
                {{"number", "0x1f"}}},
        NameRow{Counting::model, "txt.words", "words", "total", "vmux_model_txt_words_total", {}},
        NameRow{
            Counting::model, "resets.function_level", "resets", "total", "vmux_model_resets_function_level_total", {}},
        NameRow{Counting::model, "dma.map_us", "microseconds", "total", "vmux_model_dma_map_seconds_total", {}, 1e-6},
        NameRow{Counting::poller, "busy_ns", "nanoseconds", "total", "vmux_poller_busy_seconds_total", {}, 1e-9},
        NameRow{Counting::client, "dma_bytes", "bytes", "now", "vmux_client_dma_bytes", {}},
        NameRow{Counting::client, "odd \"name\"\n", "", "total", "vmux_client_odd__name___total", {}}));

TEST(Help, IsOneLine) { EXPECT_EQ(escaped_help("a\\b\nc"), "a\\\\b\\nc"); }

TEST(Help, TellsModelsOfOneFamilyApart) {
  const CounterTexts texts{Json::array(
      {{{"of", "model a"}, {"name", "tx.frames"}, {"unit", "frames"}, {"meaning", "sent"}, {"kind", "total"}},
       {{"of", "model b"}, {"name", "rx.frames"}, {"unit", "frames"}, {"meaning", "received"}, {"kind", "total"}},
       {{"of", "poller"}, {"name", "busy_ns"}, {"unit", "nanoseconds"}, {"meaning", "at work"}, {"kind", "total"}}})};
  EXPECT_EQ(texts.help("vmux_model_frames_total"), "frames, received (b rx); frames, sent (a tx)");
  EXPECT_EQ(texts.help("vmux_poller_busy_seconds_total"), "seconds, at work");
}

/// As a daemon answers that has each model of the catalogue on a port, with two queues.
Snapshot whole() {
  Snapshot snapshot;
  snapshot.is_up = true;
  snapshot.version = {{"version", "1.2.3"}};
  snapshot.counters = snapshot.ports = snapshot.stats = Json::array();
  const auto add = [&](const std::string& of, const control::CounterDescriptions& all) {
    Json report = Json::object();
    for (const control::CounterDescription& one : all) {
      snapshot.counters.push_back({{"of", of},
                                   {"name", one.name},
                                   {"unit", one.unit},
                                   {"meaning", one.help},
                                   {"kind", one.kind == CounterKind::now ? "now" : "total"}});
      const std::size_t queue = one.name.find("N.");
      if (queue == std::string::npos) report[one.name] = 5;
      for (const char* number : {"0", "1"})
        if (queue != std::string::npos) report[std::string{one.name}.replace(queue, 1, number)] = 5;
    }
    return report;
  };
  const auto describe = [](const auto& rows) {
    control::CounterDescriptions all;
    control::describe(all, rows);
    return all;
  };
  const Json lane{{"poller", 0}, {"counters", add("port", describe(port::kPortCounters))}};
  Json poller = add("poller", describe(runtime::kPollerCounterRows));
  poller.update({{"poller", 0}, {"cpu", nullptr}, {"ports", 2}});
  snapshot.pollers = Json::array({poller});
  std::map<std::string, Json> clients;
  for (const control::TransportEntry& entry : control::builtin_catalogue().transports) {
    control::CounterDescriptions all;
    if (entry.describe != nullptr) entry.describe(all);
    clients[entry.name] = add(std::string{"transport "} + entry.name, all);
  }
  for (const control::ModelEntry& entry : control::builtin_catalogue().models) {
    control::CounterDescriptions all;
    if (entry.describe != nullptr) entry.describe(all);
    const std::string transport{entry.transports.back()};  // each has some model
    const std::string model{entry.name};
    snapshot.ports.push_back({{"name", "of " + model},
                              {"model", model},
                              {"transport", transport},
                              {"switch", "s"},
                              {"connected", true},
                              {"ready", true}});
    snapshot.stats.push_back({{"name", "of " + model},
                              {"model", add("model " + model, all)},
                              {"client", clients[transport]},
                              {"lanes", Json::array({lane})}});
  }
  snapshot.uplinks =
      Json::array({{{"name", "up"}, {"backend", "tap"}, {"ready", false}, {"lanes", Json::array({lane})}}});
  snapshot.switches =
      Json::array({{{"name", "s"},
                    {"ports", Json::array({{{"name", "up"}, {"kind", "uplink"}}})},
                    {"mac_table", Json::array({{{"mac", "a"}, {"static", false}}})},
                    {"turns", {{"bounds_ns", {256, 512}}, {"counts", {1, 2, 3}}, {"sum_ns", 2'000'000'000}}}}});
  return snapshot;
}

TEST(MetricsText, HasEveryCounterOfTheTablesWithHelpAndType) {
  const Snapshot snapshot = whole();
  const std::string text = metrics_text(snapshot, {});
  for (const Json& row : snapshot.counters) {
    const std::string of = row["of"];
    const Counting who = of == "port"     ? Counting::port
                         : of == "poller" ? Counting::poller
                         : of[0] == 'm'   ? Counting::model
                                          : Counting::client;
    const MetricName name = metric_name(who, row["name"].get<std::string>(), row["unit"].get<std::string>(),
                                        row["kind"].get<std::string>());
    const char* const type = row["kind"] == "now" ? " gauge\n" : " counter\n";
    EXPECT_THAT(text, HasSubstr("# TYPE " + name.family + type));
    EXPECT_THAT(text, HasSubstr("\n" + name.family + "{"));
  }
  EXPECT_THAT(text, Not(HasSubstr("does not explain")));
  EXPECT_THAT(text,
              HasSubstr("vmux_queue_frames_total{port=\"of iavf\",model=\"iavf\",direction=\"tx\",queue=\"1\"} 5\n"));
  EXPECT_THAT(text,
              HasSubstr("vmux_port_drops_total{port=\"up\",kind=\"uplink\",poller=\"0\",reason=\"limited\"} 5\n"));
  EXPECT_THAT(text, HasSubstr("vmux_poller_asleep_seconds_total{poller=\"0\"} 5e-09\n"));
}

TEST(MetricsText, HasNoSeriesTwice) {
  std::istringstream text{metrics_text(whole(), {})};
  std::set<std::string> seen;
  for (std::string line; std::getline(text, line);) {
    if (line[0] == '#') continue;
    EXPECT_TRUE(seen.insert(line.substr(0, line.rfind(' '))).second) << line;
  }
  EXPECT_GT(seen.size(), 100u);
}

TEST(MetricsText, AddsTheBucketsOfTurnsUp) {
  const std::string text = metrics_text(whole(), {});
  EXPECT_THAT(text, HasSubstr("vmux_switch_turn_seconds_bucket{switch=\"s\",le=\"2.56e-07\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("vmux_switch_turn_seconds_bucket{switch=\"s\",le=\"5.12e-07\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("vmux_switch_turn_seconds_bucket{switch=\"s\",le=\"+Inf\"} 6\n"));
  EXPECT_THAT(text, HasSubstr("vmux_switch_turn_seconds_sum{switch=\"s\"} 2\n"));
}

TEST(MetricsText, EscapesWhatOthersHaveNamed) {
  Snapshot snapshot;
  snapshot.is_up = true;
  snapshot.ports = Json::array({{{"name", "a\"} 1\nevil 2\\"}, {"connected", true}}});
  const std::string text = metrics_text(snapshot, {});
  EXPECT_THAT(text, HasSubstr("vmux_port_connected{port=\"a\\\"} 1\\nevil 2\\\\\"} 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("\nevil")));
}

TEST(MetricsText, OfADaemonThatIsAwaySaysThatAlone) {
  Snapshot snapshot = whole();
  snapshot.is_up = false;
  const std::string text = metrics_text(snapshot, {{200, 3}});
  EXPECT_THAT(text, HasSubstr("\nvmux_up 0\n"));
  EXPECT_THAT(text, HasSubstr("vmux_web_responses_total{code=\"200\"} 3\n"));
  EXPECT_THAT(text, Not(HasSubstr("vmux_port")));
}

// Another version's words, or no daemon's at all.
TEST(MetricsText, DoesWithoutWhatIsNotAsItShouldBe) {
  Snapshot snapshot;
  snapshot.is_up = true;
  for (const char* odd :
       {"null", "7", "\"text\"", "[1, null, [], \"x\"]", "{}", "[{\"name\": 7, \"lanes\": 3, \"turns\": [1]}]",
        "[{\"name\": \"a\", \"lanes\": [{\"counters\": {\"x\": \"y\", \"rx_frames\": null}}], \"mac_table\": {}}]",
        "[{\"name\": \"a\", \"turns\": {\"bounds_ns\": [1], \"counts\": [1]}}]",
        "[{\"name\": \"a\", \"turns\": {\"bounds_ns\": [1], \"counts\": [-1, 1e300]}}]"}) {
    const Json json = Json::parse(odd);
    snapshot.version = snapshot.keeper = snapshot.pollers = snapshot.ports = snapshot.stats = snapshot.uplinks = json;
    snapshot.switches = snapshot.counters = snapshot.events = snapshot.findings = json;
    EXPECT_THAT(metrics_text(snapshot, {}), HasSubstr("vmux_up 1\n")) << odd;
    EXPECT_TRUE(to_json(snapshot).is_object()) << odd;
  }
}

}  // namespace
}  // namespace vmux::app

// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux_web/metrics.hpp"

#include <prometheus/text_serializer.h>

#include <limits>
#include <utility>
#include <vector>

#include "app/vmux_web/metric_names.hpp"

namespace vmux::app {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

/// Label without a value are not there, as Prometheus has it.
Labels labels(std::initializer_list<std::pair<const char*, std::string>> given) {
  Labels out;
  for (const auto& [name, value] : given) {
    if (!value.empty()) out.push_back({name, value});
  }
  return out;
}

/// Text, or a number as text.
std::string word_of(const Json& object, const char* key) {
  const Json& value = member(object, key);
  return value.is_number_integer() ? value.dump() : text_of(object, key);
}

class Families {
 public:
  void counter(const std::string& family, const std::string& help, Labels labels, double value) {
    metric(family, help, MetricType::Counter, std::move(labels)).counter.value = value;
  }
  void gauge(const std::string& family, const std::string& help, Labels labels, double value) {
    metric(family, help, MetricType::Gauge, std::move(labels)).gauge.value = value;
  }
  ClientMetric::Histogram& histogram(const std::string& family, const std::string& help, Labels labels) {
    return metric(family, help, MetricType::Histogram, std::move(labels)).histogram;
  }
  [[nodiscard]] std::string text() const {
    std::vector<prometheus::MetricFamily> all;
    for (const auto& [name, family] : families_)
      all.push_back(family);
    return prometheus::TextSerializer{}.Serialize(all);
  }

 private:
  ClientMetric& metric(const std::string& name, const std::string& help, MetricType type, Labels labels) {
    prometheus::MetricFamily& family = families_[name];
    family.name = name;
    family.help = escaped_help(help);
    family.type = type;
    family.metric.emplace_back().label = std::move(labels);
    return family.metric.back();
  }
  std::map<std::string, prometheus::MetricFamily> families_;
};

/// All counters of one who counts; `of` as counter.list has it.
void add_counters(Families& into, const CounterTexts& texts, Counting who, const std::string& of, const Json& counters,
                  const Labels& labels) {
  if (!counters.is_object()) return;
  for (const auto& [counter, value] : counters.items()) {
    if (!value.is_number()) continue;
    const CounterTexts::Text text = texts.find(of, counter);
    const MetricName name = metric_name(who, counter, text.unit, text.kind);
    Labels all = labels;
    for (const auto& [label, of_label] : name.labels)
      all.push_back({label, of_label});
    const double scaled = number_of(value) * name.scale;
    if (text.kind == "now") {
      into.gauge(name.family, texts.help(name.family), std::move(all), scaled);
    } else {
      into.counter(name.family, texts.help(name.family), std::move(all), scaled);
    }
  }
}

/// What the switch counts of a port or uplink, for each poller that owns some of it.
void add_lanes(Families& into, const CounterTexts& texts, const Json& lanes, const std::string& name,
               const char* kind) {
  for (const Json& lane : list_of(lanes)) {
    add_counters(into, texts, Counting::port, "port", member(lane, "counters"),
                 labels({{"port", name}, {"kind", kind}, {"poller", word_of(lane, "poller")}}));
  }
}

void add_state(Families& into, const Json& object, const char* kind, const char* made_of) {
  const std::string name = text_of(object, "name");
  into.gauge("vmux_port_info", "1; what a port or uplink is, in its labels",
             labels({{"port", name},
                     {"kind", kind},
                     {"switch", text_of(object, "switch")},
                     {made_of, text_of(object, made_of)},
                     {"transport", text_of(object, "transport")},
                     {"mac", text_of(object, "mac")}}),
             1);
  into.gauge("vmux_port_ready", "1 if frames can pass: a guest's driver is up, an uplink's link is",
             labels({{"port", name}, {"kind", kind}}), flag_of(object, "ready") ? 1 : 0);
}

void add_ports(Families& into, const CounterTexts& texts, const Snapshot& snapshot) {
  std::map<std::string, const Json*> stats;
  for (const Json& one : list_of(snapshot.stats))
    stats[text_of(one, "name")] = &one;
  for (const Json& port : list_of(snapshot.ports)) {
    const std::string name = text_of(port, "name"), model = text_of(port, "model");
    const std::string transport = text_of(port, "transport");
    add_state(into, port, "port", "model");
    into.gauge("vmux_port_connected", "1 if a VMM is attached", labels({{"port", name}}),
               flag_of(port, "connected") ? 1 : 0);
    into.gauge("vmux_port_link_up", "1 unless the operator has pulled the cable (link = \"down\")",
               labels({{"port", name}}), text_of(port, "link") == "down" ? 0 : 1);
    const auto found = stats.find(name);
    if (found == stats.end()) continue;  // added meanwhile
    const Json& own = *found->second;
    add_lanes(into, texts, member(own, "lanes"), name, "port");
    add_counters(into, texts, Counting::model, "model " + model, member(own, "model"),
                 labels({{"port", name}, {"model", model}}));
    add_counters(into, texts, Counting::client, "transport " + transport, member(own, "client"),
                 labels({{"port", name}, {"transport", transport}}));
  }
  for (const Json& uplink : list_of(snapshot.uplinks)) {
    add_state(into, uplink, "uplink", "backend");
    add_lanes(into, texts, member(uplink, "lanes"), text_of(uplink, "name"), "uplink");
  }
}

void add_pollers(Families& into, const CounterTexts& texts, const Json& pollers) {
  for (const Json& poller : list_of(pollers)) {
    if (!poller.is_object()) continue;
    const Labels own = labels({{"poller", word_of(poller, "poller")}});
    into.gauge("vmux_poller_info", "1; the CPU that a poller is pinned to, in its labels",
               labels({{"poller", word_of(poller, "poller")}, {"cpu", word_of(poller, "cpu")}}), 1);
    into.gauge("vmux_poller_ports", "ports whose home it is", own, number_of(member(poller, "ports")));
    Json counters = poller;
    for (const char* other : {"poller", "cpu", "ports"})
      counters.erase(other);
    add_counters(into, texts, Counting::poller, "poller", counters, own);
  }
}

/// A histogram's buckets add up, and the last has no bound.
void add_turns(Families& into, const Json& turns, const std::string& name) {
  const Json& bounds = list_of(member(turns, "bounds_ns"));
  const Json& counts = list_of(member(turns, "counts"));
  if (counts.empty() || counts.size() != bounds.size() + 1) return;
  ClientMetric::Histogram& histogram = into.histogram(
      "vmux_switch_turn_seconds",
      "how long it takes from asking a port for frames until those are with their receivers, or on their way to other "
      "pollers; of some turns",
      labels({{"switch", name}}));
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const bool is_count = counts[i].is_number_integer() && counts[i] >= 0;
    sum += is_count ? counts[i].get<std::uint64_t>() : 0;
    const bool is_last = i == bounds.size();
    const double bound = is_last ? std::numeric_limits<double>::infinity() : number_of(bounds[i]) / 1e9;
    histogram.bucket.push_back({sum, bound});
  }
  histogram.sample_count = sum;
  histogram.sample_sum = number_of(member(turns, "sum_ns")) * 1e-9;
}

void add_switches(Families& into, const Json& switches) {
  for (const Json& one : list_of(switches)) {
    const std::string name = text_of(one, "name");
    std::map<std::string, double> members{{"port", 0}, {"uplink", 0}}, macs{{"learnt", 0}, {"static", 0}};
    for (const Json& port : list_of(member(one, "ports")))
      ++members[text_of(port, "kind")];
    for (const Json& entry : list_of(member(one, "mac_table")))
      ++macs[flag_of(entry, "static") ? "static" : "learnt"];
    for (const auto& [kind, count] : members)
      into.gauge("vmux_switch_members", "ports and uplinks that belong to it",
                 labels({{"switch", name}, {"kind", kind}}), count);
    for (const auto& [type, count] : macs)
      into.gauge("vmux_switch_mac_addresses", "addresses that it knows", labels({{"switch", name}, {"type", type}}),
                 count);
    add_turns(into, member(one, "turns"), name);
  }
}

void add_keeper(Families& into, const Json& keeper) {
  into.gauge("vmux_keeper_present", "1 if somebody goes on when the daemon dies", {}, keeper.is_object() ? 1 : 0);
  if (!keeper.is_object()) return;
  into.gauge("vmux_keeper_standby", "1 if the next daemon waits already", {},
             number_of(member(keeper, "standby")) != 0 ? 1 : 0);
  into.counter("vmux_keeper_takeovers_total", "daemons that went on where the one before had died or was replaced", {},
               number_of(member(keeper, "takeovers")));
}

}  // namespace

std::string metrics_text(const Snapshot& snapshot, const std::map<unsigned, std::uint64_t>& answered) {
  Families families;
  families.gauge("vmux_up", "1 if the daemon answers", {}, snapshot.is_up ? 1 : 0);
  for (const auto& [status, count] : answered) {
    families.counter("vmux_web_responses_total", "requests that vmux-web has answered, by status",
                     labels({{"code", std::to_string(status)}}), static_cast<double>(count));
  }
  if (!snapshot.is_up) return families.text();
  const CounterTexts texts{snapshot.counters};
  families.gauge("vmux_info", "1; the daemon's version, in its labels",
                 labels({{"version", text_of(snapshot.version, "version")}}), 1);
  families.gauge("vmux_web_rpc_seconds", "how long the daemon took to answer all that is told here", {},
                 static_cast<double>(snapshot.took_ns) * 1e-9);
  add_keeper(families, snapshot.keeper);
  add_pollers(families, texts, snapshot.pollers);
  add_ports(families, texts, snapshot);
  add_switches(families, snapshot.switches);
  return families.text();
}

}  // namespace vmux::app

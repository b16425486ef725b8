// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux_web/snapshot.hpp"

#include <algorithm>
#include <utility>

namespace vmux::app {
namespace {

Json with_fewer_macs(const Json& shown) {
  Json out = shown;
  if (!out.is_object()) return out;
  std::vector<Json> table;
  for (const Json& entry : list_of(member(out, "mac_table")))
    table.push_back(entry);
  out["mac_count"] = table.size();
  if (table.size() > kMostMacs) {
    std::stable_sort(table.begin(), table.end(), [](const Json& a, const Json& b) {
      return number_of(member(a, "age_s")) < number_of(member(b, "age_s"));
    });
    table.resize(kMostMacs);
  }
  out["mac_table"] = std::move(table);
  return out;
}

}  // namespace

const Json& member(const Json& object, const char* key) noexcept {
  static const Json kNone;
  if (!object.is_object()) return kNone;
  const auto at = object.find(key);
  return at == object.end() ? kNone : *at;
}

const Json& list_of(const Json& maybe) noexcept {
  static const Json kNone = Json::array();
  return maybe.is_array() ? maybe : kNone;
}

std::string text_of(const Json& object, const char* key) {
  const Json& value = member(object, key);
  return value.is_string() ? value.get<std::string>() : std::string{};
}

double number_of(const Json& value) noexcept { return value.is_number() ? value.get<double>() : 0; }

bool flag_of(const Json& object, const char* key) noexcept {
  const Json& value = member(object, key);
  return value.is_boolean() && value.get<bool>();
}

Json to_json(const Snapshot& snapshot) {
  Json switches = Json::array(), port_counters = Json::array();
  for (const Json& shown : list_of(snapshot.switches))
    switches.push_back(with_fewer_macs(shown));
  for (const Json& counter : list_of(snapshot.counters)) {
    if (text_of(counter, "of") == "port") port_counters.push_back(counter);
  }
  return {{"up", snapshot.is_up},
          {"why", snapshot.why},
          {"time_ms", snapshot.unix_ms},
          {"version", snapshot.version},
          {"keeper", snapshot.keeper},
          {"pollers", snapshot.pollers},
          {"ports", snapshot.ports},
          {"stats", snapshot.stats},
          {"uplinks", snapshot.uplinks},
          {"switches", std::move(switches)},
          {"counters", std::move(port_counters)},
          {"events", snapshot.events},
          {"findings", snapshot.findings}};
}

}  // namespace vmux::app

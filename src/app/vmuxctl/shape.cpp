// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/shape.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/text/format.hpp"

namespace vmux::app {
namespace {

using control::Json;

enum class Kind : unsigned char { anything, object, objects, list, counters, text };

/// Of every object, wherever it stands in a result: the members that are looked into.
constexpr auto kMembers = std::to_array<std::pair<std::string_view, Kind>>({
    {"counters", Kind::counters}, {"lanes", Kind::objects}, {"mac_table", Kind::objects},
    {"pollers", Kind::list},      {"variants", Kind::list}, {"transports", Kind::list},
    {"notes", Kind::list},        {"lines", Kind::list},    {"calls", Kind::objects},
    {"methods", Kind::objects},   {"results", Kind::list},  {"findings", Kind::objects},
    {"ranges", Kind::objects},    {"files", Kind::objects}, {"records", Kind::objects},
    {"kept", Kind::list},         {"failed", Kind::list},   {"takes_restart", Kind::list},
    {"text", Kind::text},
});

/// Results that are lists; all others are an object.
constexpr auto kLists = std::to_array<std::string_view>({"port.list", "port.stats", "capture.list", "trace.list",
                                                         "switch.list", "rule.list", "uplink.list", "poller.list",
                                                         "model.list", "backend.list", "counter.list"});

Kind kind_of(const std::string& method, std::string_view member) {
  if (member == "ports" && method == "switch.show") return Kind::objects;  // elsewhere it is their number
  if (member == "events" && method == "events") return Kind::objects;      // the same
  const auto found =
      std::find_if(kMembers.begin(), kMembers.end(), [member](const auto& one) { return one.first == member; });
  return found == kMembers.end() ? Kind::anything : found->second;
}

bool is_kind(const std::string& method, const Json& value, Kind kind) {
  const auto has_good_members = [&method](const Json& object) {
    for (const auto& item : object.items()) {
      if (!is_kind(method, item.value(), kind_of(method, item.key()))) return false;
    }
    return object.is_object();
  };
  switch (kind) {
    case Kind::anything:
      return true;
    case Kind::object:
      return has_good_members(value);
    case Kind::objects:
      return value.is_array() && std::all_of(value.begin(), value.end(), has_good_members);
    case Kind::list:
      return value.is_array();
    case Kind::counters:
      return value.is_object() || value.is_null();
    case Kind::text:
      return value.is_string();
  }
  return false;
}

}  // namespace

std::optional<std::string> fault_of(const std::string& method, const Json& result) {
  const bool is_list = std::find(kLists.begin(), kLists.end(), method) != kLists.end();
  if (is_kind(method, result, is_list ? Kind::objects : Kind::object)) return std::nullopt;
  return fmt::format("what answers is no vmux, or of another version: the result of {} is not {}", method,
                     is_list ? "a list of objects of this form" : "an object of this form");
}

}  // namespace vmux::app

// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/print.hpp"

#include "app/vmuxctl/table.hpp"
#include "base/format.hpp"
#include "control/version.hpp"

namespace vmux::app {
namespace {

using control::Json;

std::string vlan_text(const Json& object) {
  if (const Json& vlan = member(object, "vlan"); !vlan.is_null()) return "access " + text(vlan);
  const Json& trunk = member(object, "trunk");
  if (trunk.is_null()) return "-";
  const Json& native = member(object, "native");
  return "trunk " + text(trunk) + (native.is_null() ? "" : " native " + text(native));
}

/// The list with one more member each, for a column of its own.
template <class Make>
Json with(const Json& list, const char* key, Make make) {
  Json more = list;
  for (Json& object : more)
    object[key] = make(object);
  return more;
}

std::uint64_t drops(const Json& counters) {
  std::uint64_t sum = 0;
  for (const auto& item : counters.items()) {
    if (item.key().rfind("drop_", 0) == 0 && item.value().is_number_unsigned())
      sum += item.value().get<std::uint64_t>();
  }
  return sum;
}

Json flat_row(const Json& object) {
  Json row = object;
  const Json& counters = member(object, "counters");
  if (counters.is_object()) row.update(counters);
  row["drops"] = counters.is_object() ? Json(drops(counters)) : Json();
  return row;
}

/// Lifts the counters of each object beside its name, with the drops as one sum. One whose queues lie on several
/// pollers is followed by a row for each.
Json flatten(const Json& list) {
  Json flat = Json::array();
  for (const Json& object : list) {
    flat.push_back(flat_row(object));
    const Json& lanes = member(object, "lanes");
    for (const Json& lane : lanes.size() > 1 ? lanes : Json::array()) {
      Json row = flat_row(lane);
      row["name"] = "  poller " + text(lane, "poller");
      flat.push_back(std::move(row));
    }
  }
  return flat;
}

/// The rows of a table as `flatten` makes them, where a lane has no value of its own: blank.
Json blank_lanes(Json rows, std::initializer_list<const char*> keys) {
  for (Json& row : rows) {
    for (const char* key : keys) {
      if (text(row, "name").rfind(' ', 0) == 0 && !row.contains(key)) row[key] = "";
    }
  }
  return rows;
}

Json with_pollers(const Json& list) {
  return with(list, "poller", [](const Json& object) { return list_text(member(object, "pollers")); });
}

}  // namespace

std::string print_port(const Json& port) { return lines_of(port); }

std::string print_ports(const Json& ports) {
  return table_of(with_pollers(with(ports, "vlans", vlan_text)),
                  {"name", "model", "switch", "mac", "vlans", "doorbell", "poller", "connected", "ready", "socket"});
}

std::string print_stats(const Json& stats) {
  if (stats.size() == 1) {
    Json one = stats.front();
    const Json lanes =
        flatten(Json::array({{{"name", "all"}, {"counters", one["counters"]}, {"lanes", one["lanes"]}}}));
    one.erase("lanes");
    if (lanes.size() == 1) return lines_of(one);
    return lines_of(one) + '\n' + table_of(lanes, {"name", "rx_frames", "rx_bytes", "tx_frames", "tx_bytes", "drops"});
  }
  return table_of(blank_lanes(flatten(stats), {"connected"}),
                  {"name", "connected", "rx_frames", "rx_bytes", "tx_frames", "tx_bytes", "drops"});
}

std::string print_switch(const Json& found) {
  const Json ports = with(flatten(member(found, "ports")), "vlans", vlan_text);
  return fmt::format("switch {}, addresses are kept {} s\n\n{}\n{}", text(found, "name"), text(found, "mac_age_s"),
                     table_of(ports, {"name", "kind", "vlans", "rx_frames", "tx_frames", "drops"}),
                     table_of(member(found, "mac_table"), {"mac", "vlan", "port", "age_s"}));
}

std::string print_switch_added(const Json& added) { return lines_of(added); }

std::string print_switches(const Json& switches) {
  return table_of(switches, {"name", "ports", "uplinks", "mac_age_s"});
}

std::string print_uplink(const Json& uplink) {
  Json one = uplink;
  one.erase("lanes");
  return lines_of(one);
}

std::string print_uplinks(const Json& uplinks) {
  const Json rows = flatten(with_pollers(with(uplinks, "vlans", vlan_text)));
  return table_of(
      blank_lanes(rows, {"switch", "backend", "device", "queues", "vlans", "ready"}),
      {"name", "switch", "backend", "device", "queues", "poller", "vlans", "ready", "rx_frames", "tx_frames", "drops"});
}

std::string print_removed(const Json& removed) {
  if (member(removed, "removed").is_null()) return "nothing to remove\n";
  return fmt::format("removed {}\n", text(removed, "removed"));
}

std::string print_vm_args(const Json& args) {
  std::string out;
  for (const Json& note : member(args, "notes"))
    out += fmt::format("# {}\n", text(note));
  for (const Json& line : member(args, "lines"))
    out += text(line) + '\n';
  return out;
}

std::string print_pollers(const Json& pollers) {
  return table_of(pollers, {"poller", "cpu", "ports", "rounds", "busy_rounds", "events", "messages", "sleeps", "work",
                            "keeps_awake"});
}

std::string print_models(const Json& models) {
  return table_of(models, {"model", "mode", "built", "doorbell", "variants", "description"});
}

std::string print_backends(const Json& backends) { return table_of(backends, {"backend", "built", "description"}); }

std::string print_log_level(const Json& level) { return text(level, "level") + '\n'; }

std::string print_version(const Json& version) {
  return fmt::format("vmuxctl {}\nvmux {} (process {})\n", control::version(), text(version, "version"),
                     text(version, "pid"));
}

}  // namespace vmux::app

// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/print.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <span>
#include <vector>

#include "control/version.hpp"

namespace vmux::app {
namespace {

using control::Json;
using Row = std::vector<std::string>;

const Json& member(const Json& object, const char* key) {
  static const Json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

std::string text(const Json& value) {
  if (value.is_null()) return "-";
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_string()) return value.get<std::string>();
  return value.dump();
}

std::string text(const Json& object, const char* key) { return text(member(object, key)); }

bool is_number(const std::string& cell) {
  return !cell.empty() && std::all_of(cell.begin(), cell.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// Columns as wide as their widest cell; numbers to the right, with their heading. The first row is the heading.
std::string table(const std::vector<Row>& rows) {
  const std::size_t columns = rows.front().size();
  std::vector<std::size_t> width(columns);
  std::vector<bool> is_right(columns, rows.size() > 1);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < columns; ++c) {
      width[c] = std::max(width[c], rows[r][c].size());
      if (r > 0 && !is_number(rows[r][c])) is_right[c] = false;
    }
  }
  std::string out;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < columns; ++c) {
      if (c > 0) line += "  ";
      line += is_right[c] ? fmt::format("{:>{}}", row[c], width[c]) : fmt::format("{:<{}}", row[c], width[c]);
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  }
  return out;
}

/// A list of objects: each key is a column, headed by the key in capitals.
std::string table_of(const Json& list, std::initializer_list<const char*> keys) {
  std::vector<Row> rows(1);
  for (const char* key : keys) {
    std::string heading = key;
    std::transform(heading.begin(), heading.end(), heading.begin(), [](char c) {
      return static_cast<char>(c == '_' ? ' ' : std::toupper(static_cast<unsigned char>(c)));
    });
    rows.front().push_back(std::move(heading));
  }
  for (const Json& object : list) {
    Row row;
    for (const char* key : keys)
      row.push_back(text(object, key));
    rows.push_back(std::move(row));
  }
  return table(rows);
}

/// An object, one member a line.
std::string lines_of(const Json& object, const std::string& indent = "") {
  std::size_t width = 0;
  for (const auto& item : object.items())
    width = std::max(width, item.key().size());
  std::string out;
  for (const auto& item : object.items()) {
    if (item.value().is_object()) {
      out += fmt::format("{}{}\n{}", indent, item.key(), lines_of(item.value(), indent + "  "));
    } else {
      out += fmt::format("{}{:<{}}  {}\n", indent, item.key(), width, text(item.value()));
    }
  }
  return out;
}

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

/// Lifts the counters of each object beside its name, with the drops as one sum.
Json flatten(const Json& list) {
  Json flat = Json::array();
  for (const Json& object : list) {
    Json row = object;
    const Json& counters = member(object, "counters");
    if (counters.is_object()) row.update(counters);
    row["drops"] = counters.is_object() ? Json(drops(counters)) : Json();
    flat.push_back(std::move(row));
  }
  return flat;
}

}  // namespace

std::string print_port(const Json& port) { return lines_of(port); }

std::string print_ports(const Json& ports) {
  return table_of(with(ports, "vlans", vlan_text),
                  {"name", "model", "switch", "mac", "vlans", "doorbell", "poller", "connected", "ready", "socket"});
}

std::string print_stats(const Json& stats) {
  if (stats.size() == 1) return lines_of(stats.front());
  return table_of(flatten(stats), {"name", "connected", "rx_frames", "rx_bytes", "tx_frames", "tx_bytes", "drops"});
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

std::string print_uplink(const Json& uplink) { return lines_of(uplink); }

std::string print_uplinks(const Json& uplinks) {
  return table_of(with(flatten(uplinks), "vlans", vlan_text), {"name", "switch", "backend", "device", "queues", "vlans",
                                                               "ready", "rx_frames", "tx_frames", "drops"});
}

std::string print_removed(const Json& removed) { return fmt::format("removed {}\n", text(removed, "removed")); }

std::string print_vm_args(const Json& args) {
  std::string out;
  for (const Json& note : member(args, "notes"))
    out += fmt::format("# {}\n", text(note));
  for (const Json& line : member(args, "lines"))
    out += text(line) + '\n';
  return out;
}

std::string print_pollers(const Json& pollers) {
  return table_of(pollers, {"poller", "cpu", "ports", "rounds", "busy_rounds", "events", "messages", "sleeps", "work"});
}

std::string print_models(const Json& models) {
  return table_of(models, {"model", "mode", "built", "doorbell", "description"});
}

std::string print_backends(const Json& backends) { return table_of(backends, {"backend", "built", "description"}); }

std::string print_log_level(const Json& level) { return text(level, "level") + '\n'; }

std::string print_version(const Json& version) {
  return fmt::format("vmuxctl {}\nvmux {} (process {})\n", control::version(), text(version, "version"),
                     text(version, "pid"));
}

}  // namespace vmux::app

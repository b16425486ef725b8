// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/host/print.hpp"

#include <algorithm>

#include "app/vmuxctl/table.hpp"
#include "base/text/format.hpp"

namespace vmux::app {

using control::Json;

Json json_of(const std::vector<host::Finding>& findings) {
  Json list = Json::array();
  for (const host::Finding& each : findings) {
    Json row{{"check", each.check}, {"verdict", host::name_of(each.verdict)}, {"found", each.found}};
    row["mend"] = each.mend.empty() ? Json() : Json(each.mend);
    list.push_back(std::move(row));
  }
  return {{"verdict", host::name_of(host::worst(findings))}, {"checks", std::move(list)}};
}

Table table_of_findings(const Json& findings) {
  constexpr const char* kCounted[3] = {"good", "warn", "bad"};
  std::size_t counts[3] = {};
  Table table{Json::array(), {"check", "verdict", "found"}, ""};
  for (const Json& each : member(findings, "checks")) {
    table.rows.push_back(each);
    if (!member(each, "mend").is_null()) table.rows.push_back({{kGoesOn, true}, {"found", "-> " + text(each, "mend")}});
    for (std::size_t i = 0; i < 3; ++i)
      counts[i] += text(each, "verdict") == kCounted[i] ? 1 : 0;
  }
  table.after = fmt::format("\n{} good, {} warn, {} bad\n", counts[0], counts[1], counts[2]);
  return table;
}

namespace {

template <class Value>
Json maybe(const std::optional<Value>& value) {
  return value ? Json(*value) : Json();
}
Json maybe(const std::string& value) { return value.empty() ? Json() : Json(value); }

Json json_of(const host::Interface& interface) {
  Json json{{"name", interface.name}, {"mac", interface.mac}, {"link", interface.state}, {"up", interface.is_up}};
  json["speed_mbit"] = interface.speed_mbit > 0 ? Json(interface.speed_mbit) : Json();
  return json;
}

Json json_of(const host::Machine& machine, const host::PciFunction& function) {
  Json json{{"address", function.address.text()},
            {"id", fmt::format("{:04x}:{:04x}", function.vendor, function.device)},
            {"class", host::class_name(function.class_code)},
            {"name", host::device_name(machine, function)},
            {"driver", maybe(function.driver)},
            {"driver_override", maybe(function.driver_override)},
            {"group", maybe(function.group)},
            {"numa_node", maybe(function.numa_node)},
            {"vfs", function.vfs},
            {"max_vfs", function.max_vfs},
            {"vf_index", maybe(function.vf_index)}};
  json["physical_function"] = function.physical ? Json(function.physical->text()) : Json();
  json["pcie"] =
      function.link_width == 0 ? Json() : Json(fmt::format("{} x{}", function.link_speed, function.link_width));
  json["interfaces"] = Json::array();
  for (const host::Interface& interface : function.interfaces)
    json["interfaces"].push_back(json_of(interface));
  return json;
}

std::string link_text(const Json& interface) {
  if (!member(interface, "speed_mbit").is_null())
    return fmt::format("{} {}M", text(interface, "link"), text(interface, "speed_mbit"));
  return text(interface, "link");
}

}  // namespace

Json json_of(const host::Machine& machine, const std::vector<host::PciFunction>& functions) {
  Json list = Json::array();
  for (const host::PciFunction& function : functions)
    list.push_back(json_of(machine, function));
  return list;
}

Table table_of_functions(const Json& functions) {
  Json rows = Json::array();
  for (const Json& function : functions) {
    Json row = function;
    if (!member(function, "physical_function").is_null()) {
      row["vfs"] = fmt::format("VF {} of {}", text(function, "vf_index"), text(function, "physical_function"));
    } else if (member(function, "max_vfs") == 0) {
      row["vfs"] = Json();
    } else {
      row["vfs"] = fmt::format("{}/{}", text(function, "vfs"), text(function, "max_vfs"));
    }
    row["numa"] = member(function, "numa_node");
    const Json& interfaces = member(function, "interfaces");
    for (const Json& interface : interfaces) {
      row["interface"] = interfaces.size() > 1 && row.contains("interface")
                             ? text(row, "interface") + "," + text(interface, "name")
                             : text(interface, "name");
      row["link"] = link_text(interface);
    }
    rows.push_back(std::move(row));
  }
  return {rows, {"address", "id", "driver", "group", "numa", "vfs", "interface", "link", "name"}, ""};
}

Json json_of(const host::Report& report) {
  return {{"dry_run", report.is_rehearsal},
          {"changed", !report.is_rehearsal && !report.actions.empty()},
          {"done", report.actions},
          {"notes", report.notes}};
}

std::string print_report(const Json& report) {
  std::string out;
  const Json& done = member(report, "done");
  if (done.empty()) out += "nothing to do: everything is so already\n";
  if (!done.empty() && member(report, "dry_run") == true) out += "# nothing was changed; this would be done:\n";
  for (const Json& deed : done)
    out += text(deed) + '\n';
  for (const Json& note : member(report, "notes"))
    out += fmt::format("# {}\n", text(note));
  return out;
}

}  // namespace vmux::app

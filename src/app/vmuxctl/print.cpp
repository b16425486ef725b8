// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/print.hpp"

#include "app/vmuxctl/table.hpp"
#include "base/text/format.hpp"
#include "control/version.hpp"

namespace vmux::app {
namespace {

using control::Json;

std::string vlan_text(const Json& object) {
  if (const Json& vlan = member(object, "vlan"); !vlan.is_null()) return "access " + text(vlan);
  if (const Json& services = member(object, "qinq"); !services.is_null()) return "qinq " + text(services);
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
    if (item.key() == "drop_mirror_full") continue;  // copies: no frame of the port was lost
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
      row[kGoesOn] = true;
      flat.push_back(std::move(row));
    }
  }
  return flat;
}

Json with_pollers(const Json& list) {
  return with(list, "poller", [](const Json& object) { return list_text(member(object, "pollers")); });
}

}  // namespace

std::string print_port(const Json& port) { return lines_of(port); }

Table table_of_ports(const Json& ports) {
  return {
      with_pollers(with(ports, "vlans", vlan_text)),
      {"name", "model", "transport", "switch", "mac", "vlans", "doorbell", "poller", "connected", "ready", "socket"}};
}

std::string print_stats(const Json& stats) {
  if (stats.size() != 1) return render(table_of_stats(stats));
  Json one = stats.front();
  const Json lanes = flatten(Json::array({{{"name", "all"}, {"counters", one["counters"]}, {"lanes", one["lanes"]}}}));
  one.erase("lanes");
  if (lanes.size() == 1) return lines_of(one);
  return lines_of(one) + '\n' + render({lanes, {"name", "rx_frames", "rx_bytes", "tx_frames", "tx_bytes", "drops"}});
}

Table table_of_stats(const Json& stats) {
  return {flatten(stats), {"name", "connected", "rx_frames", "rx_bytes", "tx_frames", "tx_bytes", "drops"}};
}

std::string print_switch(const Json& found) {
  const Json ports = with(flatten(member(found, "ports")), "vlans", vlan_text);
  return fmt::format("switch {}, addresses are kept {} s\n\n{}\n{}", text(found, "name"), text(found, "mac_age_s"),
                     render({ports, {"name", "kind", "vlans", "rx_frames", "tx_frames", "drops"}}),
                     render({member(found, "mac_table"), {"mac", "vlan", "port", "age_s"}}));
}

std::string print_switch_added(const Json& added) { return lines_of(added); }

Table table_of_switches(const Json& switches) { return {switches, {"name", "ports", "uplinks", "rules", "mac_age_s"}}; }

std::string print_uplink(const Json& uplink) {
  Json one = uplink;
  one.erase("lanes");
  return lines_of(one);
}

std::string print_rule(const Json& rule) { return lines_of(rule); }

// What it matches and does, as it was written: each rule has other fields.
Table table_of_rules(const Json& rules) {
  static constexpr std::array kMatches{"src_mac",  "dst_mac",  "ethertype", "vlan", "src_ip", "dst_ip",
                                       "protocol", "src_port", "dst_port",  "dscp", "mark"};
  static constexpr std::array kActions{"redirect", "mirror", "set_mark", "set_vlan", "set_dscp"};
  const auto words = [](const Json& rule, const auto& keys) {
    std::string out;
    for (const char* const key : keys) {
      if (!member(rule, key).is_null()) out += fmt::format("{}{}={}", out.empty() ? "" : " ", key, text(rule, key));
    }
    return out;
  };
  Json rows = with(rules, "match", [&words](const Json& rule) { return words(rule, kMatches); });
  rows = with(rows, "does", [&words](const Json& rule) {
    const std::string more = words(rule, kActions);
    return text(rule, "action") + (more.empty() ? "" : " " + more);
  });
  rows = with(rows, "of", [](const Json& rule) { return text(rule, "port"); });
  return {rows, {"name", "switch", "of", "direction", "priority", "match", "does", "frames", "bytes"}};
}

std::string print_rules_flushed(const Json& flushed) {
  return fmt::format("{}: {} rules removed\n", text(flushed, "switch"), text(flushed, "flushed"));
}

Table table_of_uplinks(const Json& uplinks) {
  return {
      flatten(with_pollers(with(uplinks, "vlans", vlan_text))),
      {"name", "switch", "backend", "device", "queues", "poller", "vlans", "ready", "rx_frames", "tx_frames", "drops"}};
}

std::string print_changed(const Json& object) {
  return fmt::format("{}: {} changed\n", text(object, "name"), text(object, "changed"));
}

std::string print_schema(const Json& schema) {
  std::string out;
  for (const Json& method : member(schema, "methods")) {
    out += fmt::format("{} ({}): {}\n", text(method, "name"), text(method, "role"), text(method, "summary"));
    const Json& params = member(method, "params");
    for (const auto& item : member(params, "properties").items())
      out += fmt::format("    {}: {}\n", text(Json(item.key())), text(item.value(), "description"));
  }
  return out;
}

std::string print_reload(const Json& report) {
  std::string out;
  for (const Json& step : member(report, "calls")) {
    const Json& params = member(step, "params");
    out += fmt::format("{} {}", text(step, "method"), text(params, "name"));
    for (const auto& item : params.items()) {
      if (item.key() != "name")
        out += fmt::format(" {}={}", text(Json(item.key())), item.value().is_null() ? "" : text(item.value()));
    }
    out += '\n';
  }
  for (const Json& kept : member(report, "kept"))
    out += text(kept) + '\n';
  for (const Json& failed : member(report, "failed"))
    out += fmt::format("failed: {}\n", text(failed));
  if (const Json& keys = member(report, "takes_restart"); !keys.empty())
    out += fmt::format("takes a restart: {}\n", list_text(keys));
  return out + fmt::format("{} removed, {} added, {} changed, {} unchanged\n", text(report, "removed"),
                           text(report, "added"), text(report, "changed"), text(report, "unchanged"));
}

std::string print_flushed(const Json& flushed) {
  return fmt::format("{}: {} forgotten\n", text(flushed, "name"), text(flushed, "flushed"));
}

std::string print_removed(const Json& removed) {
  if (member(removed, "removed").is_null()) return "nothing to remove\n";
  return fmt::format("removed {}\n", text(removed, "removed"));
}

std::string print_state_saved(const Json& saved) {
  return fmt::format("{}: {} bytes of state are in {}\n", text(saved, "name"), text(saved, "bytes"),
                     text(saved, "file"));
}

std::string print_restored(const Json& restored) {
  return fmt::format("{}: has the state of {}, and is stopped until its client lets it run\n", text(restored, "name"),
                     text(restored, "file"));
}

std::string print_vm_args(const Json& args) {
  std::string out;
  for (const Json& note : member(args, "notes"))
    out += fmt::format("# {}\n", text(note));
  for (const Json& line : member(args, "lines"))
    out += text(line) + '\n';
  return out;
}

Table table_of_pollers(const Json& pollers) {
  return {pollers,
          {"poller", "cpu", "ports", "rounds", "busy_rounds", "events", "messages", "sleeps", "work", "keeps_awake"}};
}

Table table_of_models(const Json& models) {
  return {models, {"model", "mode", "built", "transports", "doorbell", "variants", "description"}};
}

Table table_of_backends(const Json& backends) { return {backends, {"backend", "built", "description"}}; }

Table table_of_counters(const Json& counters) { return {counters, {"of", "name", "unit", "meaning"}}; }

Table table_of_captures(const Json& captures) {
  return {captures, {"capture", "name", "kind", "uid", "direction", "snaplen", "frames", "missed", "end", "why"}, ""};
}

std::string print_capture(const Json& capture) {
  return fmt::format("capture {} of {}: {} frames, {} missed: {}\n", text(capture, "capture"), text(capture, "name"),
                     text(capture, "frames"), text(capture, "missed"), text(capture, "why"));
}

std::string print_events(const Json& events) {
  std::string out;
  if (const Json& lost = member(events, "lost"); lost.is_number() && lost != 0)
    out += fmt::format("({} older ones are lost)\n", text(lost));
  for (const Json& event : member(events, "events")) {
    const Json& name = member(event, "name");
    const Json& number = member(event, "number");
    const Json& detail = member(event, "detail");
    out += fmt::format("{} {} {}{}{}{}{}\n", text(event, "sequence"), text(event, "time"), text(event, "kind"),
                       name.is_null() ? "" : " " + text(name), " " + text(event, "event"),
                       detail.is_null() ? "" : " " + text(detail), number.is_null() ? "" : " (" + text(number) + ")");
  }
  return out;
}

std::string print_log_level(const Json& level) {
  std::string out = text(level, "level") + '\n';
  if (const Json& own = member(level, "components"); own.is_object()) {
    for (const auto& item : own.items())
      out += fmt::format("{} {}\n", text(Json(item.key())), text(item.value()));
  }
  return out;
}

std::string print_keeper(const Json& status) {
  std::string out = fmt::format("keeper {}, daemon {}", text(status, "keeper"), text(status, "active"));
  if (const Json standby = member(status, "standby"); standby.is_number() && standby != 0) {
    out += fmt::format(", standby {}", text(status, "standby"));
  }
  out += fmt::format("\n{} take-overs", text(status, "takeovers"));
  if (const Json last = member(status, "last"); last.is_object()) {
    out += fmt::format(", the last one by {} after {} us: {}", text(last, "pid"), text(last, "gap_us"),
                       text(last, "cause"));
  }
  if (member(status, "upgrade").is_string()) out += fmt::format("\nlast upgrade: {}", text(status, "upgrade"));
  return out + '\n';
}

std::string print_drill(const Json& result) {
  return fmt::format("process {} is killed; `vmuxctl keeper status` tells who took over\n", text(result, "pid"));
}

std::string print_rehearsal(const Json& result) { return text(result, "would") + '\n'; }

std::string print_version(const Json& version) {
  std::string out = fmt::format("vmuxctl {}\nvmux {} build {} (process {})\n", control::build(),
                                text(version, "version"), text(version, "build"), text(version, "pid"));
  for (const Json& process : member(version, "processes")) {
    out += fmt::format("{} {} (process {})\n", text(process, "role"), text(process, "version"), text(process, "pid"));
  }
  return out;
}

}  // namespace vmux::app

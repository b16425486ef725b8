// SPDX-License-Identifier: BSD-3-Clause
// Virtual functions, huge pages, interrupts and whole descriptions.

#include <algorithm>

#include "app/vmuxctl/host/print.hpp"
#include "app/vmuxctl/table.hpp"
#include "base/text/format.hpp"

namespace vmux::app {

using control::Json;

namespace {

constexpr const char* kLinkNames[] = {"auto", "enable", "disable"};

template <class Value>
Json maybe(const std::optional<Value>& value) {
  return value ? Json(*value) : Json();
}
Json maybe(const std::string& value) { return value.empty() ? Json() : Json(value); }

void put_settings(Json& json, const host::VfSettings& settings) {
  json["mac"] = maybe(settings.mac);
  json["vlan"] = maybe(settings.vlan);
  json["qos"] = maybe(settings.qos);
  json["trust"] = maybe(settings.is_trusted);
  json["spoofchk"] = maybe(settings.checks_spoofing);
  json["link"] = settings.link ? Json(kLinkNames[static_cast<unsigned>(*settings.link)]) : Json();
}

/// Keys that are not given are left out of a description.
void drop_nulls(Json& json) {
  for (auto item = json.begin(); item != json.end();)
    item = item->is_null() ? json.erase(item) : std::next(item);
}

Json json_of_nic(const host::NicEntry& nic) {
  Json json{{"device", nic.device}, {"driver", maybe(nic.driver)}, {"vfs", maybe(nic.vfs)}};
  json["irq_cpus"] = nic.irq_cpus.empty() ? Json() : Json(host::to_text(nic.irq_cpus));
  for (const auto& [index, entry] : nic.entries) {
    Json vf{{"index", index}, {"driver", maybe(entry.driver)}};
    put_settings(vf, entry.settings);
    drop_nulls(vf);
    json["vf"].push_back(std::move(vf));
  }
  drop_nulls(json);
  return json;
}

}  // namespace

Json json_of(const host::Machine& machine, const host::PciFunction& physical,
             const std::vector<host::VfSettings>& settings) {
  Json list = Json::array();
  const std::vector<host::PciAddress> places = host::virtual_functions(machine, physical.address);
  for (std::size_t index = 0; index < places.size(); ++index) {
    const auto function = host::function_at(machine, places[index]);
    if (!function) continue;
    Json vf{{"vf", index},
            {"address", places[index].text()},
            {"driver", maybe(function->driver)},
            {"group", maybe(function->group)}};
    put_settings(vf, index < settings.size() ? settings[index] : host::VfSettings{});
    list.push_back(std::move(vf));
  }
  return list;
}

Json json_of(const host::Machine& machine, const std::vector<host::HugepagesInfo>& pages) {
  Json list = Json::array();
  const std::vector<host::HugepageMount> mounts = host::hugepage_mounts(machine);
  for (const host::HugepagesInfo& each : pages) {
    list.push_back({{"node", maybe(each.node)},
                    {"size", host::size_text(each.size_kib)},
                    {"total", each.total},
                    {"free", each.free},
                    {"surplus", each.surplus}});
    const auto mount = std::find_if(mounts.begin(), mounts.end(),
                                    [&](const host::HugepageMount& one) { return one.size_kib == each.size_kib; });
    list.back()["mounted_at"] = mount == mounts.end() ? Json() : Json(mount->path);
  }
  return list;
}

Json json_of(const std::vector<host::IrqInfo>& irqs) {
  Json list = Json::array();
  for (const host::IrqInfo& each : irqs)
    list.push_back(
        {{"irq", each.irq}, {"name", maybe(each.name)}, {"cpus", each.cpus}, {"effective", maybe(each.effective)}});
  return list;
}

Table table_of_vfs(const Json& vfs) {
  return {vfs, {"vf", "address", "driver", "group", "mac", "vlan", "qos", "trust", "spoofchk", "link"}, ""};
}

Table table_of_hugepages(const Json& pages) {
  return {pages, {"node", "size", "total", "free", "surplus", "mounted_at"}, ""};
}

Table table_of_irqs(const Json& irqs) { return {irqs, {"irq", "name", "cpus", "effective"}, ""}; }

Json json_of(const host::Description& description) {
  Json json{{"toml", host::to_toml(description)},
            {"yaml", host::to_yaml(description)},
            {"hugepages", Json::array()},
            {"nic", Json::array()}};
  for (const host::HugepagesRequest& each : description.hugepages) {
    Json pages{{"count", each.count}, {"node", maybe(each.node)}};
    pages["size"] = each.size_kib ? Json(host::size_text(*each.size_kib)) : Json();
    if (each.mounts) pages["mount"] = true;
    drop_nulls(pages);
    json["hugepages"].push_back(std::move(pages));
  }
  for (const host::NicEntry& nic : description.nics)
    json["nic"].push_back(json_of_nic(nic));
  if (description.isolated) json["cpus"]["isolated"] = host::to_text(*description.isolated);
  return json;
}

/// A file, as it is.
std::string print_saved(const Json& saved) {
  return member(saved, saved["format"].get<std::string>().c_str()).get<std::string>();
}

}  // namespace vmux::app

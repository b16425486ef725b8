// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/methods.hpp"

#include <unistd.h>

#include <array>
#include <span>
#include <utility>

#include "base/format.hpp"
#include "control/model/vm_args.hpp"
#include "control/version.hpp"

namespace vmux::control {
namespace {

using Handle = Outcome<Json> (*)(Controller&, const Json&);

Outcome<Json> after(Outcome<> done, Json result) {
  if (!done) return tl::unexpected<Problem>(done.error());
  return result;
}

Outcome<> nothing(const Json& object) {
  Params params{object};
  return params.finish();
}

/// Adds it, unless it is there as it is asked for and may be.
template <class Spec>
Outcome<> add_or_have(Controller& controller, const Spec& spec, bool may_exist) {
  auto added = controller.add(spec);
  const bool is_there = !added && added.error().kind == ProblemKind::already_exists && added.error().field == "name";
  if (!is_there || !may_exist) return added;
  const auto differences = controller.inventory().differences(spec);
  if (!differences) {  // not_found: something of another kind has the name
    return differences.error().kind == ProblemKind::not_found ? added : tl::unexpected<Problem>(differences.error());
  }
  if (differences->empty()) return {};
  return refuse(ProblemKind::already_exists, "name",
                fmt::format("{} is there with other settings: {}", spec.name, fmt::join(*differences, "; ")));
}

using Remove = Outcome<> (Controller::*)(const std::string&);

/// {"removed": NAME}, or null where there was none and need not be one.
Outcome<Json> removed(Controller& controller, const Json& params, Remove remove) {
  bool if_exists = false;
  const auto name = name_only(params, if_exists);
  if (!name) return tl::unexpected<Problem>(name.error());
  auto done = (controller.*remove)(*name);
  if (!done && if_exists && done.error().kind == ProblemKind::not_found) return Json{{"removed", nullptr}};
  return after(std::move(done), Json{{"removed", *name}});
}

// --- shapes ---

/// Sums over lanes; null: nothing of it passes through a switch.
Json of_counters(std::span<const Controller::LaneState> lanes) {
  if (lanes.empty()) return {};
  Json object = Json::object();
  for (const port::CounterRow& row : port::kPortCounters) {
    std::uint64_t sum = 0;
    for (const Controller::LaneState& lane : lanes)
      sum += row.of(*lane.counters).get();
    object[row.name] = sum;
  }
  return object;
}

Json of_lanes(const std::vector<Controller::LaneState>& lanes) {
  Json list = Json::array();
  for (const Controller::LaneState& lane : lanes)
    list.push_back(Json{{"poller", lane.poller ? Json(*lane.poller) : Json()}, {"counters", of_counters({&lane, 1})}});
  return list;
}

/// Those that move its frames, its home first.
Json of_pollers(const std::vector<Controller::LaneState>& lanes) {
  Json list = Json::array();
  for (const Controller::LaneState& lane : lanes) {
    if (lane.poller) list.push_back(*lane.poller);
  }
  return list;
}

Json of_report(const CounterReport& report) {
  Json object = Json::object();
  for (const auto& [counter, value] : report)
    object[counter] = value;
  return object;
}

Json of_port(const Controller& controller, const PortSpec& spec) {
  Json object = to_json(spec);
  const auto state = controller.port_state(spec.name);
  object["pollers"] = of_pollers(controller.lanes(spec.name));
  object["connected"] = state.is_connected;
  object["ready"] = state.is_ready;
  return object;
}

Json of_port_stats(const Controller& controller, const std::string& name) {
  const auto state = controller.port_state(name);
  const auto lanes = controller.lanes(name);
  return Json{{"name", name},
              {"connected", state.is_connected},
              {"counters", of_counters(lanes)},
              {"lanes", of_lanes(lanes)},
              {"model", of_report(state.model)},
              {"client", of_report(state.client)}};
}

Json of_uplink(const Controller& controller, const UplinkSpec& spec) {
  Json object = to_json(spec);
  object["ready"] = controller.uplink_is_ready(spec.name);
  const auto lanes = controller.lanes(spec.name);
  object["pollers"] = of_pollers(lanes);
  object["counters"] = of_counters(lanes);
  object["lanes"] = of_lanes(lanes);
  return object;
}

Json of_switch(const Controller& controller, const SwitchSpec& spec) {
  const auto count = [&spec](const auto& list) {
    return std::count_if(list.begin(), list.end(), [&spec](const auto& one) { return one.switch_name == spec.name; });
  };
  Json object = to_json(spec);
  object["ports"] = count(controller.inventory().ports());
  object["uplinks"] = count(controller.inventory().uplinks());
  return object;
}

// --- switch.* ---

Outcome<Json> switch_add(Controller& controller, const Json& params) {
  bool may_exist = false;
  const auto spec = switch_spec(params, may_exist);
  if (!spec) return tl::unexpected<Problem>(spec.error());
  if (auto added = add_or_have(controller, *spec, may_exist); !added) return tl::unexpected<Problem>(added.error());
  return of_switch(controller, *spec);
}

Outcome<Json> switch_remove(Controller& controller, const Json& params) {
  return removed(controller, params, &Controller::remove_switch);
}

Outcome<Json> switch_list(Controller& controller, const Json& params) {
  Json list = Json::array();
  for (const SwitchSpec& spec : controller.inventory().switches())
    list.push_back(of_switch(controller, spec));
  return after(nothing(params), std::move(list));
}

Outcome<Json> switch_show(Controller& controller, const Json& params) {
  const auto name = name_only(params);
  if (!name) return tl::unexpected<Problem>(name.error());
  const SwitchSpec* const spec = controller.inventory().find_switch(*name);
  if (spec == nullptr) return refuse(ProblemKind::not_found, "name", fmt::format("there is no switch named {}", *name));
  Json members = Json::array();
  const auto add = [&](const auto& one, const char* kind) {
    if (one.switch_name != *name) return;
    Json member{{"name", one.name}, {"kind", kind}};
    add_vlan(member, one.vlan);
    member["counters"] = of_counters(controller.lanes(one.name));
    members.push_back(std::move(member));
  };
  for (const PortSpec& port : controller.inventory().ports())
    add(port, "port");
  for (const UplinkSpec& uplink : controller.inventory().uplinks())
    add(uplink, "uplink");
  Json table = Json::array();
  for (const switching::MacEntry& entry : controller.mac_table(*name)) {
    table.push_back(Json{{"mac", to_text(MacAddress{entry.mac})},
                         {"vlan", entry.vlan},
                         {"port", entry.port_name},
                         {"age_s", entry.age_ms / 1000}});
  }
  Json object = to_json(*spec);
  object["ports"] = std::move(members);
  object["mac_table"] = std::move(table);
  return object;
}

// --- port.* ---

Outcome<Json> port_add(Controller& controller, const Json& params) {
  bool may_exist = false;
  const auto spec = port_spec(params, may_exist);
  if (!spec) return tl::unexpected<Problem>(spec.error());
  if (auto added = add_or_have(controller, *spec, may_exist); !added) return tl::unexpected<Problem>(added.error());
  return of_port(controller, *controller.inventory().find_port(spec->name));
}

Outcome<Json> port_remove(Controller& controller, const Json& params) {
  return removed(controller, params, &Controller::remove_port);
}

Outcome<Json> port_list(Controller& controller, const Json& params) {
  Json list = Json::array();
  for (const PortSpec& spec : controller.inventory().ports())
    list.push_back(of_port(controller, spec));
  return after(nothing(params), std::move(list));
}

Outcome<const PortSpec*> find_port(const Controller& controller, const std::string& name) {
  const PortSpec* const spec = controller.inventory().find_port(name);
  if (spec == nullptr) return refuse(ProblemKind::not_found, "name", fmt::format("there is no port named {}", name));
  return spec;
}

Outcome<Json> port_show(Controller& controller, const Json& params) {
  const auto name = name_only(params);
  if (!name) return tl::unexpected<Problem>(name.error());
  const auto spec = find_port(controller, *name);
  if (!spec) return tl::unexpected<Problem>(spec.error());
  return of_port(controller, **spec);
}

Outcome<Json> port_stats(Controller& controller, const Json& object) {
  Params params{object};
  const auto name = params.name("name");
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  Json list = Json::array();
  if (name) {
    const auto spec = find_port(controller, *name);
    if (!spec) return tl::unexpected<Problem>(spec.error());
    list.push_back(of_port_stats(controller, *name));
    return list;
  }
  for (const PortSpec& spec : controller.inventory().ports())
    list.push_back(of_port_stats(controller, spec.name));
  return list;
}

Outcome<Json> port_vm_args(Controller& controller, const Json& object) {
  constexpr unsigned kDefaultMemoryMb = 1024;
  Params params{object};
  const std::string name = params.required_name("name");
  const std::string vmm = params.text("vmm").value_or("qemu");
  const auto memory = params.number("memory_mb", 16, 16u << 20).value_or(kDefaultMemoryMb);
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  const auto spec = find_port(controller, name);
  if (!spec) return tl::unexpected<Problem>(spec.error());
  const auto args = vm_args(vmm, *(*spec)->transport, (*spec)->socket, static_cast<unsigned>(memory));
  if (!args) return tl::unexpected<Problem>(args.error());
  return Json{{"name", name}, {"vmm", vmm}, {"lines", args->lines}, {"notes", args->notes}};
}

// --- uplink.* ---

Outcome<Json> uplink_add(Controller& controller, const Json& params) {
  bool may_exist = false;
  const auto spec = uplink_spec(params, may_exist);
  if (!spec) return tl::unexpected<Problem>(spec.error());
  if (auto added = add_or_have(controller, *spec, may_exist); !added) return tl::unexpected<Problem>(added.error());
  return of_uplink(controller, *controller.inventory().find_uplink(spec->name));
}

Outcome<Json> uplink_remove(Controller& controller, const Json& params) {
  return removed(controller, params, &Controller::remove_uplink);
}

Outcome<Json> uplink_list(Controller& controller, const Json& params) {
  Json list = Json::array();
  for (const UplinkSpec& spec : controller.inventory().uplinks())
    list.push_back(of_uplink(controller, spec));
  return after(nothing(params), std::move(list));
}

// --- the rest ---

Outcome<Json> poller_list(Controller& controller, const Json& params) {
  Json list = Json::array();
  const auto& cpus = controller.daemon().pollers.cpus;
  for (std::size_t i = 0; i < controller.pollers().size(); ++i) {
    const auto stats = controller.pollers()[i]->stats();
    const auto& ports = controller.inventory().ports();
    Json object{{"poller", i}, {"cpu", cpus.empty() ? Json() : Json(cpus[i])}};
    object["ports"] = std::count_if(ports.begin(), ports.end(), [i](const PortSpec& port) { return port.poller == i; });
    object["rounds"] = stats.rounds;
    object["busy_rounds"] = stats.busy_rounds;
    object["events"] = stats.events;
    object["messages"] = stats.messages;
    object["sleeps"] = stats.sleeps;
    object["work"] = stats.work;
    object["keeps_awake"] = stats.keeps_awake;
    list.push_back(std::move(object));
  }
  return after(nothing(params), std::move(list));
}

Outcome<Json> model_list(Controller& controller, const Json& params) {
  Json list = Json::array();
  for (const ModelEntry& entry : controller.catalogue().models) {
    list.push_back(Json{{"model", entry.name},
                        {"mode", entry.mode},
                        {"description", entry.description},
                        {"max_queues", entry.max_queues},
                        {"doorbell", to_text(entry.doorbell)},
                        {"variants", std::vector<std::string>(entry.variants.begin(), entry.variants.end())},
                        {"transports", std::vector<std::string>(entry.transports.begin(), entry.transports.end())},
                        {"built", entry.make != nullptr}});
  }
  return after(nothing(params), std::move(list));
}

Outcome<Json> backend_list(Controller& controller, const Json& params) {
  Json list = Json::array();
  for (const BackendEntry& entry : controller.catalogue().backends) {
    list.push_back(Json{{"backend", entry.name}, {"description", entry.description}, {"built", entry.make != nullptr}});
  }
  return after(nothing(params), std::move(list));
}

Outcome<Json> version_of(Controller&, const Json& params) {
  return after(nothing(params), Json{{"name", "vmux"}, {"version", version()}, {"pid", ::getpid()}});
}

Outcome<Json> log_level(Controller& controller, const Json& object) {
  Params params{object};
  const auto level = params.log_level("level");
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  if (level) controller.set_log_level(*level);
  return Json{{"level", to_text(controller.daemon().log_level)}};
}

struct Method {
  const char* name;
  Handle handle;
  Access access;
};

constexpr auto kMethods = std::to_array<Method>({
    {"version", version_of, {Role::read}},
    {"log.level", log_level, {Role::read, Role::admin}},
    {"model.list", model_list, {Role::read}},
    {"backend.list", backend_list, {Role::read}},
    {"poller.list", poller_list, {Role::read}},
    {"port.add", port_add, {Role::operate}},
    {"port.remove", port_remove, {Role::operate}},
    {"port.list", port_list, {Role::read}},
    {"port.show", port_show, {Role::read}},
    {"port.stats", port_stats, {Role::read}},
    {"port.vm_args", port_vm_args, {Role::read}},
    {"switch.add", switch_add, {Role::operate}},
    {"switch.remove", switch_remove, {Role::operate}},
    {"switch.list", switch_list, {Role::read}},
    {"switch.show", switch_show, {Role::read}},
    {"uplink.add", uplink_add, {Role::admin}},
    {"uplink.remove", uplink_remove, {Role::admin}},
    {"uplink.list", uplink_list, {Role::read}},
});

}  // namespace

void add_methods(Methods& methods, Controller& controller) {
  for (const Method& method : kMethods) {
    methods.add(
        method.name, [&controller, handle = method.handle](const Json& params) { return handle(controller, params); },
        method.access);
  }
  methods.add("rpc.methods", [&methods](const Json& params) { return after(nothing(params), Json(methods.names())); },
              {Role::read});
}

}  // namespace vmux::control

// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/methods.hpp"

#include <unistd.h>

#include <array>
#include <ctime>
#include <span>
#include <utility>

#include "base/build_id.hpp"
#include "base/log_component.hpp"
#include "base/text/format.hpp"
#include "control/log/log_context.hpp"
#include "control/model/spec/kinds.hpp"
#include "control/model/viommu_args.hpp"
#include "control/model/vm_args.hpp"
#include "control/rpc/capture_methods.hpp"
#include "control/rpc/dma_methods.hpp"
#include "control/rpc/doctor_methods.hpp"
#include "control/rpc/keeper_methods.hpp"
#include "control/rpc/methods_batch.hpp"
#include "control/rpc/methods_change.hpp"
#include "control/rpc/methods_schema.hpp"
#include "control/rpc/rule_methods.hpp"
#include "control/rpc/shown.hpp"
#include "control/rpc/state_methods.hpp"
#include "control/rpc/trace_methods.hpp"
#include "control/version.hpp"
#include "runtime/counter_rows.hpp"

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
                fmt::format("{} is there with other settings: {}", spec.name, text_of(*differences)));
}

// --- calls of every kind of object; what is shown of one is shown(), above ---

template <ObjectSpec Spec>
Outcome<Json> add_object(Controller& controller, const Json& params) {
  bool may_exist = false;
  const auto spec = spec_of<Spec>(params, [&](Params& more) { may_exist = more.flag("may_exist").value_or(false); });
  if (!spec) return tl::unexpected<Problem>(spec.error());
  if (auto added = add_or_have(controller, *spec, may_exist); !added) return tl::unexpected<Problem>(added.error());
  return shown(controller, *controller.inventory().find<Spec>(spec->name));
}

/// {"removed": NAME}, or null where there was none and need not be one.
template <ObjectSpec Spec>
Outcome<Json> remove_object(Controller& controller, const Json& object) {
  Params params{object};
  const std::string name = params.required_name("name");
  const bool if_exists = params.flag("if_exists").value_or(false);
  const auto generation = params.number("if_generation", 0, ~0ull);
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  if (auto same = check_generation<Spec>(controller, name, generation); !same) {
    return tl::unexpected<Problem>(same.error());
  }
  auto done = controller.remove<Spec>(name);
  if (!done && if_exists && done.error().kind == ProblemKind::not_found) return Json{{"removed", nullptr}};
  return after(std::move(done), Json{{"removed", name}});
}

template <ObjectSpec Spec>
Outcome<Json> list_objects(Controller& controller, const Json& params) {
  Json list = Json::array();
  for (const Spec& spec : controller.inventory().all<Spec>())
    list.push_back(shown(controller, spec));
  return after(nothing(params), std::move(list));
}

// --- switch.* ---

/// A histogram; of its counts there is one more than of its bounds.
Json of_turns(const switching::TurnReport& turns) {
  Json bounds = Json::array();
  for (std::size_t i = 0; i + 1 < switching::kTurnBuckets; ++i)
    bounds.push_back(switching::turn_bound_ns(i));
  return {{"sampled", switching::kTurnsPerSample},
          {"bounds_ns", bounds},
          {"counts", turns.counts},
          {"sum_ns", turns.sum_ns}};
}

Outcome<Json> switch_show(Controller& controller, const Json& params) {
  const auto name = name_only(params);
  if (!name) return tl::unexpected<Problem>(name.error());
  const SwitchSpec* const spec = controller.inventory().find<SwitchSpec>(*name);
  if (spec == nullptr) return refuse(ProblemKind::not_found, "name", fmt::format("there is no switch named {}", *name));
  Json members = Json::array();
  const auto add = [&](const auto& one, const char* kind) {
    if (one.switch_name != *name) return;
    Json member{{"name", one.name}, {"kind", kind}};
    const Json all = to_json(one);
    for (const char* key : {"vlan", "trunk", "native"}) {
      if (all.contains(key)) member[key] = all[key];
    }
    member["counters"] = of_counters(controller.lanes(one.name));
    members.push_back(std::move(member));
  };
  for (const PortSpec& port : controller.inventory().all<PortSpec>())
    add(port, "port");
  for (const UplinkSpec& uplink : controller.inventory().all<UplinkSpec>())
    add(uplink, "uplink");
  Json table = Json::array();
  for (const switching::MacEntry& entry : controller.mac_table(*name)) {
    table.push_back(Json{{"mac", to_text(entry.mac)},
                         {"vlan", entry.vlan},
                         {"port", entry.port_name},
                         {"age_s", entry.age_ms / 1000},
                         {"static", entry.is_static}});
  }
  Json object = to_json(*spec);
  object["generation"] = controller.generation_of<SwitchSpec>(*name);
  object["ports"] = std::move(members);
  object["mac_table"] = std::move(table);
  object["turns"] = of_turns(controller.turns(*name));
  return object;
}

// --- port.* ---

Outcome<const PortSpec*> find_port(const Controller& controller, const std::string& name) {
  const PortSpec* const spec = controller.inventory().find<PortSpec>(name);
  if (spec == nullptr) return refuse(ProblemKind::not_found, "name", fmt::format("there is no port named {}", name));
  return spec;
}

Outcome<Json> port_show(Controller& controller, const Json& params) {
  const auto name = name_only(params);
  if (!name) return tl::unexpected<Problem>(name.error());
  const auto spec = find_port(controller, *name);
  if (!spec) return tl::unexpected<Problem>(spec.error());
  return shown(controller, **spec);
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
  for (const PortSpec& spec : controller.inventory().all<PortSpec>())
    list.push_back(of_port_stats(controller, spec.name));
  return list;
}

Outcome<Json> port_vm_args(Controller& controller, const Json& object) {
  constexpr unsigned kDefaultMemoryMb = 1024;
  Params params{object};
  const std::string name = params.required_name("name");
  const std::string vmm = params.text("vmm").value_or("qemu");
  const std::string viommu = params.text("viommu").value_or("none");
  const auto memory = params.number("memory_mb", 16, 16u << 20).value_or(kDefaultMemoryMb);
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  const auto spec = find_port(controller, name);
  if (!spec) return tl::unexpected<Problem>(spec.error());
  const PortSpec& port = **spec;
  const ModelEntry& model = *controller.catalogue().model(port.model);
  VmPort for_vm{name,
                *port.transport,
                port.socket,
                port.mac.value_or(MacAddress{}),
                model.queues(port.queues),
                port.connect.value_or(false),
                model.kind == DeviceKind::blk};
  if (const auto serving = controller.port_state(name).serving) {
    if (for_vm.is_disk) for_vm.queues = serving->queues;
    for_vm.ring_size = serving->ring_size;
    for_vm.options = serving->vm_options;
  }
  const auto args = vm_args(vmm, for_vm, static_cast<unsigned>(memory)).and_then([&](VmArgs made) {
    return with_viommu(std::move(made), vmm, for_vm.transport, viommu);
  });
  if (!args) return tl::unexpected<Problem>(args.error());
  return Json{{"name", name}, {"vmm", vmm}, {"lines", args->lines}, {"notes", args->notes}};
}

// --- the rest ---

Outcome<Json> poller_list(Controller& controller, const Json& params) {
  Json list = Json::array();
  const auto& cpus = controller.daemon().pollers.cpus;
  for (std::size_t i = 0; i < controller.pollers().size(); ++i) {
    const auto stats = controller.pollers()[i]->stats();
    const auto& ports = controller.inventory().all<PortSpec>();
    Json object{{"poller", i}, {"cpu", cpus.empty() ? Json() : Json(cpus[i])}};
    object["ports"] = std::count_if(ports.begin(), ports.end(), [i](const PortSpec& port) { return port.poller == i; });
    for (const auto& row : runtime::kPollerCounterRows)
      object[row.text.name] = row.get(stats);
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

/// Of a daemon that has a keeper also the others: an upgrade may have left one of them as it was.
Outcome<Json> version_of(Controller& controller, const Json& params) {
  Json answer{{"name", "vmux"}, {"version", version()}, {"build", build_id()}, {"pid", ::getpid()}};
  const auto status = controller.lifeline() == nullptr ? Outcome<Json>{Json::object()} : status_of_keeper(controller);
  if (status && status->contains("versions")) {
    const Json& versions = (*status)["versions"];
    answer["processes"] = Json::array();
    const auto add = [&](const char* role, const char* pid, const char* program) {
      const Json process = status->value(pid, Json(0));
      if (process == 0) return;
      answer["processes"].push_back(Json{{"role", role}, {"pid", process}, {"version", versions.value(program, "")}});
    };
    add("keeper", "keeper", "keeper");
    add("daemon", "active", "active");
    add("twin", "twin", "active");
    add("standby", "standby", "standby");
  }
  return after(nothing(params), std::move(answer));
}

Outcome<Json> log_level(Controller& controller, const Json& object) {
  Params params{object};
  const auto level = params.log_level("level");
  const auto name = params.text("component");
  const auto component = name ? find_log_component(*name) : std::nullopt;
  if (name && !component) {
    params.reject(ProblemKind::invalid, "component",
                  fmt::format("expected one of {}, got '{}'", fmt::join(kLogComponents, ", "), *name));
  }
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  if (component) set_log_level(*component, level);
  if (level && !component) controller.set_log_level(*level);
  Json own = Json::object();
  for (std::size_t i = 0; i < kLogComponents.size(); ++i) {
    if (const auto its = log_level_of(static_cast<LogComponent>(i)))
      own[std::string{kLogComponents[i]}] = to_text(*its);
  }
  Json result{{"level", to_text(controller.daemon().log_level)}};
  if (!own.empty()) result["components"] = std::move(own);
  return result;
}

Outcome<Json> log_lines(Controller&, const Json& params) {
  return after(nothing(params), Json{{"lines", LogBook::of_process().lines()}});
}

/// What the switch counts of every port, pollers of themselves, and models and transports of their own.
Outcome<Json> counter_list(Controller& controller, const Json& params) {
  Json list = Json::array();
  const auto add = [&list](const std::string& of, DescribeCounters describe) {
    CounterDescriptions all;
    if (describe != nullptr) describe(all);
    for (const CounterDescription& one : all)
      list.push_back(Json{{"of", of},
                          {"name", one.name},
                          {"unit", one.unit},
                          {"meaning", one.help},
                          {"kind", one.kind == CounterKind::now ? "now" : "total"}});
  };
  add("port", [](CounterDescriptions& into) { describe(into, port::kPortCounters); });
  add("poller", [](CounterDescriptions& into) { describe(into, runtime::kPollerCounterRows); });
  for (const ModelEntry& entry : controller.catalogue().models)
    add(fmt::format("model {}", entry.name), entry.describe);
  for (const TransportEntry& entry : controller.catalogue().transports)
    add(fmt::format("transport {}", entry.name), entry.describe);
  return after(nothing(params), std::move(list));
}

// --- events ---

/// "2026-01-31T23:59:59.123456Z"
std::string utc(std::uint64_t ns) {
  const auto seconds = static_cast<std::time_t>(ns / 1'000'000'000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  return fmt::format("{}.{:06}Z", text, ns % 1'000'000'000 / 1000);
}

Json of_event(const Event& event) {
  const EventText& text = text_of(event.type);
  Json object{{"sequence", event.sequence}, {"time", utc(event.time_ns)}, {"event", text.name}, {"kind", event.kind}};
  if (event.name[0] != '\0') object["name"] = event.name.data();
  if (event.detail[0] != '\0') object["detail"] = event.detail.data();
  if (text.number != nullptr) object["number"] = event.number;
  return object;
}

struct EventsParams {
  std::uint64_t since = 0, wait_s = 0;
};
Outcome<EventsParams> events_params(const Json& object) {
  constexpr std::uint64_t kMaxWait = 3600;
  Params params{object};
  EventsParams read;
  read.since = params.number("since", 0, ~0ull).value_or(0);
  read.wait_s = params.number("wait_s", 0, kMaxWait).value_or(0);
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  return read;
}

Outcome<Json> events_of(Controller& controller, const Json& object) {
  constexpr std::size_t kMost = 256;  // in an answer
  const auto params = events_params(object);
  if (!params) return tl::unexpected<Problem>(params.error());
  const EventRing::Slice slice = controller.events().read(params->since, kMost);
  Json list = Json::array();
  for (const Event& event : slice.events)
    list.push_back(of_event(event));
  return Json{{"events", std::move(list)}, {"next", slice.next}, {"lost", slice.lost}};
}

Wait wait_for_events(EventRing& events, const Json& object) {
  const auto params = events_params(object);
  if (!params || events.has_behind(params->since)) return {};
  return {params->wait_s * 1'000'000'000, [&events, since = params->since] {
            events.expect();
            return events.has_behind(since);
          }};
}

struct Method {
  const char* name;
  Handle handle;
  Access access;
};

constexpr auto kMethods = std::to_array<Method>({
    {"version", version_of, {Role::read}},
    {"log.level", log_level, {Role::read, Role::admin}},
    {"log.lines", log_lines, {Role::operate}},
    {"model.list", model_list, {Role::read}},
    {"backend.list", backend_list, {Role::read}},
    {"counter.list", counter_list, {Role::read}},
    {"poller.list", poller_list, {Role::read}},
    {"port.show", port_show, {Role::read}},
    {"port.stats", port_stats, {Role::read}},
    {"port.vm_args", port_vm_args, {Role::read}},
    {"switch.show", switch_show, {Role::read}},
});

}  // namespace

void add_methods(Methods& methods, Controller& controller) {
  const auto add = [&](const std::string& name, Handle handle, Access access) {
    methods.add(
        name, [&controller, handle](const Json& params) { return handle(controller, params); }, access);
  };
  for (const Method& method : kMethods)
    add(method.name, method.handle, method.access);
  for_each_kind([&add]<class Spec>() {
    const std::string name = kind_of<Spec>().name;
    add(name + ".add", add_object<Spec>, access_to_change<Spec>());
    add(name + ".remove", remove_object<Spec>, {kind_of<Spec>().changes});
    add(name + ".list", list_objects<Spec>, {Role::read});
  });
  methods.set_on_caller([&controller](std::optional<std::uint32_t> uid) { controller.asked_by(uid); });
  add_state_methods(methods, controller);
  add_capture_methods(methods, controller);
  add_dma_methods(methods, controller);
  add_doctor_method(methods, controller);
  add_trace_methods(methods, controller);
  add_change_methods(methods, controller);
  add_rule_methods(methods, controller);
  add_batch_method(methods, controller);
  add_schema_method(methods);
  methods.add(
      "events", [&controller](const Json& params) { return events_of(controller, params); }, {Role::read},
      [&controller](const Json& params) { return wait_for_events(controller.events(), params); });
  methods.add("rpc.methods", [&methods](const Json& params) { return after(nothing(params), Json(methods.names())); },
              {Role::read});
}

}  // namespace vmux::control

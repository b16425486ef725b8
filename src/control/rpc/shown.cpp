// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/shown.hpp"

#include <algorithm>

#include "base/text/format.hpp"
#include "control/model/spec/kinds.hpp"

namespace vmux::control {
namespace {

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

/// A destination says whose.
void add_mirrored(Json& object, const Inventory& inventory, const std::string& name) {
  if (const auto sources = inventory.mirrored_to(name); !sources.empty()) object["mirror_of"] = sources;
}

Json of_report(const CounterReport& report) {
  Json object = Json::object();
  for (const auto& [counter, value] : report)
    object[counter] = value;
  return object;
}

}  // namespace

Json of_counters(std::span<const Controller::LaneState> lanes) {
  if (lanes.empty()) return {};
  Json object = Json::object();
  for (const auto& row : port::kPortCounters) {
    std::uint64_t sum = 0;
    for (const Controller::LaneState& lane : lanes)
      sum += row.get(*lane.counters);
    object[row.text.name] = sum;
  }
  return object;
}

Json shown(const Controller& controller, const PortSpec& spec) {
  Json object = to_json(spec);
  add_mirrored(object, controller.inventory(), spec.name);
  const auto state = controller.port_state(spec.name);
  object["pollers"] = of_pollers(controller.lanes(spec.name));
  object["connected"] = state.is_connected;
  object["ready"] = state.is_ready;
  if (state.serving_mode != nullptr) object["serving"] = state.serving_mode;
  if (state.serving) {
    if (!state.serving->reason.empty()) object["serving_reason"] = state.serving->reason;
    object["function_queues"] = state.serving->queues;
    object["function_ring_size"] = state.serving->ring_size;
    object["function_vectors"] = state.serving->vectors;
    object["function_features"] = fmt::format("{:#x}", state.serving->features);
  }
  object["generation"] = controller.generation_of<PortSpec>(spec.name);
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

Json shown(const Controller& controller, const RuleSpec& spec) {
  Json object = to_json(spec);
  const switching::RuleHits hits = controller.rule_hits(spec);
  object["frames"] = hits.frames;
  object["bytes"] = hits.bytes;
  if (const auto missing = controller.inventory().missing_of(spec); !missing.empty()) object["missing"] = missing;
  object["generation"] = controller.generation_of<RuleSpec>(spec.name);
  return object;
}

Json shown(const Controller& controller, const UplinkSpec& spec) {
  Json object = to_json(spec);
  add_mirrored(object, controller.inventory(), spec.name);
  object["ready"] = controller.uplink_is_ready(spec.name);
  object["generation"] = controller.generation_of<UplinkSpec>(spec.name);
  const auto lanes = controller.lanes(spec.name);
  object["pollers"] = of_pollers(lanes);
  object["counters"] = of_counters(lanes);
  object["lanes"] = of_lanes(lanes);
  return object;
}

Json shown(const Controller& controller, const SwitchSpec& spec) {
  const auto count = [&spec](const auto& list) {
    return std::count_if(list.begin(), list.end(), [&spec](const auto& one) { return one.switch_name == spec.name; });
  };
  Json object = to_json(spec);
  object["generation"] = controller.generation_of<SwitchSpec>(spec.name);
  object["ports"] = count(controller.inventory().all<PortSpec>());
  object["uplinks"] = count(controller.inventory().all<UplinkSpec>());
  object["rules"] = count(controller.inventory().all<RuleSpec>());
  return object;
}

}  // namespace vmux::control

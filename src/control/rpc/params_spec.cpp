// SPDX-License-Identifier: BSD-3-Clause
// Parameters to specifications and back: one reader and one writer for each thing that can be added.
#include <limits>

#include "control/rpc/params.hpp"

namespace vmux::control {
namespace {

constexpr unsigned kMaxMacAge = 86'400;  // seconds; IEEE 802.1Q 8.8.3 allows up to 1 000 000
constexpr unsigned kMaxQueues = 256;

std::optional<unsigned> small(std::optional<std::uint64_t> number) {
  if (!number) return std::nullopt;
  return static_cast<unsigned>(*number);
}

// IEEE 802.1Q table 8-1: 01-80-C2-00-00-00 has a parameter of its own, and -01 (pause) never passes.
unsigned group_mask(Params& params, const char* key) {
  const auto mask = small(params.number(key, 0, 0xffff)).value_or(0);
  if ((mask & 3) == 0) return mask;
  params.reject(ProblemKind::invalid, key,
                "expected bits 2 to 15 alone: bit 0 is forward_bpdu, and pause frames (bit 1) never pass");
  return 0;
}

template <class Spec>
Outcome<Spec> finish(Params& params, Spec spec) {
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  return spec;
}

SwitchSpec read_switch(Params& params) {
  SwitchSpec spec;
  spec.name = params.required_name("name");
  spec.mac_age_s = small(params.number("mac_age_s", 1, kMaxMacAge)).value_or(spec.mac_age_s);
  spec.forward_bpdu = params.flag("forward_bpdu").value_or(spec.forward_bpdu);
  spec.group_forward_mask = group_mask(params, "group_forward_mask");
  return spec;
}

UplinkSpec read_uplink(Params& params) {
  UplinkSpec spec;
  spec.name = params.required_name("name");
  spec.switch_name = params.name("switch").value_or(kDefaultSwitch);
  spec.backend = params.required_text("backend");
  spec.device = params.text("device");
  spec.queues = small(params.number("queues", 1, kMaxQueues)).value_or(1);
  spec.vlan = params.vlan();
  spec.poller = small(params.number("poller", 0, kMaxPollers - 1));
  return spec;
}

PortSpec read_port(Params& params) {
  PortSpec spec;
  spec.name = params.required_name("name");
  spec.model = params.required_text("model");
  spec.transport = params.text("transport");
  spec.socket = params.required_text("socket");
  spec.access = params.access(kPortAccess);
  spec.switch_name = params.name("switch").value_or(kDefaultSwitch);
  spec.mac = params.mac("mac");
  spec.vlan = params.vlan();
  spec.doorbell = params.doorbell("doorbell");
  spec.poller = small(params.number("poller", 0, kMaxPollers - 1));
  spec.queues = small(params.number("queues", 1, kMaxQueues));
  spec.device = params.text("device");
  spec.variant = params.text("variant");
  return spec;
}

template <class Spec>
Outcome<Spec> spec_of(const Json& object, Spec (*read)(Params&), bool* may_exist = nullptr) {
  Params params{object};
  Spec spec = read(params);
  if (may_exist != nullptr) *may_exist = params.flag("may_exist").value_or(false);
  return finish(params, std::move(spec));
}

}  // namespace

Outcome<SwitchSpec> switch_spec(const Json& object) { return spec_of(object, &read_switch); }
Outcome<UplinkSpec> uplink_spec(const Json& object) { return spec_of(object, &read_uplink); }
Outcome<PortSpec> port_spec(const Json& object) { return spec_of(object, &read_port); }

Outcome<SwitchSpec> switch_spec(const Json& object, bool& may_exist) {
  return spec_of(object, &read_switch, &may_exist);
}
Outcome<UplinkSpec> uplink_spec(const Json& object, bool& may_exist) {
  return spec_of(object, &read_uplink, &may_exist);
}
Outcome<PortSpec> port_spec(const Json& object, bool& may_exist) { return spec_of(object, &read_port, &may_exist); }

Outcome<std::string> name_only(const Json& object) {
  Params params{object};
  return finish(params, params.required_name("name"));
}

Outcome<std::string> name_only(const Json& object, bool& if_exists) {
  Params params{object};
  std::string name = params.required_name("name");
  if_exists = params.flag("if_exists").value_or(false);
  return finish(params, std::move(name));
}

void add_vlan(Json& object, const VlanSpec& vlan) {
  if (vlan.mode == VlanSpec::Mode::access) object["vlan"] = vlan.native.value_or(0);
  if (vlan.mode != VlanSpec::Mode::trunk) return;
  object["trunk"] = to_text(vlan.allowed);
  if (vlan.native) object["native"] = *vlan.native;
}

void add_access(Json& object, const SocketAccess& access, const AccessKeys& keys) {
  if (access.owner) object[keys.owner] = access.owner->name;
  if (access.group) object[keys.group] = access.group->name;
  if (access.mode) object[keys.mode] = mode_text(*access.mode);
}

Json to_json(const SwitchSpec& spec) {
  return Json{{"name", spec.name},
              {"mac_age_s", spec.mac_age_s},
              {"forward_bpdu", spec.forward_bpdu},
              {"group_forward_mask", spec.group_forward_mask}};
}

Json to_json(const UplinkSpec& spec) {
  Json object{{"name", spec.name}, {"switch", spec.switch_name}, {"backend", spec.backend}};
  if (spec.device) object["device"] = *spec.device;
  object["queues"] = spec.queues;
  add_vlan(object, spec.vlan);
  if (spec.poller) object["poller"] = *spec.poller;
  return object;
}

Json to_json(const PortSpec& spec) {
  Json object{{"name", spec.name}, {"model", spec.model}};
  if (spec.transport) object["transport"] = *spec.transport;
  object["socket"] = spec.socket;
  add_access(object, spec.access, kPortAccess);
  if (!spec.switch_name.empty()) object["switch"] = spec.switch_name;
  if (spec.mac) object["mac"] = to_text(*spec.mac);
  add_vlan(object, spec.vlan);
  if (spec.doorbell) object["doorbell"] = to_text(*spec.doorbell);
  if (spec.queues) object["queues"] = *spec.queues;
  if (spec.device) object["device"] = *spec.device;
  if (spec.variant) object["variant"] = *spec.variant;
  if (spec.poller) object["poller"] = *spec.poller;
  return object;
}

}  // namespace vmux::control

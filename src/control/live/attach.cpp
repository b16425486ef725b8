// SPDX-License-Identifier: BSD-3-Clause
#include "control/live/attach.hpp"

#include "port/frame_length.hpp"

namespace vmux::control {
namespace {

constexpr std::uint32_t kMacsPerVm = 256;
constexpr std::uint32_t kMacsPerUplink = 8192;  // a whole network may stand behind it

switching::PortConfig port_config(const std::string& name, const VlanSpec& vlan, std::uint32_t mac_limit) {
  switching::PortConfig config;
  config.name = name;
  config.mac_limit = mac_limit;
  config.vlan.tag = vlan.access.value_or(vlan.native.value_or(0));
  if (vlan.access) config.vlan.mode = switching::VlanMode::access;
  config.vlan.only_tagged = vlan.trunk && !vlan.native;
  const std::vector<VlanRange> kAll{{1, kMaxVlan}};
  for (const VlanRange range : vlan.trunk.value_or(kAll) == kAll ? std::vector<VlanRange>{} : *vlan.trunk) {
    for (unsigned id = range.first; id <= range.last; ++id) {
      config.vlan.allowed.push_back(static_cast<std::uint16_t>(id));
    }
  }
  return config;
}

}  // namespace

switching::SwitchOptions options_of(const SwitchSpec& spec) {
  switching::SwitchOptions options;
  options.ageing_seconds = spec.mac_age_s;
  options.forwarded_groups = static_cast<std::uint16_t>(spec.group_forward_mask | (spec.forward_bpdu ? 1u : 0u));
  return options;
}

std::uint32_t max_frame_of(const PortSpec& spec) noexcept { return spec.mtu ? port::max_frame_of(*spec.mtu) : 0; }

std::vector<switching::Station> stations_of(const PortSpec& spec) {
  std::vector<switching::Station> stations;
  for (const StaticMac& one : spec.static_macs)
    stations.push_back({one.mac, vlan_of(one, spec.vlan)});
  return stations;
}

std::optional<switching::SourceRules> sources_of(const PortSpec& spec) {
  if (!spec.anti_spoof.value_or(false)) return std::nullopt;
  switching::SourceRules rules{.macs = {*spec.mac}, .addresses = spec.addresses};
  for (const StaticMac& one : spec.static_macs)
    rules.macs.push_back(one.mac);
  return rules;
}

switching::PortConfig port_config(const PortSpec& spec) {
  switching::PortConfig config = port_config(spec.name, spec.vlan, kMacsPerVm);
  config.max_frame = max_frame_of(spec);
  config.stations = stations_of(spec);
  config.limits = limits_of(spec);
  config.sources = sources_of(spec);
  config.isolation = spec.isolation.value_or("");
  return config;
}

switching::PortConfig port_config(const UplinkSpec& spec) {
  switching::PortConfig config = port_config(spec.name, spec.vlan, kMacsPerUplink);
  config.limits = limits_of(spec);
  return config;
}

std::vector<switching::Lane> zip(const std::vector<port::Port*>& ports, const std::vector<runtime::Poller*>& pollers) {
  std::vector<switching::Lane> lanes;
  for (std::size_t i = 0; i < ports.size(); ++i)
    lanes.push_back({*ports[i], *pollers.at(i)});
  return lanes;
}

}  // namespace vmux::control

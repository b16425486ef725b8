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
  config.vlan.translations = vlan.translations;
  config.vlan.services = vlan.services;
  config.vlan.has_service_tags = vlan.service_tags.value_or(false);
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
  config.weight = spec.weight.value_or(1);
  config.filtered_groups = groups_of(spec);
  return config;
}

switching::PortConfig port_config(const UplinkSpec& spec) {
  switching::PortConfig config = port_config(spec.name, spec.vlan, kMacsPerUplink);
  config.limits = limits_of(spec);
  config.filtered_groups = groups_of(spec);
  return config;
}

namespace {

std::array<std::uint8_t, 2> big_endian(unsigned value) {
  return {static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}

/// A version that is 4 or 6: both have the bit of 4 and not that of 1.
constexpr std::uint8_t kAnyIp = 4, kAnyIpMask = 5;

void match_ip(const std::optional<IpPrefix>& prefix, std::array<std::uint8_t, 16> packet::FlowFields::*field,
              switching::RuleMatch& match) {
  if (!prefix) return;
  match.value.*field = prefix->address.bytes;
  for (unsigned bit = 0; bit < prefix->bits; ++bit) {
    std::uint8_t& byte = (match.mask.*field)[bit / 8];
    byte = static_cast<std::uint8_t>(byte | 0x80u >> bit % 8);
  }
  match.value.ip_version = prefix->address.is_v6 ? 6 : 4;
  match.mask.ip_version = 0xff;
}

switching::RuleMatch match_of(const RuleSpec& spec) {
  switching::RuleMatch match;
  if (spec.protocol || spec.dscp) {
    match.value.ip_version = kAnyIp;
    match.mask.ip_version = kAnyIpMask;
  }
  if (spec.src_mac) {
    match.value.source = spec.src_mac->mac;
    match.mask.source = spec.src_mac->mask;
  }
  if (spec.dst_mac) {
    match.value.destination = spec.dst_mac->mac;
    match.mask.destination = spec.dst_mac->mask;
  }
  if (spec.ethertype) {
    match.value.ethertype = big_endian(spec.ethertype->number);
    match.mask.ethertype = {0xff, 0xff};
  }
  if (spec.vlan) {
    match.value.vlan = big_endian(*spec.vlan);
    match.mask.vlan = {0xff, 0xff};
  }
  match_ip(spec.src_ip, &packet::FlowFields::source_ip, match);
  match_ip(spec.dst_ip, &packet::FlowFields::destination_ip, match);
  if (spec.protocol) {
    match.value.protocol = spec.protocol->number;
    match.mask.protocol = 0xff;
  }
  if (spec.dscp) {
    match.value.tos = static_cast<std::uint8_t>(*spec.dscp << 2);
    match.mask.tos = 0xfc;
  }
  match.source_port = spec.src_port;
  match.destination_port = spec.dst_port;
  match.mark = static_cast<std::uint8_t>(spec.mark.value_or(0));
  return match;
}

template <class T>
std::optional<T> narrowed(const std::optional<unsigned>& value) {
  return value ? std::optional{static_cast<T>(*value)} : std::nullopt;
}

}  // namespace

switching::Rule rule_of(const RuleSpec& spec) {
  switching::Rule rule;
  rule.name = spec.name;
  rule.port = spec.port.value_or("");
  rule.way = spec.way;
  rule.priority = spec.priority;
  rule.match = match_of(spec);
  rule.verdict = spec.action == RuleActionWord::drop ? switching::RuleVerdict::drop : switching::RuleVerdict::allow;
  rule.redirect = spec.redirect.value_or("");
  rule.mirror = spec.mirror.value_or("");
  rule.mark = static_cast<std::uint8_t>(spec.set_mark.value_or(0));
  rule.vlan = narrowed<std::uint16_t>(spec.set_vlan);
  rule.dscp = narrowed<std::uint8_t>(spec.set_dscp);
  return rule;
}

std::vector<switching::Lane> zip(const std::vector<port::Port*>& ports, const std::vector<runtime::Poller*>& pollers) {
  std::vector<switching::Lane> lanes;
  for (std::size_t i = 0; i < ports.size(); ++i)
    lanes.push_back({*ports[i], *pollers.at(i)});
  return lanes;
}

}  // namespace vmux::control

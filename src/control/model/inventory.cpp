// SPDX-License-Identifier: BSD-3-Clause
#include "control/model/inventory.hpp"

#include <algorithm>
#include <filesystem>

#include "base/text/format.hpp"
#include "control/rpc/params.hpp"

namespace vmux::control {
namespace {

/// Where a path leads, as far as that can be told without looking.
std::filesystem::path normal(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::absolute(path, ignored).lexically_normal();
}

}  // namespace

Inventory::Inventory(const Catalogue& catalogue, const DaemonSpec& daemon) : catalogue_(catalogue), daemon_(daemon) {
  list<SwitchSpec>().push_back(SwitchSpec{.name = kDefaultSwitch});
}

Outcome<SwitchSpec> Inventory::add(SwitchSpec spec) {
  if (spec.name == kDefaultSwitch && users_of(spec.name).empty() && rules_of(spec.name).empty()) {
    list<SwitchSpec>().front() = spec;
    return spec;
  }
  if (find<SwitchSpec>(spec.name) != nullptr) {
    return refuse(ProblemKind::already_exists, "name", fmt::format("there is a switch named {} already", spec.name));
  }
  list<SwitchSpec>().push_back(spec);
  return spec;
}

Outcome<RuleSpec> Inventory::add(RuleSpec spec) {
  if (find<RuleSpec>(spec.name) != nullptr) {
    return refuse(ProblemKind::already_exists, "name", fmt::format("there is a rule named {} already", spec.name));
  }
  if (auto ok = check_switch_exists(spec.switch_name); !ok) return tl::unexpected(ok.error());
  if (auto ok = check_rule_mirror(spec); !ok) return tl::unexpected(ok.error());
  if (rules_of(spec.switch_name).size() == switching::kMaxRules) {
    return refuse(
        ProblemKind::invalid, "switch",
        fmt::format("switch {} has {} rules already, and may not have more", spec.switch_name, switching::kMaxRules));
  }
  list<RuleSpec>().push_back(spec);
  return spec;
}

Outcome<UplinkSpec> Inventory::add(UplinkSpec spec) {
  if (auto ok = check_name_on_switch(spec.name, spec.switch_name); !ok) return tl::unexpected(ok.error());
  if (auto ok = check_backend(spec); !ok) return tl::unexpected(ok.error());
  for (const UplinkSpec& other : all<UplinkSpec>()) {
    if (!spec.fair_share.value_or(false) || !other.fair_share.value_or(false) || other.switch_name != spec.switch_name)
      continue;
    return refuse(
        ProblemKind::already_exists, "fair_share",
        fmt::format("uplink {} has it on switch {}, which has one such uplink", other.name, other.switch_name));
  }
  if (auto ok = check_mirror({&spec.name, &spec.switch_name, &spec.mirror}); !ok) return tl::unexpected(ok.error());
  if (auto ok = give_poller(spec.poller); !ok) return tl::unexpected(ok.error());
  list<UplinkSpec>().push_back(spec);
  return spec;
}

Outcome<PortSpec> Inventory::add(PortSpec spec) {
  if (auto ok = check_name_on_switch(spec.name, spec.switch_name); !ok) return tl::unexpected(ok.error());
  if (auto ok = check_model(spec); !ok) return tl::unexpected(ok.error());
  if (auto ok = check_socket(spec); !ok) return tl::unexpected(ok.error());
  if (!spec.access.owner) spec.access.owner = daemon_.port_access.owner;
  if (!spec.access.group) spec.access.group = daemon_.port_access.group;
  if (!spec.access.mode) spec.access.mode = daemon_.port_access.mode.value_or(kSocketMode);
  const ModelEntry& model = *catalogue_.model(spec.model);
  if (auto ok = check_past_switch(spec, model); !ok) return tl::unexpected(ok.error());
  if (model.has_port) {
    if (auto ok = give_mac(spec); !ok) return tl::unexpected(ok.error());
    if (!spec.link) spec.link = Link::up;
    if (auto ok = check_static_macs(spec); !ok) return tl::unexpected(ok.error());
    if (!spec.doorbell) spec.doorbell = daemon_.doorbell.value_or(model.doorbell);
  } else if (auto ok = take_off_switch(spec); !ok) {
    return tl::unexpected(ok.error());
  }
  if (auto ok = check_mirror({&spec.name, &spec.switch_name, &spec.mirror}); !ok) return tl::unexpected(ok.error());
  if (model.own_thread == nullptr) {
    if (auto ok = give_poller(spec.poller); !ok) return tl::unexpected(ok.error());
  } else if (spec.poller) {
    return refuse(ProblemKind::invalid, "poller", fmt::format("{} has a thread of its own", model.name));
  }
  list<PortSpec>().push_back(spec);
  return spec;
}

template <ObjectSpec Spec>
Outcome<Spec> Inventory::changed(Spec wanted) const {
  if (find<Spec>(wanted.name) == nullptr) {
    return refuse(ProblemKind::not_found, "name",
                  fmt::format("there is no {} named {}", kind_of<Spec>().name, wanted.name));
  }
  if constexpr (std::is_same_v<Spec, SwitchSpec>) return wanted;
  if constexpr (std::is_same_v<Spec, PortSpec>) {
    if (wanted.switch_name.empty()) wanted.switch_name = kDefaultSwitch;  // of a model without a side on a switch
  }
  Inventory others = *this;
  others.remove<Spec>(wanted.name);
  return others.add(std::move(wanted));
}
template Outcome<SwitchSpec> Inventory::changed(SwitchSpec) const;
template Outcome<RuleSpec> Inventory::changed(RuleSpec) const;
template Outcome<UplinkSpec> Inventory::changed(UplinkSpec) const;
template Outcome<PortSpec> Inventory::changed(PortSpec) const;

Outcome<> Inventory::check_name_on_switch(std::string_view name, std::string_view switch_name) const {
  // Ports and uplinks share one name space: both are "ports" to a switch and to whoever reads its table.
  if (find<PortSpec>(name) != nullptr) {
    return refuse(ProblemKind::already_exists, "name", fmt::format("there is a port named {} already", name));
  }
  if (find<UplinkSpec>(name) != nullptr) {
    return refuse(ProblemKind::already_exists, "name", fmt::format("there is an uplink named {} already", name));
  }
  return check_switch_exists(switch_name);
}

Outcome<> Inventory::check_switch_exists(std::string_view switch_name) const {
  if (find<SwitchSpec>(switch_name) == nullptr) {
    std::vector<std::string_view> names;
    for (const SwitchSpec& one : all<SwitchSpec>())
      names.push_back(one.name);
    return refuse(ProblemKind::not_found, "switch",
                  fmt::format("there is no switch named {}; there are: {}", switch_name, fmt::join(names, ", ")));
  }
  return {};
}

Outcome<> Inventory::check_model(PortSpec& spec) const {
  const ModelEntry* const entry = catalogue_.model(spec.model);
  if (entry == nullptr) {
    return refuse(ProblemKind::invalid, "model",
                  fmt::format("'{}' is not known; known are: {}", spec.model, catalogue_.model_names()));
  }
  if (entry->make == nullptr) {
    return refuse(ProblemKind::not_supported, "model",
                  fmt::format("{} ({}) is not built yet; built are: {}", spec.model, entry->description,
                              catalogue_.built_model_names()));
  }
  if (spec.device && !entry->takes_device) {
    return refuse(ProblemKind::invalid, "device", fmt::format("{} uses no physical device", spec.model));
  }
  if (!spec.device && entry->takes_device) {
    return refuse(ProblemKind::invalid, "device", fmt::format("is missing: {} needs a PCI address", spec.model));
  }
  if (spec.queues.value_or(1) > entry->max_queues) {
    return refuse(ProblemKind::invalid, "queues",
                  fmt::format("{} has at most {} queue(s), got {}", entry->name, entry->max_queues, *spec.queues));
  }
  if (spec.variant &&
      std::find(entry->variants.begin(), entry->variants.end(), *spec.variant) == entry->variants.end()) {
    return refuse(ProblemKind::invalid, "variant",
                  entry->variants.empty()
                      ? fmt::format("{} has no variants", entry->name)
                      : fmt::format("expected one of {}, got '{}'", fmt::join(entry->variants, ", "), *spec.variant));
  }
  if (auto ok = check_transport(spec, *entry); !ok) return ok;
  spec.model = entry->name;
  return spec.device ? check_device(spec) : Outcome<>{};
}

Outcome<> Inventory::check_transport(PortSpec& spec, const ModelEntry& model) const {
  if (!spec.transport) spec.transport = std::string{model.transports.front()};
  if (std::find(model.transports.begin(), model.transports.end(), *spec.transport) != model.transports.end()) {
    if (!spec.connect.value_or(false) || catalogue_.transport(*spec.transport)->can_connect) return {};
    return refuse(ProblemKind::invalid, "connect",
                  fmt::format("over {} it is always the VMM that connects", *spec.transport));
  }
  const bool is_known = catalogue_.transport(*spec.transport) != nullptr;
  return refuse(is_known ? ProblemKind::not_supported : ProblemKind::invalid, "transport",
                fmt::format("{} is served over {}, {}", model.name, fmt::join(model.transports, " or "),
                            is_known ? "not over " + *spec.transport : "got '" + *spec.transport + "'"));
}

Outcome<> Inventory::check_device(PortSpec& spec) const {
  const auto address = parse_pci_address(*spec.device);
  if (!address) {
    return refuse(ProblemKind::invalid, "device", fmt::format("expected {}, got '{}'", kPciAddressForm, *spec.device));
  }
  spec.device = address->text();
  for (const PortSpec& port : all<PortSpec>()) {
    if (port.device != spec.device) continue;
    return refuse(ProblemKind::already_exists, "device", fmt::format("{} is that of port {}", *spec.device, port.name));
  }
  return {};
}

/// What a switch does to frames would hold only now and then.
Outcome<> Inventory::check_past_switch(const PortSpec& spec, const ModelEntry& model) const {
  if (!model.is_past_switch) return {};
  const char* const field = spec.vlan.is_aware()              ? "vlan"
                            : !spec.static_macs.empty()       ? "static_macs"
                            : spec.mirror                     ? "mirror"
                            : spec.anti_spoof.value_or(false) ? "anti_spoof"
                            : spec.limit_in                   ? "limit_in"
                            : spec.limit_out                  ? "limit_out"
                            : spec.limit_flood                ? "limit_flood"
                            : spec.isolation                  ? "isolation"
                                                              : nullptr;
  if (field == nullptr) return {};
  return refuse(ProblemKind::invalid, field,
                fmt::format("the frames of {} leave through its function, past every switch: such things are for the "
                            "function's owner to set (ip link set PF vf N ...)",
                            model.name));
}

/// What only makes sense on a switch is not for a port that has no side there.
Outcome<> Inventory::take_off_switch(PortSpec& spec) const {
  const char* const field = spec.switch_name != kDefaultSwitch ? "switch"
                            : spec.mac                         ? "mac"
                            : spec.vlan.is_aware()             ? "vlan"
                            : !spec.static_macs.empty()        ? "static_macs"
                            : spec.mirror                      ? "mirror"
                            : spec.anti_spoof                  ? "anti_spoof"
                            : spec.limit_in                    ? "limit_in"
                            : spec.limit_out                   ? "limit_out"
                            : spec.limit_flood                 ? "limit_flood"
                            : spec.isolation                   ? "isolation"
                            : spec.weight                      ? "weight"
                            : spec.group_filter_mask           ? "group_filter_mask"
                            : spec.link                        ? "link"
                            : spec.mtu                         ? "mtu"
                            : spec.doorbell                    ? "doorbell"
                                                               : nullptr;
  if (field != nullptr) {
    return refuse(ProblemKind::invalid, field,
                  fmt::format("{} has no side on a switch: its frames leave through the device itself", spec.model));
  }
  spec.switch_name.clear();
  return {};
}

Outcome<> Inventory::check_socket(const PortSpec& spec) const {
  if (auto ok = check_socket_path("socket", spec.socket); !ok) return ok;
  const std::filesystem::path path = normal(spec.socket);
  for (const PortSpec& port : all<PortSpec>()) {
    if (normal(port.socket) != path) continue;
    return refuse(ProblemKind::already_exists, "socket", fmt::format("{} is that of port {}", spec.socket, port.name));
  }
  if (daemon_.rpc && *daemon_.rpc != "none" && normal(*daemon_.rpc) == path) {
    return refuse(ProblemKind::already_exists, "socket", fmt::format("{} is the RPC socket", spec.socket));
  }
  return {};
}

Outcome<> Inventory::check_backend(const UplinkSpec& spec) const {
  const BackendEntry* const entry = catalogue_.backend(spec.backend);
  if (entry == nullptr || entry->make == nullptr) {
    return refuse(entry == nullptr ? ProblemKind::invalid : ProblemKind::not_supported, "backend",
                  fmt::format("'{}' is not {}; there are: {}", spec.backend, entry == nullptr ? "known" : "built in",
                              catalogue_.built_backend_names()));
  }
  if (entry->is_device == nullptr && spec.device) {
    return refuse(ProblemKind::invalid, "device", fmt::format("{} uses no device", spec.backend));
  }
  if (entry->is_device != nullptr && !spec.device) {
    return refuse(ProblemKind::invalid, "device", fmt::format("is missing: {} needs {}", spec.backend, entry->expects));
  }
  if (entry->is_device != nullptr && !entry->is_device(*spec.device)) {
    return refuse(ProblemKind::invalid, "device", fmt::format("expected {}, got '{}'", entry->expects, *spec.device));
  }
  if (spec.queues > entry->max_queues) {
    return refuse(ProblemKind::invalid, "queues",
                  fmt::format("{} has at most {} queue(s), got {}", entry->name, entry->max_queues, spec.queues));
  }
  if (const UplinkSpec* const other = spec.device ? find_device(spec.backend, *spec.device) : nullptr) {
    return refuse(ProblemKind::already_exists, "device",
                  fmt::format("{} is that of uplink {} on switch {}", *spec.device, other->name, other->switch_name));
  }
  return {};
}

Outcome<> Inventory::give_mac(PortSpec& spec) const {
  if (spec.mac) {
    if (!is_mac_used(*spec.mac, spec.switch_name)) return {};
    return refuse(ProblemKind::already_exists, "mac",
                  fmt::format("{} is in use on switch {}", to_text(*spec.mac), spec.switch_name));
  }
  const MacAddress base = daemon_.base_mac.value_or(machine_base_mac(""));
  // The lowest number that no port has: the same ports added in the same order get the same addresses. An address is
  // given out once in the whole daemon, so that a port may move to another switch.
  for (std::uint32_t offset = 0;; ++offset) {
    const MacAddress mac = offset_mac(base, offset);
    if (std::none_of(all<PortSpec>().begin(), all<PortSpec>().end(),
                     [&](const PortSpec& port) { return port.mac == mac; })) {
      spec.mac = mac;
      return {};
    }
  }
}

/// A station is behind one port of a switch.
Outcome<> Inventory::check_static_macs(const PortSpec& spec) const {
  for (const PortSpec& port : all<PortSpec>()) {
    if (port.switch_name != spec.switch_name) continue;
    for (const StaticMac& mine : spec.static_macs) {
      const bool is_taken = std::any_of(port.static_macs.begin(), port.static_macs.end(), [&](const StaticMac& other) {
        return other.mac == mine.mac && vlan_of(other, port.vlan) == vlan_of(mine, spec.vlan);
      });
      if (!is_taken) continue;
      return refuse(ProblemKind::already_exists, "static_macs",
                    fmt::format("{} is behind port {}", to_text(mine.mac), port.name));
    }
  }
  return {};
}

Outcome<> Inventory::give_poller(std::optional<unsigned>& poller) const {
  const unsigned count = std::max(1u, daemon_.pollers.count);
  if (poller) {
    if (*poller < count) return {};
    return refuse(ProblemKind::invalid, "poller",
                  fmt::format("expected a number from 0 to {}, got {}", count - 1, *poller));
  }
  std::vector<unsigned> load(count);
  // Queues are spread from the home on, as the controller does it.
  const auto add = [&](unsigned home, unsigned queues) {
    for (unsigned i = 0; i < std::min(queues, count); ++i)
      ++load[(home + i) % count];
  };
  for (const PortSpec& port : all<PortSpec>()) {
    if (port.poller) add(*port.poller, catalogue_.model(port.model)->queues(port.queues));
  }
  for (const UplinkSpec& uplink : all<UplinkSpec>())
    add(uplink.poller.value_or(0), uplink.queues);
  poller = static_cast<unsigned>(std::min_element(load.begin(), load.end()) - load.begin());
  return {};
}

bool Inventory::is_mac_used(const MacAddress& mac, std::string_view switch_name) const noexcept {
  return std::any_of(all<PortSpec>().begin(), all<PortSpec>().end(),
                     [&](const PortSpec& port) { return port.mac == mac && port.switch_name == switch_name; });
}

std::vector<std::string_view> Inventory::users_of(std::string_view switch_name) const {
  std::vector<std::string_view> users;
  for (const PortSpec& port : all<PortSpec>()) {
    if (port.switch_name == switch_name) users.push_back(port.name);
  }
  for (const UplinkSpec& uplink : all<UplinkSpec>()) {
    if (uplink.switch_name == switch_name) users.push_back(uplink.name);
  }
  return users;
}

std::vector<std::string> Inventory::missing_of(const RuleSpec& rule) const {
  const auto users = users_of(rule.switch_name);
  std::vector<std::string> missing;
  for (const auto* name : {&rule.port, &rule.redirect, &rule.mirror}) {
    if (*name && std::find(users.begin(), users.end(), **name) == users.end()) missing.push_back(**name);
  }
  return missing;
}

std::vector<std::string_view> Inventory::rules_of(std::string_view switch_name) const {
  std::vector<std::string_view> names;
  for (const RuleSpec& rule : all<RuleSpec>()) {
    if (rule.switch_name == switch_name) names.push_back(rule.name);
  }
  return names;
}

template <ObjectSpec Spec>
Outcome<> Inventory::may_remove(std::string_view name) const {
  const char* const kind = kind_of<Spec>().name;
  if (find<Spec>(name) == nullptr) {
    return refuse(ProblemKind::not_found, "name", fmt::format("there is no {} named {}", kind, name));
  }
  if constexpr (std::is_same_v<Spec, SwitchSpec>) {
    if (name == kDefaultSwitch) {
      return refuse(ProblemKind::invalid, "name", "the default switch is always there and cannot be removed");
    }
    if (const auto users = users_of(name); !users.empty()) {
      return refuse(ProblemKind::busy, "name", fmt::format("switch {} is used by {}", name, fmt::join(users, ", ")));
    }
    if (const auto rules = rules_of(name); !rules.empty()) {
      return refuse(ProblemKind::busy, "name",
                    fmt::format("switch {} has {} rule(s), such as {}", name, rules.size(), rules.front()));
    }
    return {};
  } else if constexpr (std::is_same_v<Spec, RuleSpec>) {
    return {};
  } else {
    return check_no_mirror_to(name);
  }
}
template Outcome<> Inventory::may_remove<SwitchSpec>(std::string_view) const;
template Outcome<> Inventory::may_remove<RuleSpec>(std::string_view) const;
template Outcome<> Inventory::may_remove<UplinkSpec>(std::string_view) const;
template Outcome<> Inventory::may_remove<PortSpec>(std::string_view) const;

const UplinkSpec* Inventory::find_device(std::string_view backend, std::string_view device) const noexcept {
  for (const UplinkSpec& uplink : all<UplinkSpec>()) {
    if (uplink.backend == backend && uplink.device == device) return &uplink;
  }
  return nullptr;
}

MacAddress machine_base_mac(std::string_view machine_id) noexcept {
  std::uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : machine_id)
    hash = (hash ^ static_cast<std::uint8_t>(c)) * 16777619u;
  // 02: locally administered (IEEE 802-2014 8.2.2). The last byte counts ports from 1.
  return MacAddress{{0x02, static_cast<std::uint8_t>(hash >> 24), static_cast<std::uint8_t>(hash >> 16),
                     static_cast<std::uint8_t>(hash >> 8), static_cast<std::uint8_t>(hash), 0x01}};
}

}  // namespace vmux::control

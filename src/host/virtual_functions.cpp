// SPDX-License-Identifier: BSD-3-Clause
// SR-IOV: how many virtual functions there are (sriov_numvfs), what the physical function does for each, and whether
// its link is up, without which none of them has one.

#include "host/resource.hpp"

#include "base/format.hpp"

namespace vmux::host {
namespace {

Outcome<std::optional<State>> read_vfs(Machine& machine, const std::string& name) {
  const std::string path = kPciDevices + name;
  if (!machine.exists(path + "/sriov_numvfs")) return std::optional<State>{};
  return State{{"count", machine.text(path + "/sriov_numvfs")},
               {"autoprobe", machine.text(path + "/sriov_drivers_autoprobe")}};
}

Outcome<> write_vfs(Hands& hands, const std::string& name, const State& from, const State& to) {
  const std::string path = kPciDevices + name;
  if (get(to, "autoprobe") != get(from, "autoprobe") && !get(to, "autoprobe").empty()) {
    if (auto done = hands.write(path + "/sriov_drivers_autoprobe", get(to, "autoprobe")); !done) return done;
  }
  if (get(to, "count") == get(from, "count")) return {};
  // sriov_numvfs_store() takes a number only while there are none.
  if (get(from, "count") != "0" && get(to, "count") != "0") {
    if (auto done = hands.write(path + "/sriov_numvfs", "0"); !done) return done;
  }
  return hands.write(path + "/sriov_numvfs", get(to, "count"));
}

struct VfName {
  PciAddress physical;
  unsigned index = 0;
};
std::optional<VfName> split(const std::string& name) {
  const std::size_t slash = name.find('/');
  const auto physical = parse_pci_address(name.substr(0, slash));
  const auto index = slash == std::string::npos ? std::nullopt : parse_decimal(name.substr(slash + 1));
  if (!physical || !index) return std::nullopt;
  return VfName{*physical, static_cast<unsigned>(*index)};
}

/// The interface through which the physical function is told; "" if it has none.
std::string interface_of(const Machine& machine, PciAddress physical) {
  const std::vector<std::string> names = class_devices(machine, "net", physical);
  return names.empty() ? "" : names.front();
}

constexpr const char* kLinkNames[] = {"auto", "enable", "disable"};

const char* on_off(bool value) { return value ? "on" : "off"; }

Outcome<std::optional<State>> read_vf(Machine& machine, const std::string& text) {
  const auto name = split(text);
  const std::string interface = name ? interface_of(machine, name->physical) : "";
  if (interface.empty()) return std::optional<State>{};
  const auto all = machine.network().vfs(interface);
  if (!all) return refuse("ask for the virtual functions of " + interface, all.error());
  if (name->index >= all->size()) return std::optional<State>{};
  return state_of((*all)[name->index]);
}

/// Only what differs is told to the driver: not every driver knows everything.
VfSettings difference(const State& from, const State& to) {
  VfSettings settings;
  const auto differs = [&](const char* key) { return to.count(key) != 0 && get(from, key) != get(to, key); };
  if (differs("mac")) settings.mac = get(to, "mac");
  if (differs("vlan") || differs("qos")) {
    settings.vlan = static_cast<std::uint16_t>(parse_decimal(get(to, "vlan")).value_or(0));
    settings.qos = static_cast<std::uint8_t>(parse_decimal(get(to, "qos")).value_or(0));
  }
  if (differs("trust")) settings.is_trusted = get(to, "trust") == "on";
  if (differs("spoofchk")) settings.checks_spoofing = get(to, "spoofchk") == "on";
  for (unsigned state = 0; differs("link") && state < 3; ++state) {
    if (get(to, "link") == kLinkNames[state]) settings.link = static_cast<VfLink>(state);
  }
  return settings;
}

Outcome<> write_vf(Hands& hands, const std::string& text, const State& from, const State& to) {
  const auto name = split(text);
  const std::string interface = name ? interface_of(hands.machine(), name->physical) : "";
  if (interface.empty())
    return refuse(Errc::not_found, fmt::format("the physical function of {} has no interface", text));
  return hands.set_vf(interface, name->index, difference(from, to));
}

std::string interface_named(const std::string& text) { return text.substr(text.find('/') + 1); }

Outcome<std::optional<State>> read_link(Machine& machine, const std::string& text) {
  constexpr std::uint64_t kIffUp = 1;
  const auto flags = parse_hex(machine.text("/sys/class/net/" + interface_named(text) + "/flags"));
  if (!flags) return std::optional<State>{};
  return State{{"up", (*flags & kIffUp) != 0 ? "yes" : "no"}};
}

Outcome<> write_link(Hands& hands, const std::string& text, const State&, const State& to) {
  return hands.set_up(interface_named(text), get(to, "up") == "yes");
}

}  // namespace

State state_of(const VfSettings& settings) {
  State state;
  if (settings.mac) state["mac"] = *settings.mac;
  if (settings.vlan) state["vlan"] = std::to_string(*settings.vlan);
  if (settings.qos) state["qos"] = std::to_string(*settings.qos);
  if (settings.is_trusted) state["trust"] = on_off(*settings.is_trusted);
  if (settings.checks_spoofing) state["spoofchk"] = on_off(*settings.checks_spoofing);
  if (settings.link) state["link"] = kLinkNames[static_cast<unsigned>(*settings.link)];
  return state;
}

const Kind kVfsKind{"vfs", read_vfs, write_vfs};
const Kind kVfKind{"vf", read_vf, write_vf};
const Kind kLinkKind{"link", read_link, write_link};

}  // namespace vmux::host

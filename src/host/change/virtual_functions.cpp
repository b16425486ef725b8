// SPDX-License-Identifier: BSD-3-Clause
// SR-IOV: how many virtual functions there are (sriov_numvfs), what the physical function does for each, and whether
// its link is up, without which none of them has one.

#include "host/change/resource.hpp"

#include <algorithm>
#include <cerrno>

#include "base/text/format.hpp"

namespace vmux::host {
namespace {

Outcome<std::optional<State>> read_vfs(Machine& machine, const std::string& name) {
  const std::string path = kPciDevices + name;
  if (!machine.exists(path + "/sriov_numvfs")) return std::optional<State>{};
  return State{{"count", machine.text(path + "/sriov_numvfs")},
               {"autoprobe", machine.text(path + "/sriov_drivers_autoprobe")}};
}

/// The last bus behind the bridge that the function is behind; nullopt on a root bus.
std::optional<unsigned> last_bus(const Machine& machine, const std::string& path) {
  const std::string place = machine.resolve(path);
  const auto number = machine.number(place.substr(0, place.rfind('/')) + "/subordinate_bus_number");
  return number ? std::optional{static_cast<unsigned>(*number)} : std::nullopt;
}

/// Whether none of the virtual functions' BARs has an address. Lines 8 to 13 of `resource` are theirs
/// (PCI_IOV_RESOURCES), each "start end flags".
bool lacks_memory(const Machine& machine, const std::string& path) {
  const std::vector<std::string> all = lines(machine.text(path + "/resource"));
  if (all.size() < 13) return false;
  return std::all_of(all.begin() + 7, all.begin() + 13, [](const std::string& line) {
    const std::vector<std::string> parts = words(line);
    return !parts.empty() && parse_hex(parts.front()).value_or(1) == 0;
  });
}

/// Why so many cannot be made, as far as it can be seen: sriov_enable() of the kernel needs their routing IDs to be on
/// buses that the bridge above passes on, and an address for each of their BARs; the rest is the driver's and the
/// card's.
std::string why_not(const Machine& machine, const std::string& path, unsigned count) {
  const auto physical = parse_pci_address(path.substr(std::string_view{kPciDevices}.size()));
  const auto first = static_cast<unsigned>(machine.number(path + "/sriov_offset").value_or(0));
  const auto stride = static_cast<unsigned>(machine.number(path + "/sriov_stride").value_or(0));
  const auto last = last_bus(machine, path);
  if (physical && last && count > 0) {
    const unsigned id = physical->bus * 256u + physical->device * 8u + physical->function;
    const unsigned bus = (id + first + (count - 1) * stride) / 256;
    if (bus > *last)
      return fmt::format(
          "the last of them would be on bus {:02x}, and the bridge above has buses up to {:02x} only: "
          "boot with pci=assign-busses, or switch ARI and SR-IOV on in the machine's firmware",
          bus, *last);
  }
  if (lacks_memory(machine, path))
    return "their memory has no addresses: boot with pci=realloc, or switch SR-IOV and above 4G decoding on in the "
           "machine's firmware";
  return fmt::format(
      "the card's firmware or driver allows fewer: its vendor's tool (`mlxconfig set NUM_OF_VFS=...`, "
      "`devlink resource`) sets the limit, `dmesg | grep {}` may tell it",
      path.substr(std::string_view{kPciDevices}.size()));
}

bool is_about_room(int error) noexcept {
  return error == ENOSPC || error == EINVAL || error == ENOMEM || error == EIO || error == ERANGE;
}

Outcome<> set_count(Actuator& hands, const std::string& path, const std::string& count) {
  const auto done = hands.set_vf_count(path + "/sriov_numvfs", count);
  if (done) return {};
  auto failure = refuse(fmt::format("write '{}' to {}/sriov_numvfs", count, path), done.error());
  if (is_about_room(done.error().sys))
    failure.value().text +=
        "; " + why_not(hands.machine(), path, static_cast<unsigned>(parse_decimal(count).value_or(0)));
  return failure;
}

Outcome<> write_vfs(Actuator& hands, const std::string& name, const State& from, const State& to) {
  const std::string path = kPciDevices + name;
  if (get(to, "autoprobe") != get(from, "autoprobe") && !get(to, "autoprobe").empty()) {
    if (auto done = hands.write(path + "/sriov_drivers_autoprobe", get(to, "autoprobe")); !done) return done;
  }
  if (get(to, "count") == get(from, "count")) return {};
  // sriov_numvfs_store() takes a number only while there are none.
  if (get(from, "count") != "0" && get(to, "count") != "0") {
    if (auto done = set_count(hands, path, "0"); !done) return done;
  }
  return set_count(hands, path, get(to, "count"));
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

constexpr const char* kLinkNames[] = {"auto", "enable", "disable"};

const char* on_off(bool value) { return value ? "on" : "off"; }

Outcome<std::optional<State>> read_vf(Machine& machine, const std::string& text) {
  const auto name = split(text);
  const std::string interface = name ? uplink_of(machine, name->physical) : "";
  if (interface.empty()) return std::optional<State>{};
  const std::string who = fmt::format("virtual function {} of {}", name->index, interface);
  const auto found = patiently(machine, who + ", which is being reset", [&]() -> Result<std::optional<VfSettings>> {
    const auto all = machine.network().vfs(interface);
    if (!all) return tl::unexpected<Error>(all.error());
    if (name->index >= all->size()) return std::optional<VfSettings>{};
    if ((*all)[name->index].is_left_out()) return fail(Errc::busy, "it is being reset", EAGAIN);
    return std::optional{(*all)[name->index]};
  });
  if (!found) return refuse("read the settings of " + who, found.error());
  return *found ? std::optional{state_of(**found)} : std::nullopt;
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

Outcome<> write_vf(Actuator& hands, const std::string& text, const State& from, const State& to) {
  const auto name = split(text);
  std::string interface = name ? uplink_of(hands.machine(), name->physical) : "";
  // In a rehearsal its driver may be one that an earlier step would have given it.
  if (interface.empty() && hands.is_rehearsal()) interface = "INTERFACE-OF-" + text.substr(0, text.find('/'));
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

Outcome<> write_link(Actuator& hands, const std::string& text, const State&, const State& to) {
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

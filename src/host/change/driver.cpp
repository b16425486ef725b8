// SPDX-License-Identifier: BSD-3-Clause
// Which driver a PCI function has: driver_override, unbind, drivers_probe and bind of sysfs
// (Documentation/ABI/testing/sysfs-bus-pci).

#include "host/change/resource.hpp"

#include "base/text/format.hpp"

namespace vmux::host {
namespace {

Outcome<std::optional<State>> read_driver(Machine& machine, const std::string& name) {
  const std::string path = kPciDevices + name;
  if (!machine.exists(path + "/class")) return std::optional<State>{};
  std::string override = machine.text(path + "/driver_override");
  if (override == "(null)") override.clear();
  return State{{"driver", machine.link(path + "/driver")}, {"override", override}};
}

/// A function without a driver gets `driver`, whose name or nothing its override is.
Outcome<> attach(Actuator& hands, const std::string& name, const std::string& driver, bool by_name) {
  // Loading the module may have bound it already.
  if (!hands.is_rehearsal() && hands.machine().link(kPciDevices + name + "/driver") == driver) return {};
  if (!by_name) return hands.write("/sys/bus/pci/drivers_probe", name);
  return hands.write(kPciDrivers + driver + "/bind", name);
}

Outcome<> exchange(Actuator& hands, const std::string& name, const State& from, const State& to) {
  const std::string path = kPciDevices + name;
  const std::string driver = get(to, "driver");
  if (!get(from, "driver").empty()) {
    if (auto done = hands.write(path + "/driver/unbind", name); !done) return done;
  }
  if (driver.empty()) return {};
  // With an override that stays, or for whoever wants it, the kernel is asked to look again; else the driver is named.
  if (auto done = attach(hands, name, driver, driver != kAny && get(to, "override") != driver); !done) return done;
  if (hands.is_rehearsal() || driver == kAny || hands.machine().link(path + "/driver") == driver) return {};
  return refuse(Errc::system,
                fmt::format("the driver {} does not take {}: `dmesg | grep {}` may say why", driver, name, name));
}

Outcome<> write_driver(Actuator& hands, const std::string& name, const State& from, const State& to) {
  const std::string override_file = kPciDevices + name + "/driver_override";
  const std::string driver = get(to, "driver");
  std::string override = get(from, "override");
  const auto set_override = [&](const std::string& value) -> Outcome<> {
    if (value == override) return {};
    override = value;
    return hands.write(override_file, value);
  };
  if (driver != get(from, "driver")) {
    const bool is_named = !driver.empty() && driver != kAny;
    // Before the function is touched: a driver that there is not is found out while it still has its own.
    if (auto done = is_named ? hands.load_driver(driver) : Outcome<>{}; !done) return done;
    // Nothing in between can bind it to the wrong one, and an override of another name, which is to stay, does not keep
    // the right one away (pci_match_device() of the kernel matches that name only).
    if (auto done = set_override(is_named ? driver : get(to, "override")); !done) return done;
    if (auto done = exchange(hands, name, from, to); !done) return done;
  }
  return set_override(get(to, "override"));
}

}  // namespace

const Kind kDriverKind{"driver", read_driver, write_driver};

}  // namespace vmux::host

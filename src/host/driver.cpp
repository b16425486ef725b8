// SPDX-License-Identifier: BSD-3-Clause
// Which driver a PCI function has: driver_override, unbind, drivers_probe and bind of sysfs
// (Documentation/ABI/testing/sysfs-bus-pci).

#include "host/resource.hpp"

#include "base/format.hpp"

namespace vmux::host {
namespace {

Outcome<std::optional<State>> read_driver(Machine& machine, const std::string& name) {
  const std::string path = kPciDevices + name;
  if (!machine.exists(path + "/class")) return std::optional<State>{};
  std::string override = machine.text(path + "/driver_override");
  if (override == "(null)") override.clear();
  return State{{"driver", machine.link(path + "/driver")}, {"override", override}};
}

/// A function without a driver gets `driver`.
Outcome<> attach(Hands& hands, const std::string& name, const std::string& driver, bool is_overridden) {
  const std::string drivers = kPciDrivers;
  if (driver != kAny && !hands.machine().exists(drivers + driver)) {
    if (auto done = hands.load_module(driver); !done) return done;
  }
  // Loading the module may have bound it already.
  if (!hands.is_rehearsal() && hands.machine().link(kPciDevices + name + "/driver") == driver) return {};
  if (driver == kAny || is_overridden) return hands.write("/sys/bus/pci/drivers_probe", name);
  // Without an override several drivers may want it: this one has to be named.
  return hands.write(drivers + driver + "/bind", name);
}

Outcome<> write_driver(Hands& hands, const std::string& name, const State& from, const State& to) {
  const std::string path = kPciDevices + name;
  const std::string driver = get(to, "driver");
  const std::string override = get(to, "override");
  // First, so that nothing in between can bind it to the wrong one.
  if (override != get(from, "override")) {
    if (auto done = hands.write(path + "/driver_override", override); !done) return done;
  }
  if (driver == get(from, "driver")) return {};
  if (!get(from, "driver").empty()) {
    if (auto done = hands.write(path + "/driver/unbind", name); !done) return done;
  }
  if (driver.empty()) return {};
  if (auto done = attach(hands, name, driver, override == driver); !done) return done;
  if (hands.is_rehearsal() || driver == kAny || hands.machine().link(path + "/driver") == driver) return {};
  return refuse(Errc::system,
                fmt::format("the driver {} does not take {}: `dmesg | grep {}` may say why", driver, name, name));
}

}  // namespace

const Kind kDriverKind{"driver", read_driver, write_driver};

}  // namespace vmux::host

// SPDX-License-Identifier: BSD-3-Clause

#include <algorithm>
#include <cctype>

#include "base/text/format.hpp"
#include "host/operations.hpp"

namespace vmux::host {
namespace {

constexpr const char* kVfio = "vfio-pci";

/// It becomes part of a path, and an argument of modprobe.
bool is_driver_name(const std::string& name) noexcept {
  return !name.empty() && name.front() != '-' && name.front() != '.' &&
         std::none_of(name.begin(), name.end(), [](unsigned char c) { return c == '/' || std::iscntrl(c) != 0; });
}

/// Gives it a state in which it has another driver, or none; interfaces come up again as they were when it is undone.
Outcome<> take_away(Session& session, const PciFunction& function, const State& wanted) {
  if (get(wanted, "driver") != function.driver) {
    if (auto done = session.require_unused(function, "taking it from its driver"); !done) return done;
    for (const Interface& interface : function.interfaces) {
      if (auto done = session.remember(link_of(function.address, interface.name)); !done) return done;
    }
  }
  return session.set(driver_of(function.address), wanted);
}

Outcome<> bind_one(Session& session, const PciFunction& function, const std::string& driver) {
  const State wanted{{"driver", driver}, {"override", driver}};
  if (auto done = require_driver(session, driver); !done) return done;
  if (function.driver == driver && function.driver_override == driver) return {};
  if (function.is_bridge())
    return refuse(Errc::invalid_argument, fmt::format("{} is a {}: what hangs below it would be lost",
                                                      function.address.text(), class_name(function.class_code)));
  if (driver == kVfio && !function.group && !session.options().is_forced) {
    return refuse(Errc::not_supported,
                  fmt::format("{} is in no IOMMU group, so {} cannot protect the host from it: no IOMMU is active, "
                              "`vmuxctl host check` says why",
                              function.address.text(), kVfio));
  }
  return take_away(session, function, wanted);
}

/// Interfaces that came back with their driver are up or down as they were.
Outcome<> links_back(Session& session, PciAddress address) {
  const std::vector<Entry> entries = session.journal().entries();
  for (const Entry& entry : entries) {
    if (entry.resource.kind != kLinkKind.name || function_of(entry.resource) != address) continue;
    const auto now = kLinkKind.read(session.machine(), entry.resource.name);
    if (!now || !*now) continue;
    if (auto done = session.set(entry.resource, entry.was); !done) return done;
  }
  return {};
}

Outcome<> give_to_kernels_choice(Session& session, const PciFunction& function) {
  if (auto done = take_away(session, function, {{"driver", kAny}, {"override", ""}}); !done) return done;
  const auto now = session.options().is_rehearsal ? std::nullopt : function_at(session.machine(), function.address);
  if (!now || now->driver.empty() || serves_host(now->driver)) return {};
  // vfio-pci.ids=... of the kernel's command line, or an options line for modprobe.
  return refuse(Errc::busy,
                fmt::format("the kernel gives {0} to {1} again, which has its IDs ({2:04x}:{3:04x} in "
                            "/sys/module/*/parameters/ids or {4}{1}/new_id): `vmuxctl host bind {0} --driver NAME` "
                            "names another",
                            function.address.text(), now->driver, function.vendor, function.device, kPciDrivers));
}

/// A group is the VM's or the host's, never both: every function of it with a driver has to have a VFIO driver.
void note_spoilers(Session& session, const PciFunction& function, const std::vector<PciAddress>& bound) {
  for (const PciAddress mate : group_mates(session.machine(), function)) {
    const auto other = function_at(session.machine(), mate);
    const bool is_bound = std::find(bound.begin(), bound.end(), mate) != bound.end();
    if (!other || is_bound || other->driver.empty() || other->driver.find("vfio") != std::string::npos ||
        other->driver == "pci-stub")
      continue;
    session.note(fmt::format(
        "IOMMU group {} cannot be given to a VM yet: {} in it belongs to {}; `vmuxctl host bind {} --group` "
        "takes it too",
        *function.group, mate.text(), other->driver, function.address.text()));
  }
}

}  // namespace

Outcome<> require_driver(Session& session, const std::string& driver) {
  if (driver.empty() || driver == "none") return {};
  if (!is_driver_name(driver) || driver == kAny)
    return refuse(Errc::invalid_argument, fmt::format("'{}' is no name of a driver", driver));
  return session.require_driver(driver);
}

Outcome<> bind(Session& session, const BindRequest& request) {
  const auto function = session.find(request.function);
  if (!function) return tl::unexpected<Failure>(function.error());
  if (request.driver.empty()) return refuse(Errc::invalid_argument, "'' is no name of a driver");
  if (request.driver == "none") {
    if (function->driver.empty()) return {};
    return take_away(session, *function, {{"driver", ""}});
  }
  std::vector<PciAddress> bound{function->address};
  if (request.with_group) {
    for (const PciAddress mate : group_mates(session.machine(), *function))
      bound.push_back(mate);
  }
  for (const PciAddress each : bound) {
    const auto member = session.find(each.text());
    if (!member) continue;
    if (auto done = bind_one(session, *member, request.driver); !done) return done;
  }
  if (request.driver == kVfio) note_spoilers(session, *function, bound);
  return {};
}

Outcome<> unbind(Session& session, const std::string& name) {
  const auto function = session.find(name);
  if (!function) return tl::unexpected<Failure>(function.error());
  const Resource resource = driver_of(function->address);
  const Entry* const origin = session.journal().find(resource);
  // The goal is a driver of the host's, whatever was before: one that the toolkit's memory leads away from it again
  // would come and go with each call.
  if (origin != nullptr && serves_host(get(origin->was, "driver"))) {
    if (auto done = take_away(session, *function, State{origin->was}); !done) return done;
    return links_back(session, function->address);
  }
  if (serves_host(function->driver)) return {};
  return give_to_kernels_choice(session, *function);
}

}  // namespace vmux::host

// SPDX-License-Identifier: BSD-3-Clause

#include <algorithm>
#include <cctype>

#include "base/format.hpp"
#include "host/operations.hpp"

namespace vmux::host {
namespace {

constexpr const char* kVfio = "vfio-pci";

/// It becomes part of a path, and an argument of modprobe.
bool is_driver_name(const std::string& name) noexcept {
  return !name.empty() && name.front() != '-' && name.front() != '.' &&
         std::none_of(name.begin(), name.end(), [](unsigned char c) { return c == '/' || std::iscntrl(c) != 0; });
}

Outcome<> bind_one(Session& session, const PciFunction& function, const std::string& driver) {
  const State wanted{{"driver", driver}, {"override", driver}};
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
  if (function.driver != driver) {
    if (auto done = session.require_unused(function, "taking it from its driver"); !done) return done;
  }
  return session.set(driver_of(function.address), wanted);
}

/// A group is the VM's or the host's, never both: every function of it with a driver has to have a VFIO driver.
void note_spoilers(Session& session, const PciFunction& function, const std::vector<PciAddress>& bound) {
  for (const PciAddress mate : group_mates(session.machine(), function)) {
    const auto other = function_at(session.machine(), mate);
    const bool is_bound = std::find(bound.begin(), bound.end(), mate) != bound.end();
    if (!other || is_bound || other->driver.empty() || other->driver.rfind("vfio", 0) == 0 ||
        other->driver == "pci-stub")
      continue;
    session.note(fmt::format(
        "IOMMU group {} cannot be given to a VM yet: {} in it belongs to {}; `vmuxctl host bind {} --group` "
        "takes it too",
        *function.group, mate.text(), other->driver, function.address.text()));
  }
}

}  // namespace

Outcome<> bind(Session& session, const BindRequest& request) {
  const auto function = find_function(session.machine(), request.function);
  if (!function) return tl::unexpected<Failure>(function.error());
  if (!is_driver_name(request.driver) || request.driver == kAny)
    return refuse(Errc::invalid_argument, fmt::format("'{}' is no name of a driver", request.driver));
  if (request.driver == "none") {
    if (function->driver.empty()) return {};
    if (auto done = session.require_unused(*function, "taking it from its driver"); !done) return done;
    return session.set(driver_of(function->address), {{"driver", ""}});
  }
  std::vector<PciAddress> bound{function->address};
  if (request.with_group) {
    for (const PciAddress mate : group_mates(session.machine(), *function))
      bound.push_back(mate);
  }
  for (const PciAddress each : bound) {
    const auto member = function_at(session.machine(), each);
    if (!member) continue;
    if (auto done = bind_one(session, *member, request.driver); !done) return done;
  }
  if (request.driver == kVfio) note_spoilers(session, *function, bound);
  return {};
}

Outcome<> unbind(Session& session, const std::string& name) {
  const auto function = find_function(session.machine(), name);
  if (!function) return tl::unexpected<Failure>(function.error());
  const Resource resource = driver_of(function->address);
  const Entry* const origin = session.journal().find(resource);
  if (origin == nullptr && function->driver_override.empty() && !function->driver.empty() && function->driver != kVfio)
    return {};  // it has the driver that the kernel chose
  const State wanted = origin != nullptr ? origin->was : State{{"driver", kAny}, {"override", ""}};
  if (get(wanted, "driver") != function->driver) {
    if (auto done = session.require_unused(*function, "taking it from its driver"); !done) return done;
  }
  return session.set(resource, wanted);
}

}  // namespace vmux::host

// SPDX-License-Identifier: BSD-3-Clause
// Virtual functions are made without drivers, told what they are, and only then given a driver: whoever probes one
// finds its address and VLAN in place.

#include <algorithm>

#include "base/text/format.hpp"
#include "host/operations.hpp"

namespace vmux::host {
namespace {

Outcome<> require_capable(const PciFunction& function, const VfsRequest& request) {
  const std::string name = function.address.text();
  if (function.physical)
    return refuse(Errc::not_supported,
                  fmt::format("{} is a virtual function itself, of {}", name, function.physical->text()));
  if (function.max_vfs == 0)
    return refuse(Errc::not_supported,
                  fmt::format("{} has no virtual functions (no SR-IOV, or its firmware has it switched off)", name));
  if (request.count.value_or(0) > function.max_vfs)
    return refuse(Errc::out_of_range,
                  fmt::format("{} has {} virtual functions at most, not {}", name, function.max_vfs, *request.count));
  const unsigned count = request.count.value_or(function.vfs);
  if (!request.entries.empty() && request.entries.rbegin()->first >= count) {
    const unsigned missing = request.entries.rbegin()->first;
    return refuse(Errc::not_found,
                  count == 0 ? fmt::format("{} has no virtual functions now", name)
                             : fmt::format("{} has no virtual function {}, the last is {}", name, missing, count - 1));
  }
  const bool needs_driver = count != function.vfs && count != 0;
  if (needs_driver && !serves_host(function.driver))
    return refuse(
        Errc::not_supported,
        fmt::format("{} makes virtual functions only with its own driver, it has {}: `vmuxctl host unbind {}`", name,
                    function.driver.empty() ? "none" : function.driver, name));
  return {};
}

/// Two with one address: frames for both reach one of them, if any.
Outcome<> require_different_macs(Session& session, const PciFunction& physical, const VfsRequest& request,
                                 bool is_fresh) {
  std::map<std::string, unsigned> owners;
  for (const auto& [index, entry] : request.entries) {
    if (!entry.settings.mac) continue;
    const auto [other, is_new] = owners.emplace(*entry.settings.mac, index);
    if (!is_new)
      return refuse(Errc::invalid_argument, fmt::format("virtual functions {} and {} cannot both have the MAC {}",
                                                        other->second, index, *entry.settings.mac));
  }
  if (owners.empty() || is_fresh) return {};
  const auto present = vf_settings(session.machine(), physical);
  if (!present) return tl::unexpected<Failure>(present.error());
  for (unsigned index = 0; index < present->size(); ++index) {
    const auto entry = request.entries.find(index);
    const bool is_changed = entry != request.entries.end() && entry->second.settings.mac;
    const auto same = owners.find((*present)[index].mac.value_or(""));
    if (is_changed || same == owners.end()) continue;
    return refuse(Errc::already_exists, fmt::format("virtual function {} has the MAC {} already, so {} cannot have it",
                                                    index, same->first, same->second));
  }
  return {};
}

/// Those that there are vanish with any change of the number: nobody may use them, and what was about them is
/// remembered.
Outcome<> give_up_present(Session& session, const PciFunction& physical) {
  const std::vector<PciAddress> present = virtual_functions(session.machine(), physical.address);
  for (unsigned index = 0; index < present.size(); ++index) {
    const auto function = function_at(session.machine(), present[index]);
    if (!function) continue;
    if (auto done = session.require_unused(*function, "removing it"); !done) return done;
    if (auto done = session.remember(driver_of(present[index])); !done) return done;
    if (auto done = session.remember(vf_of(physical.address, index)); !done) return done;
  }
  return {};
}

Outcome<> change_count(Session& session, const PciFunction& physical, unsigned count) {
  if (auto done = give_up_present(session, physical); !done) return done;
  const Resource vfs = vfs_of(physical.address);
  const std::string autoprobe = session.machine().text(physical.path() + "/sriov_drivers_autoprobe");
  if (autoprobe != "1" || count == 0) return session.set(vfs, {{"count", std::to_string(count)}});
  if (auto done = session.set(vfs, {{"autoprobe", "0"}}); !done) return done;
  if (auto done = session.set(vfs, {{"count", std::to_string(count)}, {"autoprobe", "0"}}); !done) return done;
  return session.set(vfs, {{"autoprobe", "1"}});
}

Outcome<> give_driver(Session& session, PciAddress vf, const std::string& driver, bool is_fresh) {
  const auto function = function_at(session.machine(), vf);
  if (driver.empty()) return is_fresh ? session.set(driver_of(vf), {{"driver", kAny}}) : Outcome<>{};
  if (driver == "none" && is_fresh) return {};
  if (function) return bind(session, {vf.text(), driver});
  // A rehearsal of one that does not exist yet.
  return session.set(driver_of(vf), {{"driver", driver}, {"override", driver}});
}

}  // namespace

Outcome<std::vector<VfSettings>> vf_settings(Machine& machine, const PciFunction& physical) {
  if (physical.uplink().empty()) return std::vector<VfSettings>{};
  auto all = machine.network().vfs(physical.uplink());
  if (!all) return refuse("ask for the virtual functions of " + physical.uplink(), all.error());
  return std::move(*all);
}

Outcome<> set_vfs(Session& session, const VfsRequest& request) {
  const auto physical = session.find(request.physical);
  if (!physical) return tl::unexpected<Failure>(physical.error());
  if (auto done = require_capable(*physical, request); !done) return done;
  const unsigned count = request.count.value_or(physical->vfs);
  const bool is_fresh = count != physical->vfs;
  if (auto done = require_different_macs(session, *physical, request, is_fresh); !done) return done;
  for (const auto& [index, entry] : request.entries) {
    if (auto done = require_driver(session, entry.driver); !done) return done;
  }
  if (is_fresh) {
    if (auto done = change_count(session, *physical, count); !done) return done;
  }
  if (const std::string name = physical->uplink(); count > 0 && request.brings_link_up && !name.empty()) {
    if (auto done = session.set(link_of(physical->address, name), {{"up", "yes"}}); !done) return done;
  }
  for (const auto& [index, entry] : request.entries) {
    const State wanted = state_of(entry.settings);
    if (wanted.empty()) continue;
    if (auto done = session.set(vf_of(physical->address, index), wanted); !done) return done;
  }
  const std::vector<PciAddress> places = expected_virtual_functions(session.machine(), physical->address, count);
  for (unsigned index = 0; index < places.size(); ++index) {
    const auto entry = request.entries.find(index);
    const std::string driver = entry == request.entries.end() ? "" : entry->second.driver;
    if (auto done = give_driver(session, places[index], driver, is_fresh); !done) return done;
  }
  return {};
}

}  // namespace vmux::host

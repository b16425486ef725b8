// SPDX-License-Identifier: BSD-3-Clause
// A description made true. What is wrong is told with its place in the file.

#include <algorithm>

#include "base/text/format.hpp"
#include "host/describe/description.hpp"

namespace vmux::host {
namespace {

/// A key of a table of the file.
struct Place {
  const Description& description;
  std::string table;  ///< "nic"
  const Lines& lines;

  [[nodiscard]] unsigned line(const std::string& key) const {
    const auto found = lines.find(key);
    if (found != lines.end()) return found->second;
    return lines.empty() ? 0 : lines.begin()->second;  // "" comes first
  }

  /// A failure gets its place; that something is not there on this machine makes it a mistake in the file.
  [[nodiscard]] Outcome<> told(const std::string& key, Outcome<> done) const {
    if (done || description.source.empty()) return done;
    Failure& failure = done.error();
    failure.text = fmt::format("{}:{}: {}: {}{}", description.source, line(key), list_name(description.format, table),
                               key.empty() ? "" : key + ": ", failure.text);
    const bool is_missing =
        failure.code == Errc::not_found || failure.code == Errc::out_of_range || failure.code == Errc::already_exists;
    if (is_missing) failure.code = Errc::invalid_argument;
    return done;
  }
};

Outcome<> place_irqs(Session& session, const PciFunction& function, const CpuSet& cpus) {
  const CpuSet online = parse_cpus(session.machine().text("/sys/devices/system/cpu/online")).value_or(CpuSet{});
  if (!std::includes(online.begin(), online.end(), cpus.begin(), cpus.end()))
    return refuse(Errc::not_found,
                  fmt::format("not all of the CPUs {} are online; these are: {}", to_text(cpus), to_text(online)));
  // A driver asks for its interrupts when it is bound or its interface is set up, and a rehearsal does neither.
  const bool are_to_come = session.options().is_rehearsal && session.has_rehearsed(function.address) &&
                           irqs(session.machine(), function).empty();
  return are_to_come ? Outcome<>{} : set_irqs(session, {function.address.text(), cpus});
}

/// The key that a failure about virtual functions is about: the first that can be.
std::string key_of(const NicEntry& entry) { return entry.vfs ? "vfs" : entry.entries.empty() ? "" : "vf"; }

Outcome<> require_vf_drivers(Session& session, const Description& description, const NicEntry& entry) {
  for (const auto& [index, vf] : entry.entries) {
    const auto own = entry.vf_lines.find(index);
    const bool is_own = own != entry.vf_lines.end() && own->second.count("driver") != 0;
    const Place place{description, is_own ? "nic.vf" : "nic", is_own ? own->second : entry.lines};
    const std::string key = is_own ? "driver" : "vf_driver";
    if (auto done = place.told(key, require_driver(session, vf.driver)); !done) return done;
  }
  return {};
}

Outcome<> make_nic(Session& session, const Description& description, const NicEntry& entry) {
  const Place place{description, "nic", entry.lines};
  // By address: an interface's name ends with its driver.
  const auto function = session.find(entry.device);
  if (!function) return place.told("device", tl::unexpected<Failure>(function.error()));
  const std::string address = function->address.text();
  if (auto done = require_vf_drivers(session, description, entry); !done) return done;
  const bool is_given_away = entry.driver == "none" || (!entry.driver.empty() && !serves_host(entry.driver));
  if (!entry.driver.empty() && entry.driver != function->driver) {
    if (entry.vfs == 0u && function->vfs > 0) {
      if (auto done = place.told("vfs", set_vfs(session, {.physical = address, .count = 0})); !done) return done;
    }
    if (auto done = place.told("driver", bind(session, {address, entry.driver})); !done) return done;
  }
  if (!is_given_away && (entry.vfs || !entry.entries.empty())) {
    const VfsRequest request{address, entry.vfs, entry.entries, entry.brings_link_up};
    if (auto done = place.told(key_of(entry), set_vfs(session, request)); !done) return done;
  }
  if (entry.irq_cpus.empty()) return {};
  return place.told("irq_cpus", place_irqs(session, *function, entry.irq_cpus));
}

/// Of two tables about one thing the later would win, and each run would go through both.
Outcome<> require_each_once(Session& session, const Description& description) {
  std::map<PciAddress, unsigned> cards;
  for (const NicEntry& entry : description.nics) {
    const Place place{description, "nic", entry.lines};
    const auto function = session.find(entry.device);
    if (!function) continue;  // told later, or of an earlier one
    const auto [other, is_new] = cards.emplace(function->address, place.line("device"));
    if (!is_new)
      return place.told("device", refuse(Errc::invalid_argument, fmt::format("{} is described in line {} already",
                                                                             function->address.text(), other->second)));
  }
  std::map<Resource, unsigned> pools;
  for (const HugepagesEntry& entry : description.hugepages) {
    const Place place{description, "hugepages", entry.lines};
    for (const Resource& pool : hugepage_pools(session.machine(), entry)) {
      const auto [other, is_new] = pools.emplace(pool, place.line("count"));
      if (is_new) continue;
      return place.told(
          "", refuse(Errc::invalid_argument, fmt::format("the pages of {} KiB of {} are counted in line {} already",
                                                         pool.name.substr(pool.name.find('/') + 1),
                                                         pool.name.substr(0, pool.name.find('/')), other->second)));
    }
  }
  return {};
}

CpuSet isolated_now(const Machine& machine) {
  return parse_cpus(machine.text("/sys/devices/system/cpu/isolated")).value_or(CpuSet{});
}

Outcome<> make(Session& session, const Description& description) {
  if (auto done = require_each_once(session, description); !done) return done;
  for (const HugepagesEntry& entry : description.hugepages) {
    const Place place{description, "hugepages", entry.lines};
    if (auto done = place.told("", set_hugepages(session, entry)); !done) return done;
  }
  for (const NicEntry& entry : description.nics) {
    if (auto done = make_nic(session, description, entry); !done) return done;
  }
  if (description.isolated && *description.isolated != isolated_now(session.machine())) {
    const CpuSet now = isolated_now(session.machine());
    session.note(
        fmt::format("CPUs {0} are to be isolated, {1} are: only a boot can change that, with the kernel parameters "
                    "isolcpus=managed_irq,domain,{0} nohz_full={0} rcu_nocbs={0}",
                    to_text(*description.isolated), now.empty() ? "none" : to_text(now)));
  }
  return {};
}

}  // namespace

Outcome<> apply(Session& session, const Description& description) {
  if (!session.options().is_rehearsal) {
    Session rehearsal = session.rehearsal();
    if (auto done = make(rehearsal, description); !done) {
      done.error().text += "; nothing has changed";
      return done;
    }
  }
  return make(session, description);
}

}  // namespace vmux::host

// SPDX-License-Identifier: BSD-3-Clause
#include "host/description.hpp"

#include <algorithm>

#include "base/format.hpp"

namespace vmux::host {
namespace {

Outcome<> apply_nic(Session& session, const NicWish& wish) {
  // By address: an interface's name ends with its driver.
  const auto function = find_function(session.machine(), wish.device);
  if (!function) return tl::unexpected<Failure>(function.error());
  const std::string address = function->address.text();
  const bool has_own_driver = wish.driver != "vfio-pci" && wish.driver != "none";
  if (!wish.driver.empty() && wish.driver != function->driver) {
    if (wish.vfs == 0u && function->vfs > 0) {
      if (auto done = set_vfs(session, {.physical = address, .count = 0}); !done) return done;
    }
    if (auto done = bind(session, {address, wish.driver}); !done) return done;
  }
  if (has_own_driver && (wish.vfs || !wish.wishes.empty())) {
    if (auto done = set_vfs(session, {address, wish.vfs, wish.wishes, wish.brings_link_up}); !done) return done;
  }
  if (wish.irq_cpus.empty()) return {};
  return set_irqs(session, {address, wish.irq_cpus});
}

CpuSet isolated_now(const Machine& machine) {
  return parse_cpus(machine.text("/sys/devices/system/cpu/isolated")).value_or(CpuSet{});
}

VfWish wish_of(const Machine& machine, PciAddress vf, const VfSettings& settings) {
  VfWish wish{settings, "none"};
  // What the driver made up or never got cannot be asked for.
  if (wish.settings.mac && !parse_mac(*wish.settings.mac)) wish.settings.mac.reset();
  if (wish.settings.link == VfLink::automatic) wish.settings.link.reset();
  if (wish.settings.qos == 0) wish.settings.qos.reset();
  if (const auto function = function_at(machine, vf); function && !function->driver.empty())
    wish.driver = function->driver;
  return wish;
}

CpuSet placed_irqs(const Machine& machine, const Journal& journal, const PciFunction& function) {
  CpuSet cpus;
  for (const IrqInfo& info : irqs(machine, function)) {
    if (journal.find(irq_of(function.address, info.irq)) == nullptr) continue;
    const CpuSet now = parse_cpus(info.cpus).value_or(CpuSet{});
    cpus.insert(now.begin(), now.end());
  }
  return cpus;
}

/// Mounts of others are theirs to make.
bool is_mounted_by_us(const Journal& journal, std::uint64_t size_kib) {
  const Entry* const entry = journal.find(hugetlbfs_of(size_kib));
  return entry != nullptr && get(entry->was, "at").empty();
}

}  // namespace

Outcome<> apply(Session& session, const Description& description) {
  for (const HugepagesRequest& request : description.hugepages) {
    if (auto done = set_hugepages(session, request); !done) return done;
  }
  for (const NicWish& wish : description.nics) {
    if (auto done = apply_nic(session, wish); !done) return done;
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

Outcome<Description> describe(Machine& machine, const Journal& journal) {
  Description description;
  for (const HugepagesInfo& info : hugepages(machine))
    description.hugepages.push_back({info.total, info.size_kib, info.node, is_mounted_by_us(journal, info.size_kib)});
  for (const PciFunction& function : functions(machine)) {
    if (function.physical || (!function.is_network() && function.driver != "vfio-pci")) continue;
    NicWish wish{.device = function.address.text(), .driver = function.driver.empty() ? "none" : function.driver};
    wish.irq_cpus = placed_irqs(machine, journal, function);
    if (function.max_vfs > 0) wish.vfs = function.vfs;
    const auto settings = vf_settings(machine, function);
    if (!settings) return tl::unexpected<Failure>(settings.error());
    const std::vector<PciAddress> places = virtual_functions(machine, function.address);
    for (unsigned index = 0; index < places.size(); ++index)
      wish.wishes[index] =
          wish_of(machine, places[index], index < settings->size() ? (*settings)[index] : VfSettings{});
    description.nics.push_back(std::move(wish));
  }
  const CpuSet isolated = isolated_now(machine);
  if (!isolated.empty()) description.isolated = isolated;
  return description;
}

}  // namespace vmux::host

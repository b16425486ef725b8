// SPDX-License-Identifier: BSD-3-Clause
#include "host/describe/description.hpp"

#include <algorithm>

#include "base/text/format.hpp"

namespace vmux::host {
namespace {

VfEntry entry_of(const Machine& machine, PciAddress vf, const VfSettings& settings) {
  VfEntry entry{settings, "none"};
  // What the driver made up or never got cannot be asked for.
  if (entry.settings.mac && !parse_mac(*entry.settings.mac)) entry.settings.mac.reset();
  if (entry.settings.link == VfLink::automatic) entry.settings.link.reset();
  if (entry.settings.qos == 0) entry.settings.qos.reset();
  if (const auto function = function_at(machine, vf); function && !function->driver.empty())
    entry.driver = function->driver;
  return entry;
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

Outcome<Description> describe(Machine& machine, const Journal& journal) {
  Description description;
  for (const HugepagesInfo& info : hugepages(machine))
    description.hugepages.push_back(
        {{info.total, info.size_kib, info.node, is_mounted_by_us(journal, info.size_kib)}, {}});
  for (const PciFunction& function : functions(machine)) {
    if (function.physical || (!function.is_network() && function.driver != "vfio-pci")) continue;
    NicEntry entry{.device = function.address.text(), .driver = function.driver.empty() ? "none" : function.driver};
    entry.irq_cpus = placed_irqs(machine, journal, function);
    if (function.max_vfs > 0) entry.vfs = function.vfs;
    const auto settings = vf_settings(machine, function);
    if (!settings) return tl::unexpected<Failure>(settings.error());
    const std::vector<PciAddress> places = virtual_functions(machine, function.address);
    for (unsigned index = 0; index < places.size(); ++index)
      entry.entries[index] =
          entry_of(machine, places[index], index < settings->size() ? (*settings)[index] : VfSettings{});
    description.nics.push_back(std::move(entry));
  }
  const CpuSet isolated = parse_cpus(machine.text("/sys/devices/system/cpu/isolated")).value_or(CpuSet{});
  if (!isolated.empty()) description.isolated = isolated;
  return description;
}

}  // namespace vmux::host

// SPDX-License-Identifier: BSD-3-Clause
// Who would be hurt if a function lost its driver: addresses, routes, mounted disks, virtual functions, programs.

#include <algorithm>
#include <map>
#include <set>

#include "base/format.hpp"
#include "host/function.hpp"

namespace vmux::host {
namespace {

/// An interface and everything that is stacked on it: bridges, bonds, VLANs, taps of VMs. Not by addresses alone: a
/// bridge without one still joins its ports, and a macvtap has a VM behind it.
void collect_uppers(const Machine& machine, const std::string& name, std::set<std::string>& all,
                    std::vector<std::string>& users) {
  if (!all.insert(name).second) return;
  const std::string master = machine.link("/sys/class/net/" + name + "/master");
  if (!master.empty()) users.push_back(fmt::format("{} belongs to {}", name, master));
  for (const std::string& entry : machine.list("/sys/class/net/" + name)) {
    constexpr std::string_view kUpper = "upper_";
    if (entry.compare(0, kUpper.size(), kUpper) != 0) continue;
    const std::string upper = entry.substr(kUpper.size());
    if (upper != master) users.push_back(fmt::format("{} stands on {}", upper, name));
    collect_uppers(machine, upper, all, users);
  }
}

Outcome<> network_users(Machine& machine, const PciFunction& function, std::vector<std::string>& users) {
  std::set<std::string> names;
  for (const Interface& interface : function.interfaces)
    collect_uppers(machine, interface.name, names, users);
  const auto addresses = machine.network().addresses();
  if (!addresses) return refuse("ask the kernel for addresses", addresses.error());
  for (const InterfaceAddress& each : *addresses) {
    if (names.count(each.interface) != 0 && !each.is_automatic)
      users.push_back(fmt::format("{} carries {}", each.interface, each.address));
  }
  const auto routes = machine.network().routes();
  if (!routes) return refuse("ask the kernel for routes", routes.error());
  for (const Route& each : *routes) {
    if (names.count(each.interface) != 0)
      users.push_back(fmt::format("the route {} leads through {}", each.destination, each.interface));
  }
  return {};
}

/// A block device, its partitions and what is built from them (dm, md), by name.
void collect_holders(const Machine& machine, const std::string& name, std::set<std::string>& all,
                     std::vector<std::string>& users) {
  if (!all.insert(name).second) return;
  const std::string path = "/sys/class/block/" + name;
  for (const std::string& holder : machine.list(path + "/holders")) {
    users.push_back(fmt::format("/dev/{} is part of /dev/{}", name, holder));
    collect_holders(machine, holder, all, users);
  }
  for (const std::string& part : machine.list(path)) {
    if (machine.exists(path + "/" + part + "/partition")) collect_holders(machine, part, all, users);
  }
}

/// Programs that have one of these files of /dev open. Only root sees everybody's.
void open_files(const Machine& machine, const std::set<std::string>& files, std::vector<std::string>& users) {
  if (files.empty()) return;
  for (const std::string& process : machine.list("/proc")) {
    if (!parse_decimal(process)) continue;
    const std::string fds = "/proc/" + process + "/fd";
    std::set<std::string> theirs;
    for (const std::string& fd : machine.list(fds)) {
      if (const std::string file = machine.target(fds + "/" + fd); files.count(file) != 0) theirs.insert(file);
    }
    for (const std::string& file : theirs)
      users.push_back(
          fmt::format("process {} ({}) has {} open", process, machine.text("/proc/" + process + "/comm"), file));
  }
}

/// Fields 3, 5 and the source of a line of /proc/self/mountinfo (proc(5)).
struct Mount {
  std::string number, place, source;
};

std::vector<Mount> mounts(const Machine& machine) {
  std::vector<Mount> all;
  for (const std::string& line : lines(machine.text("/proc/self/mountinfo"))) {
    const std::vector<std::string> parts = words(line);
    const auto dash = std::find(parts.begin(), parts.end(), "-");
    if (parts.size() < 5 || parts.end() - dash < 3) continue;
    all.push_back({parts[2], parts[4], *(dash + 2)});
  }
  return all;
}

void disk_users(const Machine& machine, const PciFunction& function, std::vector<std::string>& users) {
  std::set<std::string> names;
  for (const std::string& disk : class_devices(machine, "block", function.address))
    collect_holders(machine, disk, names, users);
  if (names.empty()) return;
  const std::vector<Mount> all = mounts(machine);
  const std::vector<std::string> swaps = lines(machine.text("/proc/swaps"));
  for (const std::string& name : names) {
    const std::string number = machine.text("/sys/class/block/" + name + "/dev");
    const auto mounted = std::find_if(all.begin(), all.end(), [&](const Mount& mount) {
      return mount.number == number || mount.source == "/dev/" + name;  // btrfs shows numbers of its own
    });
    if (mounted != all.end()) users.push_back(fmt::format("/dev/{} is mounted on {}", name, mounted->place));
    const bool swaps_here = std::any_of(
        swaps.begin(), swaps.end(), [&](const std::string& line) { return line.rfind("/dev/" + name + " ", 0) == 0; });
    if (swaps_here) users.push_back(fmt::format("/dev/{} holds swap", name));
  }
  std::set<std::string> files;
  for (const std::string& name : names)
    files.insert("/dev/" + name);
  open_files(machine, files, users);  // a VM may have a whole disk
}

/// Whoever drives it from user space: the IOMMU group's file, the function's own (Linux 6.6, iommufd), or UIO's.
void driver_users(const Machine& machine, const PciFunction& function, std::vector<std::string>& users) {
  std::set<std::string> files;
  if (function.driver.rfind("vfio", 0) == 0 && function.group)
    files.insert("/dev/vfio/" + std::to_string(*function.group));
  for (const std::string& name : machine.list(function.path() + "/vfio-dev"))
    files.insert("/dev/vfio/devices/" + name);
  for (const std::string& name : machine.list(function.path() + "/uio"))
    files.insert("/dev/" + name);
  open_files(machine, files, users);
}

}  // namespace

Outcome<std::vector<std::string>> users_of(Machine& machine, const PciFunction& function) {
  std::vector<std::string> users;
  if (auto done = network_users(machine, function, users); !done) return tl::unexpected<Failure>(done.error());
  disk_users(machine, function, users);
  driver_users(machine, function, users);
  if (function.vfs > 0)
    users.push_back(fmt::format("it has {} virtual functions (`vmuxctl host vfs {} 0` removes them)", function.vfs,
                                function.address.text()));
  // A driver of a network card without an interface: the interface lives elsewhere.
  const bool is_handed_over = function.driver.empty() || function.driver.rfind("vfio", 0) == 0 ||
                              function.driver.rfind("uio", 0) == 0 || function.driver == "igb_uio" ||
                              function.driver == "pci-stub";
  if (function.is_network() && !is_handed_over && function.interfaces.empty())
    users.push_back(
        fmt::format("its driver {} shows no interface here: it may be in another network namespace", function.driver));
  return users;
}

}  // namespace vmux::host

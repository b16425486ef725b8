// SPDX-License-Identifier: BSD-3-Clause
// Who would be hurt if a function lost its driver: addresses, routes, sockets, disks, virtual functions, programs.

#include <algorithm>
#include <map>
#include <set>

#include "base/text/format.hpp"
#include "host/look/disks.hpp"
#include "host/look/function.hpp"
#include "host/machine/openers.hpp"

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

/// Those who take frames past the kernel's stack: packet(7), AF_XDP, XDP programs, PPPoE.
Outcome<> socket_users(Machine& machine, const std::set<std::string>& names, Openers& openers,
                       std::vector<std::string>& users) {
  std::map<std::uint64_t, std::string> by_index;
  for (const std::string& name : names) {
    if (const auto index = machine.number("/sys/class/net/" + name + "/ifindex")) by_index.emplace(*index, name);
    const auto link = machine.network().link(name);
    if (link && link->has_xdp) users.push_back("an XDP program is attached to " + name);
  }
  // "sk RefCnt Type Proto Iface R Rmem User Inode"; Iface is 0 for sockets that listen to all interfaces.
  for (const std::string& line : lines(machine.text("/proc/net/packet"))) {
    const std::vector<std::string> parts = words(line);
    const auto index = parts.size() < 9 ? std::nullopt : parse_decimal(parts[4]);
    const auto inode = parts.size() < 9 ? std::nullopt : parse_decimal(parts[8]);
    if (index && inode && by_index.count(*index) != 0)
      openers.watch_socket(*inode, "has a packet socket on " + by_index[*index]);
  }
  const auto sockets = machine.network().xdp_sockets();
  if (!sockets) return refuse("ask the kernel for XDP sockets", sockets.error());
  for (const XdpSocket& socket : *sockets) {
    if (by_index.count(socket.interface) != 0)
      openers.watch_socket(
          socket.inode, fmt::format("has an XDP socket on queue {} of {}", socket.queue, by_index[socket.interface]));
  }
  for (const std::string& line : lines(machine.text("/proc/net/pppoe"))) {  // "Id Address Device"
    const std::vector<std::string> parts = words(line);
    if (parts.size() == 3 && names.count(parts[2]) != 0)
      users.push_back(fmt::format("a PPPoE session runs over {}", parts[2]));
  }
  return {};
}

Outcome<> network_users(Machine& machine, const PciFunction& function, Openers& openers,
                        std::vector<std::string>& users) {
  std::set<std::string> names;
  for (const Interface& interface : function.interfaces)
    collect_uppers(machine, interface.name, names, users);
  if (names.empty()) return {};
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
  return socket_users(machine, names, openers, users);
}

/// Whoever drives it, or something below it, from user space: the IOMMU group's file, and every device file below the
/// function: VFIO's (Linux 6.6, iommufd), UIO's, a PTP clock's, RDMA's, a GPU's, an NVMe controller's.
void watch_device_files(const Machine& machine, const PciFunction& function, Openers& openers) {
  if (function.driver.rfind("vfio", 0) == 0 && function.group)
    openers.watch_file("/dev/vfio/" + std::to_string(*function.group), "");
  for (const std::string& name : machine.list(function.path() + "/vfio-dev"))
    openers.watch_file("/dev/vfio/devices/" + name, machine.text(function.path() + "/vfio-dev/" + name + "/dev"));
  for (const std::string& name : machine.list(function.path() + "/uio"))
    openers.watch_file("/dev/" + name, machine.text(function.path() + "/uio/" + name + "/dev"));
  for (const std::string& number : machine.list("/sys/dev/char")) {
    const std::string path = machine.resolve("/sys/dev/char/" + number);
    if (!is_below(path, function.address)) continue;
    std::string name = path.substr(path.rfind('/') + 1);
    for (const std::string& line : lines(machine.text(path + "/uevent"))) {
      constexpr std::string_view kKey = "DEVNAME=";
      if (line.compare(0, kKey.size(), kKey) == 0) name = line.substr(kKey.size());
    }
    openers.watch_file("/dev/" + name, number);
  }
}

}  // namespace

Outcome<Usage> usage_of(Machine& machine, const PciFunction& function) {
  Usage usage;
  Openers openers;
  if (auto done = network_users(machine, function, openers, usage.users); !done)
    return tl::unexpected<Failure>(done.error());
  disk_users(machine, function, openers, usage);
  watch_device_files(machine, function, openers);
  const std::vector<std::string> programs = openers.find(machine);
  usage.users.insert(usage.users.end(), programs.begin(), programs.end());
  if (function.vfs > 0)
    usage.users.push_back(fmt::format("it has {} virtual functions (`vmuxctl host vfs {} 0` removes them)",
                                      function.vfs, function.address.text()));
  // A driver of a network card without an interface: the interface lives elsewhere.
  if (function.is_network() && serves_host(function.driver) && function.interfaces.empty())
    usage.users.push_back(
        fmt::format("its driver {} shows no interface here: it may be in another network namespace", function.driver));
  return usage;
}

Outcome<std::vector<std::string>> users_of(Machine& machine, const PciFunction& function) {
  auto usage = usage_of(machine, function);
  if (!usage) return tl::unexpected<Failure>(usage.error());
  return std::move(usage->users);
}

}  // namespace vmux::host

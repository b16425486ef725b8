// SPDX-License-Identifier: BSD-3-Clause
// PCI functions as sysfs shows them, and who uses one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "host/failure.hpp"
#include "host/machine/machine.hpp"
#include "host/machine/values.hpp"

namespace vmux::host {

inline constexpr const char* kPciDevices = "/sys/bus/pci/devices/";
inline constexpr const char* kPciDrivers = "/sys/bus/pci/drivers/";

struct Interface {
  std::string name;
  std::string mac;
  std::string state;     ///< operstate: "up", "down", "lowerlayerdown", ...
  long speed_mbit = -1;  ///< -1: unknown or no link
  bool is_up = false;    ///< by the administrator
  /// Of a card in switchdev mode: it stands for a function or port behind the card's switch ("pf0vf1"), and is no way
  /// to the wire.
  bool is_representor = false;
};

struct PciFunction {
  PciAddress address;
  std::uint32_t class_code = 0;  ///< 24 bits: class, subclass, programming interface
  std::uint16_t vendor = 0, device = 0;
  std::string driver;           ///< "" for none
  std::string driver_override;  ///< "" for none
  std::optional<unsigned> group;
  std::optional<unsigned> numa_node;
  unsigned vfs = 0, max_vfs = 0;
  std::optional<PciAddress> physical;  ///< of a virtual function
  std::optional<unsigned> vf_index;    ///< of a virtual function: which of its physical function
  std::string link_speed;              ///< "8.0 GT/s PCIe", "" if it has no PCIe link
  unsigned link_width = 0, max_link_width = 0;
  std::vector<Interface> interfaces;  ///< uplinks ("p0", "p1", ...) before others, representors last

  [[nodiscard]] bool is_network() const noexcept { return class_code >> 16 == 0x02; }
  [[nodiscard]] bool is_bridge() const noexcept { return class_code >> 16 == 0x06; }
  /// The interface through which it is told about its virtual functions; "" if it shows none here.
  [[nodiscard]] std::string uplink() const {
    return interfaces.empty() || interfaces.front().is_representor ? "" : interfaces.front().name;
  }
  [[nodiscard]] std::string path() const { return kPciDevices + address.text(); }
};

/// All functions of the machine, by address.
[[nodiscard]] std::vector<PciFunction> functions(const Machine& machine);
[[nodiscard]] std::optional<PciFunction> function_at(const Machine& machine, PciAddress address);
/// By PCI address ("0000:01:00.0", "01:00.0") or by a name of a network interface (altnames are names too).
[[nodiscard]] Outcome<PciFunction> find_function(const Machine& machine, const std::string& name);

/// "Ethernet controller", or "class 0a80".
[[nodiscard]] std::string class_name(std::uint32_t class_code);
/// "Intel Corporation 82576 Gigabit Network Connection" from the machine's pci.ids, or "8086:10c9".
[[nodiscard]] std::string device_name(const Machine& machine, const PciFunction& function);

/// Whether it is a driver through which the host uses a function, rather than one that keeps it for others (VFIO, UIO).
[[nodiscard]] bool serves_host(const std::string& driver);

/// The function that a path of sysfs below /sys/devices belongs to: the last address in it.
[[nodiscard]] std::optional<PciAddress> owner_of(const std::string& sysfs_path);
/// Whether a path of sysfs leads through the function.
[[nodiscard]] bool is_below(const std::string& sysfs_path, PciAddress function);
/// The function's PciFunction::uplink().
[[nodiscard]] std::string uplink_of(const Machine& machine, PciAddress address);
/// Names below /sys/class/`kind` ("net", "block") that belong to this function.
[[nodiscard]] std::vector<std::string> class_devices(const Machine& machine, const std::string& kind,
                                                     PciAddress address);

/// The other functions of its IOMMU group, bridges left out.
[[nodiscard]] std::vector<PciAddress> group_mates(const Machine& machine, const PciFunction& function);
/// The virtual functions that exist, by index.
[[nodiscard]] std::vector<PciAddress> virtual_functions(const Machine& machine, PciAddress physical);
/// Where `count` virtual functions are or will be.
[[nodiscard]] std::vector<PciAddress> expected_virtual_functions(const Machine& machine, PciAddress physical,
                                                                 unsigned count);

/// Who uses a function, and, where nobody does, what keeps others from beginning to.
struct Usage {
  /// Everything that would be hurt if the function lost its driver now, as clauses for a sentence about it ("ens1
  /// carries 10.0.0.1/24", "/dev/sda1 is mounted on /"). Empty: nobody uses it.
  std::vector<std::string> users;
  std::vector<UniqueFd> claims;  ///< of its disks: while they are open nobody can mount them
};
[[nodiscard]] Outcome<Usage> usage_of(Machine& machine, const PciFunction& function);

/// Usage::users of it now.
[[nodiscard]] Outcome<std::vector<std::string>> users_of(Machine& machine, const PciFunction& function);

}  // namespace vmux::host

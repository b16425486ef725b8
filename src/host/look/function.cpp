// SPDX-License-Identifier: BSD-3-Clause
#include "host/look/function.hpp"

#include <algorithm>
#include <array>
#include <tuple>

#include "base/text/format.hpp"

namespace vmux::host {
namespace {

template <class Number>
std::optional<Number> read_decimal(const Machine& machine, const std::string& path) {
  const auto value = machine.number(path);  // "-1" is none
  return value ? std::optional<Number>{static_cast<Number>(*value)} : std::nullopt;
}

std::optional<unsigned> vf_index_of(const Machine& machine, PciAddress physical, PciAddress vf) {
  const std::vector<PciAddress> all = virtual_functions(machine, physical);
  const auto found = std::find(all.begin(), all.end(), vf);
  return found == all.end() ? std::nullopt : std::optional{static_cast<unsigned>(found - all.begin())};
}

/// devlink's names for the ports of a switch (Documentation/networking/devlink/devlink-port.rst): "p0", "p0s1" are ways
/// out, "pf0", "pf0vf1", "pf0sf88" and "c1pf0vf1" stand for what is behind it.
struct PortName {
  bool is_uplink = false, is_representor = false;
  std::uint64_t number = 0;
};
PortName parse_port(std::string_view text) noexcept {
  const auto digits = [&](std::size_t at) {
    if (at > text.size()) return std::string_view{};
    const std::size_t end = std::min(text.find_first_not_of("0123456789", at), text.size());
    return text.substr(at, end - at);
  };
  PortName port;
  if (text.substr(0, 1) == "c" && !digits(1).empty()) text.remove_prefix(1 + digits(1).size());
  port.is_representor = text.substr(0, 2) == "pf" && !digits(2).empty();
  port.is_uplink = text.substr(0, 1) == "p" && !digits(1).empty();
  port.number = parse_decimal(digits(1)).value_or(0);
  return port;
}

Interface interface_at(const Machine& machine, const std::string& name) {
  constexpr std::uint64_t kIffUp = 1;  // net_device_flags, linux/if.h
  const std::string path = "/sys/class/net/" + name;
  Interface found{name, machine.text(path + "/address"), machine.text(path + "/operstate")};
  if (const auto speed = machine.number(path + "/speed")) found.speed_mbit = static_cast<long>(*speed);
  found.is_up = (parse_hex(machine.text(path + "/flags")).value_or(0) & kIffUp) != 0;
  found.is_representor = parse_port(machine.text(path + "/phys_port_name")).is_representor;
  return found;
}

/// Uplinks before interfaces that do not say what they are, representors last; among equals by the number of the port.
std::vector<std::string> interface_names(const Machine& machine, PciAddress address) {
  std::vector<std::string> names = machine.list(kPciDevices + address.text() + "/net");
  names.erase(std::remove_if(names.begin(), names.end(),
                             [&](const std::string& name) { return !machine.exists("/sys/class/net/" + name); }),
              names.end());
  if (names.empty()) names = class_devices(machine, "net", address);  // of a virtio device it is one step further down
  const auto rank = [&](const std::string& name) {
    const PortName port = parse_port(machine.text("/sys/class/net/" + name + "/phys_port_name"));
    const std::uint64_t kind = port.is_representor ? 2 : port.is_uplink ? 0 : 1;
    const std::uint64_t number =
        port.is_uplink ? port.number : machine.number("/sys/class/net/" + name + "/dev_port").value_or(0);
    return std::tuple{kind, number, name};
  };
  std::sort(names.begin(), names.end(), [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  return names;
}

std::optional<unsigned> link_index(const Machine& machine, const std::string& path) {
  const auto value = parse_decimal(machine.link(path));
  return value ? std::optional{static_cast<unsigned>(*value)} : std::nullopt;
}

/// The kernel's name of an interface that is called so, by that name or another; "" if there is none.
std::string interface_called(const Machine& machine, const std::string& name) {
  const bool is_plain = !name.empty() && name.find('/') == std::string::npos && name.front() != '.';
  if (!is_plain) return "";
  if (machine.exists("/sys/class/net/" + name)) return name;
  const auto link = machine.network().link(name);
  return link && machine.exists("/sys/class/net/" + link->name) ? link->name : "";
}

struct ClassName {
  std::uint32_t code;  ///< class and subclass
  const char* name;
};
// PCI Code and ID Assignment Specification, 1.
constexpr auto kClassNames = std::to_array<ClassName>({
    {0x0100, "SCSI controller"},     {0x0101, "IDE controller"},        {0x0104, "RAID controller"},
    {0x0106, "SATA controller"},     {0x0107, "SAS controller"},        {0x0108, "NVMe controller"},
    {0x0200, "Ethernet controller"}, {0x0207, "InfiniBand controller"}, {0x0280, "network controller"},
    {0x0300, "VGA controller"},      {0x0302, "3D controller"},         {0x0380, "display controller"},
    {0x0403, "audio device"},        {0x0600, "host bridge"},           {0x0601, "ISA bridge"},
    {0x0604, "PCI bridge"},          {0x0805, "SD host controller"},    {0x0880, "system peripheral"},
    {0x0c03, "USB controller"},      {0x0c05, "SMBus controller"},      {0x1200, "processing accelerator"},
});

}  // namespace

std::optional<PciFunction> function_at(const Machine& machine, PciAddress address) {
  PciFunction found{.address = address};
  const std::string path = found.path();
  const auto class_code = parse_hex(machine.text(path + "/class"));
  if (!class_code) return std::nullopt;
  found.class_code = static_cast<std::uint32_t>(*class_code);
  found.vendor = static_cast<std::uint16_t>(parse_hex(machine.text(path + "/vendor")).value_or(0));
  found.device = static_cast<std::uint16_t>(parse_hex(machine.text(path + "/device")).value_or(0));
  found.driver = machine.link(path + "/driver");
  found.driver_override = machine.text(path + "/driver_override");
  if (found.driver_override == "(null)") found.driver_override.clear();
  found.group = link_index(machine, path + "/iommu_group");
  found.numa_node = read_decimal<unsigned>(machine, path + "/numa_node");
  found.vfs = read_decimal<unsigned>(machine, path + "/sriov_numvfs").value_or(0);
  found.max_vfs = read_decimal<unsigned>(machine, path + "/sriov_totalvfs").value_or(0);
  found.physical = parse_pci_address(machine.link(path + "/physfn"));
  if (found.physical) found.vf_index = vf_index_of(machine, *found.physical, address);
  found.link_speed = machine.text(path + "/current_link_speed");
  found.link_width = read_decimal<unsigned>(machine, path + "/current_link_width").value_or(0);
  found.max_link_width = read_decimal<unsigned>(machine, path + "/max_link_width").value_or(0);
  for (const std::string& name : interface_names(machine, address))
    found.interfaces.push_back(interface_at(machine, name));
  return found;
}

std::vector<PciFunction> functions(const Machine& machine) {
  std::vector<PciFunction> all;
  for (const std::string& name : machine.list("/sys/bus/pci/devices")) {
    const auto address = parse_pci_address(name);
    if (!address) continue;
    if (auto function = function_at(machine, *address)) all.push_back(std::move(*function));
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.address < b.address; });
  return all;
}

Outcome<PciFunction> find_function(const Machine& machine, const std::string& name) {
  if (const auto address = parse_pci_address(name)) {
    if (auto found = function_at(machine, *address)) return *found;
    return refuse(
        Errc::not_found,
        fmt::format("there is no PCI function {} on this machine; `vmuxctl host list` shows all", address->text()));
  }
  const std::string interface = interface_called(machine, name);
  if (!interface.empty()) {
    const auto address = owner_of(machine.resolve("/sys/class/net/" + interface));
    if (!address) return refuse(Errc::invalid_argument, fmt::format("{} is no interface of a PCI function", name));
    const std::string port = machine.text("/sys/class/net/" + interface + "/phys_port_name");
    if (parse_port(port).is_representor)
      return refuse(
          Errc::invalid_argument,
          fmt::format("{} stands for {} of the switch in {} (switchdev): name that function itself by its PCI "
                      "address",
                      name, port, address->text()));
    return find_function(machine, address->text());
  }
  return refuse(
      Errc::not_found,
      fmt::format("'{}' is neither a PCI address such as 0000:01:00.0 nor a network interface of this machine", name));
}

std::string uplink_of(const Machine& machine, PciAddress address) {
  const std::vector<std::string> names = interface_names(machine, address);
  return names.empty() || interface_at(machine, names.front()).is_representor ? "" : names.front();
}

std::string class_name(std::uint32_t class_code) {
  const std::uint32_t code = class_code >> 8;
  const auto found =
      std::find_if(kClassNames.begin(), kClassNames.end(), [&](const auto& row) { return row.code == code; });
  return found == kClassNames.end() ? fmt::format("class {:04x}", code) : found->name;
}

std::string device_name(const Machine& machine, const PciFunction& function) {
  const std::string vendor = fmt::format("{:04x}  ", function.vendor);
  const std::string device = fmt::format("\t{:04x}  ", function.device);
  std::string found;
  // pci.ids: a vendor at the beginning of its line, its devices below it behind one tab.
  for (const std::string& line : lines(machine.text("/usr/share/misc/pci.ids"))) {
    if (found.empty()) {
      if (line.compare(0, vendor.size(), vendor) == 0) found = line.substr(vendor.size());
      continue;
    }
    if (line.compare(0, device.size(), device) == 0) return found + " " + line.substr(device.size());
    if (!line.empty() && line.front() != '\t' && line.front() != '#') break;
  }
  return fmt::format("{:04x}:{:04x}", function.vendor, function.device);
}

std::optional<PciAddress> owner_of(const std::string& sysfs_path) {
  std::optional<PciAddress> found;
  for (std::size_t at = 0; at < sysfs_path.size();) {
    const std::size_t end = std::min(sysfs_path.find('/', at), sysfs_path.size());
    if (const auto address = parse_pci_address(std::string_view{sysfs_path}.substr(at, end - at))) found = address;
    at = end + 1;
  }
  return found;
}

bool is_below(const std::string& sysfs_path, PciAddress function) {
  return sysfs_path.find("/" + function.text() + "/") != std::string::npos;
}

bool serves_host(const std::string& driver) {
  return !driver.empty() && driver.find("vfio") == std::string::npos && driver.rfind("uio", 0) != 0 &&
         driver != "igb_uio" && driver != "pci-stub" && driver != "pciback";
}

std::vector<std::string> class_devices(const Machine& machine, const std::string& kind, PciAddress address) {
  std::vector<std::string> found;
  for (const std::string& name : machine.list("/sys/class/" + kind)) {
    if (owner_of(machine.resolve("/sys/class/" + kind + "/" + name)) == address) found.push_back(name);
  }
  return found;
}

std::vector<PciAddress> group_mates(const Machine& machine, const PciFunction& function) {
  std::vector<PciAddress> mates;
  for (const std::string& name : machine.list(function.path() + "/iommu_group/devices")) {
    const auto address = parse_pci_address(name);
    if (!address || *address == function.address) continue;
    const auto class_code = parse_hex(machine.text(kPciDevices + name + "/class"));
    if (class_code && *class_code >> 16 != 0x06) mates.push_back(*address);
  }
  return mates;
}

std::vector<PciAddress> virtual_functions(const Machine& machine, PciAddress physical) {
  std::vector<PciAddress> all;
  while (true) {
    const auto next =
        parse_pci_address(machine.link(fmt::format("{}{}/virtfn{}", kPciDevices, physical.text(), all.size())));
    if (!next) return all;
    all.push_back(*next);
  }
}

std::vector<PciAddress> expected_virtual_functions(const Machine& machine, PciAddress physical, unsigned count) {
  std::vector<PciAddress> all = virtual_functions(machine, physical);
  if (all.size() == count) return all;
  all.clear();
  const std::string path = kPciDevices + physical.text();
  // PCI Express 9.3.3.9 and 9.3.3.10: first VF offset and stride count in routing IDs.
  const auto first = static_cast<unsigned>(machine.number(path + "/sriov_offset").value_or(0));
  const auto stride = static_cast<unsigned>(machine.number(path + "/sriov_stride").value_or(0));
  for (unsigned index = 0; first != 0 && index < count; ++index)
    all.push_back(offset(physical, first + index * stride));
  return all;
}

}  // namespace vmux::host

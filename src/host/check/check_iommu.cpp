// SPDX-License-Identifier: BSD-3-Clause
// The IOMMU: is there one, does the kernel use it, how, and how well does it keep devices apart?

#include <algorithm>
#include <map>

#include "base/text/format.hpp"
#include "host/check/checkup.hpp"

namespace vmux::host {
namespace {

constexpr const char* kGroups = "/sys/kernel/iommu_groups";

std::vector<std::string> iommus(const Checkup& c) { return c.machine.list("/sys/class/iommu"); }

/// Groups of VFIO's no-IOMMU mode are among the others, told apart by name (vfio_noiommu_group_alloc()). Nothing stands
/// between their devices and the memory of the host.
bool is_unprotected(const Checkup& c, const std::string& group) {
  return c.machine.text(fmt::format("{}/{}/name", kGroups, group)) == "vfio-noiommu";
}

/// By number: with an IOMMU behind them, or without.
std::vector<std::string> groups(const Checkup& c, bool are_protected) {
  std::vector<std::string> found = c.machine.list(kGroups);
  found.erase(std::remove_if(found.begin(), found.end(),
                             [&](const std::string& group) { return is_unprotected(c, group) == are_protected; }),
              found.end());
  return found;
}

bool is_active(const Checkup& c) { return !groups(c, true).empty(); }

/// The remapping hardware that the firmware tells of: ACPI tables, of which anybody sees the names.
const char* firmware_table(const Checkup& c) {
  if (c.machine.exists("/sys/firmware/acpi/tables/DMAR")) return "DMAR";
  if (c.machine.exists("/sys/firmware/acpi/tables/IVRS")) return "IVRS";
  return nullptr;
}

/// By the names of its units (dmar0, ivhd0) where it is active, else by the firmware's table, else by the processor.
bool is_amd_vi(const Checkup& c) {
  const std::vector<std::string> names = iommus(c);
  if (!names.empty()) return names.front().rfind("ivhd", 0) == 0;
  const char* const table = firmware_table(c);
  return table == nullptr ? c.is_amd() : table[0] == 'I';
}

const char* technology(const Checkup& c) { return is_amd_vi(c) ? "AMD-Vi" : "VT-d"; }

/// What on the command line keeps the IOMMU off; "" if nothing does. `iommu` and `amd_iommu` have no word that takes
/// their `off` back (arch/x86/kernel/pci-dma.c, drivers/iommu/amd/init.c); `intel_iommu` has (drivers/iommu/intel).
std::string switched_off(const Checkup& c) {
  if (!c.cmdline.last_of("iommu", {"off"}).empty()) return "iommu=off";
  if (is_amd_vi(c)) return c.cmdline.last_of("amd_iommu", {"off"}).empty() ? "" : "amd_iommu=off";
  return c.cmdline.last_of("intel_iommu", {"on", "off"}) == "off" ? "intel_iommu=off" : "";
}

/// ", intel_iommu=on,sm_on", "" if nothing is said about this machine's kind.
std::string parameters_of(const Checkup& c) {
  const char* const name = is_amd_vi(c) ? "amd_iommu" : "intel_iommu";
  const std::vector<std::string> options = c.cmdline.options(name);
  return options.empty() ? "" : fmt::format(", {}={}", name, fmt::join(options, ","));
}

/// What mends an IOMMU that the firmware tells of and the kernel does not use.
std::string how_to_use(const Checkup& c) {
  if (!is_amd_vi(c)) return c.add_parameter("intel_iommu=on iommu=pt");
  // The kernel uses AMD's by itself, and calls `amd_iommu=on` an unknown option.
  std::string text =
      "the kernel uses it by itself, if it can: `dmesg | grep AMD-Vi` as root has the reason; IOMMU: Enabled (not "
      "Auto) "
      "in the firmware's setup, a newer firmware";
  if (!c.cmdline.last_of("amd_iommu", {"on"}).empty()) text += "; amd_iommu=on means nothing to it";
  return text;
}

/// Bits of the VT-d capability register (VT-d specification 11.4.2), which sysfs shows in hex.
constexpr unsigned kPostedInterrupts = 59;

bool all_can_post(const Checkup& c) {
  const std::vector<std::string> names = iommus(c);
  return std::all_of(names.begin(), names.end(), [&](const std::string& name) {
    const auto cap = parse_hex(c.machine.text("/sys/class/iommu/" + name + "/intel-iommu/cap"));
    return (cap.value_or(0) >> kPostedInterrupts & 1) != 0;
  });
}

bool remaps_interrupts(const Checkup& c) {
  // The irq chips of remapped interrupts are called IR-..., by both vendors' drivers.
  return c.machine.text("/proc/interrupts").find(" IR-") != std::string::npos;
}

unsigned byte_at(const std::string& config, std::size_t at) {
  return at < config.size() ? static_cast<unsigned char>(config[at]) : 0;
}

/// The device/port type of the PCI Express capability (PCI Express 7.5.3.2); nullopt for a conventional function.
std::optional<unsigned> port_type(const std::string& config) {
  constexpr unsigned kCapabilities = 0x34, kExpress = 0x10;
  unsigned at = byte_at(config, kCapabilities) & ~3u;
  for (unsigned steps = 0; steps < 48 && at >= 0x40; ++steps) {
    if (byte_at(config, at) == kExpress) return byte_at(config, at + 2) >> 4;
    at = byte_at(config, at + 1) & ~3u;
  }
  return std::nullopt;
}
constexpr unsigned kRootPort = 4, kDownstreamPort = 6;

/// Extended capabilities of a function (PCI Express 7.6.3): the offset of the one with this ID, 0 if it has none.
unsigned extended_capability(const std::string& config, unsigned id) {
  const auto dword = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i)
      value |= static_cast<std::uint32_t>(static_cast<unsigned char>(config[at + i])) << (8 * i);
    return value;
  };
  unsigned at = 0x100;
  for (unsigned steps = 0; steps < 64 && at >= 0x100 && at + 8 <= config.size(); ++steps) {
    const std::uint32_t header = dword(at);
    if (header == 0 || header == ~0u) return 0;
    if ((header & 0xffff) == id) return at;
    at = header >> 20;
  }
  return 0;
}

constexpr unsigned kAcsId = 0x000d;       // PCI Express 7.7.11
constexpr unsigned kAcsControl = 6;       // 7.7.11.3
constexpr unsigned kAcsIsolating = 0x1d;  // source validation, P2P request and completion redirect, upstream forwarding

/// Why what is below this bridge may not be kept apart; "" if it is.
std::string leak_of(const std::string& config) {
  const auto type = port_type(config);
  if (!type || *type == 7 || *type == 8) return "leads to conventional PCI, which keeps nothing apart";
  if (*type != kRootPort && *type != kDownstreamPort) return "";  // an upstream port has nothing to decide
  const unsigned at = extended_capability(config, kAcsId);
  if (at == 0) return "has no ACS: what is below it may not be kept apart";
  const bool isolates = (byte_at(config, at + kAcsControl) & kAcsIsolating) == kAcsIsolating;
  return isolates ? "" : "has ACS that is not switched on: what is below it may not be kept apart";
}

/// The bridges between a function and the root complex, by the path of sysfs that leads to it.
std::vector<PciAddress> bridges_above(const Checkup& c, const PciFunction& function) {
  std::vector<PciAddress> found;
  const std::string path = c.machine.resolve(function.path());
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const auto address = parse_pci_address(std::string_view{path}.substr(at, end - at));
    if (address && *address != function.address) found.push_back(*address);
    at = end + 1;
  }
  return found;
}

}  // namespace

void check_iommu(Checkup& c) {
  const std::string off = switched_off(c);
  const std::vector<std::string> names = iommus(c);
  if (is_active(c)) {
    return c.good(fmt::format("{} active ({}{})", technology(c),
                              names.empty() ? "no name in sysfs" : fmt::format("{}", fmt::join(names, " ")),
                              parameters_of(c)));
  }
  if (!off.empty())
    return c.bad(fmt::format("switched off by {}", off), "remove it from the kernel's command line and reboot");
  const char* const table = firmware_table(c);
  if (table == nullptr) {
    return c.bad(
        fmt::format("the firmware tells of none (no ACPI table DMAR or IVRS){}", c.is_guest() ? ", this is a VM" : ""),
        c.is_guest()
            ? "give the VM one: QEMU `-M q35,kernel-irqchip=split -device intel-iommu,intremap=on,caching-mode=on`"
            : fmt::format("switch {} on in the firmware's setup (IOMMU, SR-IOV Support)", technology(c)));
  }
  c.bad(fmt::format("the machine has one (ACPI table {}), the kernel does not use it", table), how_to_use(c));
}

void check_iommu_mode(Checkup& c) {
  if (!is_active(c)) return c.unknown("no IOMMU is active", "");
  std::map<std::string, unsigned> modes;
  for (const std::string& group : groups(c, true)) {
    const std::string type = c.machine.text(fmt::format("{}/{}/type", kGroups, group));
    modes[type == "DMA"        ? "strict"
          : type == "DMA-FQ"   ? "lazy"
          : type == "identity" ? "passthrough"
          : type.empty()       ? ""
                               : "other"]++;
  }
  if (modes.count("") != 0) return c.unknown("this kernel or user does not see the groups' types");
  std::string text;
  for (const auto& [mode, count] : modes)
    text += fmt::format("{}{} ({} groups)", text.empty() ? "" : ", ", mode, count);
  // What a VM is given is mapped by VFIO whatever this says; it is the host's own drivers that pay.
  const bool is_strict = modes.count("strict") != 0;
  c.good(text, is_strict ? "strict costs the host's own drivers an invalidation per unmapping; for lazy " +
                               c.add_parameter("iommu.strict=0") + ", for passthrough `iommu=pt`"
                         : "");
}

void check_iommu_groups(Checkup& c) {
  const std::size_t count = groups(c, true).size();
  const std::vector<std::string> unprotected = groups(c, false);
  if (!unprotected.empty()) {
    c.bad(fmt::format("{} of VFIO's no-IOMMU mode ({}): their devices can write anywhere in this machine's memory, and "
                      "cannot be given to a VM",
                      unprotected.size(), fmt::join(unprotected, ", ")),
          "see the line `iommu`; then `echo N > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode` and bind them "
          "anew");
  }
  if (count == 0) {
    if (unprotected.empty()) c.bad("none: no device can be given to a VM", "see the line `iommu`");
    return;
  }
  bool has_shared = false;
  for (const PciFunction& function : c.all) {
    const bool is_concerned = c.nic ? function.address == c.nic->address : function.is_network();
    if (function.group && is_unprotected(c, std::to_string(*function.group))) continue;
    const std::vector<PciAddress> mates = is_concerned ? group_mates(c.machine, function) : std::vector<PciAddress>{};
    if (mates.empty()) continue;
    std::string others;
    for (const PciAddress mate : mates)
      others += " " + mate.text();
    has_shared = true;
    c.warn(fmt::format("{} shares group {} with{}: only one VM can have them all", function.address.text(),
                       *function.group, others),
           fmt::format("another slot, or all of them for one VM: `vmuxctl host bind {} --group`",
                       function.address.text()));
  }
  if (!has_shared && unprotected.empty())
    c.good(
        fmt::format("{}; {} alone in its own", count, c.nic ? c.nic->address.text() + " is" : "every network card is"));
}

void check_interrupt_remapping(Checkup& c) {
  const bool is_unsafe = is_yes(c.module_parameter("vfio_iommu_type1", "allow_unsafe_interrupts"));
  if (remaps_interrupts(c)) return c.good("on");
  if (!is_active(c)) return c.bad("off: no IOMMU is active", "see the line `iommu`");
  const std::string safe = c.cmdline.last_of("intremap", {"on", "off"}) == "off"
                               ? "remove intremap=off from the kernel's command line and reboot"
                               : "switch it on in the firmware's setup (VT-d interrupt remapping, x2APIC)";
  if (is_unsafe)
    return c.warn("off, and VFIO is told to go on (allow_unsafe_interrupts): a guest can forge the host's interrupts",
                  safe);
  c.bad("off: VFIO gives no device away", safe +
                                              "; for trusted guests only: `options vfio_iommu_type1 "
                                              "allow_unsafe_interrupts=1` in /etc/modprobe.d/vfio.conf");
}

void check_posted_interrupts(Checkup& c) {
  if (!is_active(c)) return c.unknown("no IOMMU is active", "");
  if (is_amd_vi(c)) {
    if (is_yes(c.module_parameter("kvm_amd", "avic"))) return c.good("AVIC is on");
    return c.warn("off: each interrupt of a device makes the VM exit",
                  "`options kvm_amd avic=1` in /etc/modprobe.d/kvm.conf (Zen 2 or later), then reload kvm_amd");
  }
  if (!c.machine.exists("/sys/class/iommu/" + (iommus(c).empty() ? std::string{} : iommus(c).front()) +
                        "/intel-iommu/cap"))
    return c.unknown("the IOMMU does not tell", "");
  if (!all_can_post(c))
    return c.warn("the IOMMU cannot: each interrupt of a device makes the VM exit", "none, a newer processor can");
  if (!c.cmdline.last_of("intremap", {"nopost"}).empty())
    return c.warn("switched off by intremap=nopost", "remove it from the kernel's command line and reboot");
  const std::string apicv = c.module_parameter("kvm_intel", "enable_apicv");
  if (apicv.empty()) return c.unknown("the IOMMU can; kvm_intel is not loaded", "`modprobe kvm_intel`");
  if (is_yes(apicv)) return c.good("the IOMMU and KVM deliver interrupts without an exit");
  c.warn("the IOMMU can, KVM does not use it",
         "`options kvm_intel enable_apicv=1` in /etc/modprobe.d/kvm.conf, then reload kvm_intel");
}

void check_acs(Checkup& c) {
  if (const auto value = c.cmdline.value("pcie_acs_override"))
    c.warn(fmt::format("pcie_acs_override={}: groups look separate that the hardware does not separate", *value),
           "remove it from the kernel's command line; devices of such groups can write into each other");
  std::map<PciAddress, std::string> leaky;
  bool is_hidden = false;
  bool has_ports = false;
  for (const PciFunction& function : c.all) {
    const bool is_concerned = c.nic ? function.address == c.nic->address : function.is_network();
    if (!is_concerned || function.physical) continue;
    for (const PciAddress bridge : bridges_above(c, function)) {
      const std::string config = c.machine.read(kPciDevices + bridge.text() + "/config").value_or("");
      if (config.size() <= 64) {  // all that an ordinary user gets
        is_hidden = true;
        continue;
      }
      has_ports = true;
      if (const std::string leak = leak_of(config); !leak.empty()) leaky[bridge] = leak;
    }
  }
  if (is_hidden) return c.unknown("an ordinary user does not see the ports' capabilities");
  for (const auto& [bridge, what] : leaky)
    c.warn(fmt::format("{} above a network card {}", bridge.text(), what),
           "what the groups say counts; another slot, or a port of the processor, may have it");
  if (leaky.empty()) c.good(has_ports ? "on at every port above network cards" : "no port above a network card");
}

}  // namespace vmux::host

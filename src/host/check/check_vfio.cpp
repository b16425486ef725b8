// SPDX-License-Identifier: BSD-3-Clause
// The kernel's VFIO, and the VMMs that use it or vfio-user.

#include <algorithm>
#include <array>

#include "base/text/format.hpp"
#include "host/check/checkup.hpp"

namespace vmux::host {
namespace {

/// Whether the running kernel could load it.
bool is_available(const Checkup& c, const std::string& file) {
  const std::string directory = "/lib/modules/" + c.machine.text("/proc/sys/kernel/osrelease");
  for (const char* list : {"/modules.dep", "/modules.builtin"}) {
    if (c.machine.text(directory + list).find("/" + file) != std::string::npos) return true;
  }
  return false;
}

struct Module {
  const char* name;  ///< in /sys/module
  const char* file;
};
constexpr auto kModules = std::to_array<Module>({
    {"vfio", "vfio.ko"},
    {"vfio_pci", "vfio-pci.ko"},
    {"vfio_iommu_type1", "vfio_iommu_type1.ko"},
});

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

/// "QEMU emulator version 7.2.13 (Debian ...)" -> "7.2.13".
std::string version_in(const std::string& line) {
  for (const std::string& word : words(line)) {
    const std::size_t digit = word.find_first_of("0123456789");
    if (digit <= 1 && word.find('.') != std::string::npos) return word.substr(digit);
  }
  return "unknown version";
}

struct Vmm {
  const char* program;
  const char* name;
  const char* question[2];  ///< option (and its value) whose answer has `sign` if it speaks vfio-user
  const char* sign;
  const char* since;
};
constexpr auto kVmms = std::to_array<Vmm>({
    {"qemu-system-x86_64",
     "QEMU",
     {"-device", "help"},
     "\"vfio-user-pci\"",
     "QEMU 10.1 or newer, built with vfio-user (Debian: qemu-system-x86 from trixie-backports)"},
    {"cloud-hypervisor", "cloud-hypervisor", {"--help", nullptr}, "--user-device", "a newer cloud-hypervisor"},
});

}  // namespace

void check_vfio_modules(Checkup& c) {
  std::vector<std::string> missing, impossible;
  for (const Module& module : kModules) {
    if (c.has_module(module.name)) continue;
    (is_available(c, module.file) ? missing : impossible).emplace_back(module.name);
  }
  const bool has_iommufd = c.machine.exists("/dev/iommu");
  if (missing.empty() && impossible.empty())
    return c.good(fmt::format("loaded; iommufd: {}", has_iommufd ? "yes" : "no, containers and groups are used"));
  if (!impossible.empty())
    return c.bad(
        fmt::format("this kernel has no {}", fmt::join(impossible, ", ")),
        "a kernel with CONFIG_VFIO_PCI and CONFIG_VFIO_IOMMU_TYPE1 (every distribution's, cloud flavours aside)");
  c.warn(fmt::format("not loaded: {}", fmt::join(missing, ", ")),
         "`modprobe vfio-pci` (`vmuxctl host bind` does it); at boot: `echo vfio-pci > /etc/modules-load.d/vfio.conf`");
}

void check_vfio_options(Checkup& c) {
  bool is_plain = true;
  const auto warn_if = [&](bool condition, const char* text, const char* mend) {
    if (!condition) return;
    is_plain = false;
    c.warn(text, mend);
  };
  if (!c.has_module("vfio") && !c.has_module("vfio_pci"))
    return c.unknown("the modules are not loaded", "`modprobe vfio-pci`");
  warn_if(is_yes(c.module_parameter("vfio", "enable_unsafe_noiommu_mode")),
          "vfio enable_unsafe_noiommu_mode=Y: devices may be used without protection",
          "`echo N > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode`");
  warn_if(is_yes(c.module_parameter("vfio_iommu_type1", "disable_hugepages")),
          "vfio_iommu_type1 disable_hugepages=Y: the IOMMU's tables use small pages only",
          "`echo N > /sys/module/vfio_iommu_type1/parameters/disable_hugepages`");
  const auto entries = parse_decimal(c.module_parameter("vfio_iommu_type1", "dma_entry_limit"));
  warn_if(entries && *entries < 65535,
          "vfio_iommu_type1 dma_entry_limit is below the usual 65535: a VM with an IOMMU of its own runs out",
          "`options vfio_iommu_type1 dma_entry_limit=65535` in /etc/modprobe.d/vfio.conf");
  const std::string ids = c.module_parameter("vfio_pci", "ids");
  if (is_plain) c.good(ids.empty() || ids == "(null)" ? "as the kernel has them" : "vfio-pci takes by itself: " + ids);
}

void check_vfio_access(Checkup& c) {
  if (c.machine.exists("/dev/vfio/vfio") && c.machine.access("/dev/vfio/vfio") != 0)
    c.bad("this user may not open /dev/vfio/vfio",
          "`chmod 666 /dev/vfio/vfio` as root (it gives nothing away by itself)");
  unsigned groups = 0, denied = 0, unprotected = 0;
  std::string first;
  for (const std::string& name : c.machine.list("/dev/vfio")) {
    if (name.rfind("noiommu-", 0) == 0) ++unprotected;
    if (!parse_decimal(name)) continue;
    ++groups;
    if (c.machine.access("/dev/vfio/" + name) != EACCES) continue;  // EBUSY is for open() to find out
    if (denied++ == 0) first = name;
  }
  if (groups == 0 && unprotected > 0)
    return c.bad(fmt::format("{} groups in /dev/vfio, all of the no-IOMMU mode: no VM can use them", unprotected),
                 "see the line `iommu`");
  if (groups == 0) return c.good("no function is bound to vfio-pci yet", "`vmuxctl host bind BDF`");
  if (denied == 0) return c.good(fmt::format("all {} groups in /dev/vfio can be opened", groups));
  c.warn(fmt::format("this user may not open {} of {} groups in /dev/vfio", denied, groups),
         fmt::format(
             "`chown $USER /dev/vfio/{}` as root; for good: `SUBSYSTEM==\"vfio\", GROUP=\"kvm\", MODE=\"0660\"` in "
             "/etc/udev/rules.d/60-vfio.rules",
             first));
}

void check_vmms(Checkup& c) {
  std::vector<std::pair<std::string, const Vmm*>> silent;
  bool has_speaker = false;
  for (const Vmm& vmm : kVmms) {
    const Ran version = c.machine.run({vmm.program, "--version"});
    if (version.status != 0) continue;
    const std::string name = fmt::format("{} {}", vmm.name, version_in(first_line(version.out)));
    std::vector<std::string> question{vmm.program, vmm.question[0]};
    if (vmm.question[1] != nullptr) question.emplace_back(vmm.question[1]);
    if (c.machine.run(question).out.find(vmm.sign) == std::string::npos) {
      silent.emplace_back(name, &vmm);
      continue;
    }
    has_speaker = true;
    c.good(name + " speaks vfio-user");
  }
  for (const auto& [name, vmm] : silent)
    c.add(has_speaker ? Verdict::warn : Verdict::bad,
          name + " does not speak vfio-user: it can use VFIO, and no vMux port", vmm->since);
  if (!has_speaker && silent.empty())
    c.warn("neither qemu-system-x86_64 nor cloud-hypervisor is found by PATH",
           "`apt install qemu-system-x86` (10.1 or newer)");
}

}  // namespace vmux::host

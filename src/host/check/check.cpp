// SPDX-License-Identifier: BSD-3-Clause
#include "host/check/check.hpp"

#include <algorithm>
#include <array>

#include "base/text/format.hpp"
#include "host/check/checkup.hpp"

namespace vmux::host {
namespace {

struct Row {
  const char* name;
  void (*run)(Checkup&);
};
constexpr auto kChecks = std::to_array<Row>({
    {"cpu virtualization", check_virtualization},
    {"kvm", check_kvm},
    {"nested", check_nested},
    {"iommu", check_iommu},
    {"iommu mode", check_iommu_mode},
    {"iommu groups", check_iommu_groups},
    {"acs", check_acs},
    {"interrupt remapping", check_interrupt_remapping},
    {"posted interrupts", check_posted_interrupts},
    {"vfio modules", check_vfio_modules},
    {"vfio options", check_vfio_options},
    {"vfio access", check_vfio_access},
    {"hugepages", check_hugepages},
    {"memlock", check_memlock},
    {"open files", check_open_files},
    {"isolated cpus", check_isolation},
    {"c-states", check_idle_states},
    {"governor", check_governor},
    {"smt", check_smt},
    {"nic numa", check_nic_place},
    {"nic link", check_nic_link},
    {"vmm", check_vmms},
});

}  // namespace

const char* name_of(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::good:
      return "good";
    case Verdict::warn:
      return "warn";
    case Verdict::bad:
      return "bad";
    case Verdict::unknown:
      return "unknown";
  }
  return "unknown";
}

Outcome<std::vector<Finding>> check(Machine& machine, const CheckRequest& request) {
  Checkup checkup{machine, request};
  if (!request.nic.empty()) {
    auto nic = find_function(machine, request.nic);
    if (!nic) return tl::unexpected<Failure>(nic.error());
    checkup.nic = std::move(*nic);
  }
  if (request.cpus) {
    const CpuSet online = parse_cpus(machine.text("/sys/devices/system/cpu/online")).value_or(CpuSet{});
    for (const unsigned cpu : *request.cpus) {
      if (!online.empty() && online.count(cpu) == 0)
        return refuse(Errc::not_found, fmt::format("CPU {} is not online here; these are: {}", cpu, to_text(online)));
    }
  }
  checkup.all = functions(machine);
  checkup.cmdline = CommandLine::parse(machine.text("/proc/cmdline"));
  checkup.cpuinfo = machine.text("/proc/cpuinfo");
  const std::vector<std::string> ids = words(field(machine.text("/proc/self/status"), "Uid"));
  checkup.is_root = ids.size() > 1 && ids[1] == "0";
  for (const Row& row : kChecks) {
    checkup.check = row.name;
    row.run(checkup);
  }
  return std::move(checkup.findings);
}

Verdict worst(const std::vector<Finding>& findings) noexcept {
  Verdict found = Verdict::good;
  for (const Finding& finding : findings) {
    if (finding.verdict != Verdict::unknown) found = std::max(found, finding.verdict);
  }
  return found;
}

bool Checkup::has_cpu_flag(const char* flag) const { return has_word(field(cpuinfo, "flags"), flag); }

bool Checkup::is_amd() const {
  const std::string vendor = field(cpuinfo, "vendor_id");
  return vendor == "AuthenticAMD" || vendor == "HygonGenuine";
}

std::string Checkup::add_parameter(const std::string& text) const {
  if (machine.exists("/etc/default/grub")) {
    const char* update =
        machine.exists("/usr/sbin/update-grub") ? "update-grub" : "grub2-mkconfig -o /boot/grub2/grub.cfg";
    return fmt::format("add `{}` to GRUB_CMDLINE_LINUX in /etc/default/grub, then `{}` and reboot", text, update);
  }
  if (machine.exists("/etc/kernel/cmdline"))
    return fmt::format("add `{}` to /etc/kernel/cmdline, then `kernel-install add-all` and reboot", text);
  return fmt::format("add `{}` to the kernel's command line and reboot", text);
}

}  // namespace vmux::host

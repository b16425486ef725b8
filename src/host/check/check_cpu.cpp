// SPDX-License-Identifier: BSD-3-Clause
// Processors: can they run VMs, and do they leave the threads that matter alone?

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "base/text/format.hpp"
#include "host/check/checkup.hpp"

namespace vmux::host {
namespace {

constexpr const char* kCpus = "/sys/devices/system/cpu";

std::string cpu_path(unsigned cpu) { return fmt::format("{}/cpu{}", kCpus, cpu); }

CpuSet online(const Checkup& c) {
  return parse_cpus(c.machine.text(std::string{kCpus} + "/online")).value_or(CpuSet{});
}

/// The CPUs that were asked about, else all.
CpuSet concerned(const Checkup& c) { return c.request.cpus.value_or(online(c)); }

const char* kvm_module(const Checkup& c) { return c.is_amd() ? "kvm_amd" : "kvm_intel"; }

bool is_x86(const Checkup& c) { return !field(c.cpuinfo, "vendor_id").empty() && !field(c.cpuinfo, "flags").empty(); }

/// An idle state that takes longer than this to leave is felt by packets.
constexpr std::uint64_t kSlowExitUs = 10;

/// The deepest state of a CPU that is allowed and slow to leave; "" if there is none.
std::string slow_state(const Machine& machine, unsigned cpu) {
  std::string found;
  const std::string path = cpu_path(cpu) + "/cpuidle";
  for (const std::string& state : machine.list(path)) {
    const std::string at = fmt::format("{}/{}", path, state);
    const auto latency = machine.number(at + "/latency");
    if (latency.value_or(0) > kSlowExitUs && machine.text(at + "/disable") == "0")
      found = fmt::format("{} ({} us to leave)", machine.text(at + "/name"), *latency);
  }
  return found;
}

}  // namespace

void check_virtualization(Checkup& c) {
  if (!is_x86(c)) return c.unknown("the processor is not an x86 one, this check knows no other", "");
  if (c.has_cpu_flag("vmx")) return c.good("Intel VT-x");
  if (c.has_cpu_flag("svm")) return c.good("AMD-V");
  const char* name = c.is_amd() ? "AMD-V (svm)" : "VT-x (vmx)";
  if (c.is_guest())
    return c.bad(
        fmt::format("this is a VM, and its processor has no {}: VMs in it will be emulated, slowly", name),
        fmt::format("on its host: `modprobe {} nested=1`, and give the VM the processor `-cpu host`", kvm_module(c)));
  c.bad(fmt::format("the processor offers no {}", name),
        "switch it on in the firmware's setup (Virtualization Technology, SVM Mode)");
}

void check_kvm(Checkup& c) {
  if (!c.machine.exists("/dev/kvm"))
    return c.bad("there is no /dev/kvm", fmt::format("`modprobe {}`; `dmesg | grep kvm` if it refuses", kvm_module(c)));
  if (c.machine.access("/dev/kvm") != 0)
    return c.bad("this user may not use /dev/kvm", "`usermod -aG kvm $USER` as root, then log in again");
  if (const int error = c.machine.try_kvm(); error != 0) {
    return c.bad(fmt::format("/dev/kvm makes no VM: {}", std::strerror(error)),
                 error == EBUSY ? "stop the other hypervisor that has the processor's virtualization"
                                : "`dmesg | grep -i kvm` has the reason");
  }
  if (is_x86(c) && !c.has_cpu_flag("vmx") && !c.has_cpu_flag("svm")) {
    return c.bad(
        "/dev/kvm makes VMs without VT-x or AMD-V: the kernel's own kind of VM, in which ordinary guests do not run",
        "as for cpu virtualization");
  }
  c.good("/dev/kvm makes VMs");
}

void check_nested(Checkup& c) {
  const std::string module = kvm_module(c);
  const std::string value = c.module_parameter(module, "nested");
  const std::string file =
      fmt::format("`options {} nested=1` in /etc/modprobe.d/kvm.conf, then reload {}", module, module);
  if (value.empty()) return c.unknown(module + " is not loaded", "");
  if (is_yes(value)) return c.good("VMs can run VMs");
  c.good("off; only VMs in VMs need it", file);
}

void check_isolation(Checkup& c) {
  const CpuSet isolated = parse_cpus(c.machine.text(std::string{kCpus} + "/isolated")).value_or(CpuSet{});
  const CpuSet quiet = parse_cpus(c.machine.text(std::string{kCpus} + "/nohz_full")).value_or(CpuSet{});
  const CpuSet all = online(c);
  if (isolated.empty() && !c.request.cpus) {
    if (all.size() < 4) return c.good(fmt::format("none; {} CPUs are too few to set any aside", all.size()));
    CpuSet rest = all;
    rest.erase(rest.begin(), std::next(rest.begin(), 2));
    return c.warn(
        "none: the scheduler may put anything beside pollers and vCPUs",
        c.add_parameter(fmt::format("isolcpus=managed_irq,domain,{0} nohz_full={0} rcu_nocbs={0}", to_text(rest))) +
            " (keep some CPUs for the host)");
  }
  if (!c.request.cpus)
    return c.good(fmt::format("{}, without ticks: {}", to_text(isolated), quiet.empty() ? "none" : to_text(quiet)));
  CpuSet shared;
  for (const unsigned cpu : *c.request.cpus) {
    if (isolated.count(cpu) == 0) shared.insert(cpu);
  }
  if (shared.empty()) return c.good(fmt::format("{} are set aside", to_text(*c.request.cpus)));
  CpuSet wanted = isolated;
  wanted.insert(shared.begin(), shared.end());
  c.warn(fmt::format("the scheduler may put anything on {}", to_text(shared)),
         c.add_parameter(fmt::format("isolcpus=managed_irq,domain,{0} nohz_full={0} rcu_nocbs={0}", to_text(wanted))));
}

void check_idle_states(Checkup& c) {
  if (!c.machine.exists(cpu_path(0) + "/cpuidle"))
    return c.good(c.is_guest() ? "none here: the hypervisor decides" : "the kernel uses none");
  CpuSet slow;
  std::string deepest;
  for (const unsigned cpu : concerned(c)) {
    const std::string state = slow_state(c.machine, cpu);
    if (state.empty()) continue;
    slow.insert(cpu);
    deepest = state;
  }
  if (slow.empty()) return c.good("no CPU uses a state that is slow to leave");
  c.warn(fmt::format("CPUs {} may sleep as deep as {}", to_text(slow), deepest),
         fmt::format("`cpupower -c {} idle-set -D {}`, or for good: {}", to_text(slow), kSlowExitUs,
                     c.add_parameter(c.is_amd() ? "processor.max_cstate=1" : "intel_idle.max_cstate=1")));
}

void check_governor(Checkup& c) {
  std::map<std::string, CpuSet> by_name;
  for (const unsigned cpu : concerned(c)) {
    const std::string name = c.machine.text(cpu_path(cpu) + "/cpufreq/scaling_governor");
    if (!name.empty()) by_name[name].insert(cpu);
  }
  if (by_name.empty()) return c.good("the kernel does not change frequencies here");
  if (by_name.size() == 1 && by_name.begin()->first == "performance") return c.good("performance");
  for (const auto& [name, cpus] : by_name) {
    if (name == "performance") continue;
    c.warn(fmt::format("{} on CPUs {}: frequencies follow the load, late", name, to_text(cpus)),
           fmt::format("`cpupower -c {} frequency-set -g performance`", to_text(cpus)));
  }
}

void check_smt(Checkup& c) {
  const std::string active = c.machine.text(std::string{kCpus} + "/smt/active");
  if (active != "1") return c.good(active.empty() ? "the processor has none" : "off");
  // Which of the CPUs that were asked about share a core?
  std::string shared;
  const CpuSet cpus = c.request.cpus.value_or(CpuSet{});
  for (const unsigned cpu : cpus) {
    const CpuSet siblings =
        parse_cpus(c.machine.text(cpu_path(cpu) + "/topology/thread_siblings_list")).value_or(CpuSet{});
    CpuSet both;
    for (const unsigned sibling : siblings) {
      if (cpus.count(sibling) != 0) both.insert(sibling);
    }
    if (both.size() > 1 && *both.begin() == cpu)
      shared += fmt::format("{}{}", shared.empty() ? "" : "; ", to_text(both));
  }
  if (!shared.empty())
    return c.warn(fmt::format("these share a core, so each gets about half of it: {}", shared),
                  "give a poller and a vCPU cores of their own, and leave the sibling idle (`echo 0 > "
                  "/sys/devices/system/cpu/cpuN/online`)");
  if (c.request.cpus) return c.good("on; the given CPUs are on cores of their own");
  c.good(fmt::format("on; CPU 0 shares its core with {}: do not pin two pollers to one core",
                     c.machine.text(cpu_path(0) + "/topology/thread_siblings_list")),
         "`echo off > /sys/devices/system/cpu/smt/control`");
}

}  // namespace vmux::host

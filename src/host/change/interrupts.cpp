// SPDX-License-Identifier: BSD-3-Clause
// Which CPUs an interrupt of a function may go to (Documentation/core-api/irq/irq-affinity.rst).

#include "host/change/resource.hpp"

#include <cerrno>

#include "base/text/format.hpp"

namespace vmux::host {
namespace {

struct Name {
  std::string function, irq;
};
Name split(const std::string& name) {
  const std::size_t slash = name.find('/');
  return {name.substr(0, slash), name.substr(slash + 1)};
}

/// Interrupt numbers are used again: one that is not this function's is not the one that was meant.
bool belongs(const Machine& machine, const Name& name) {
  const std::string path = kPciDevices + name.function;
  return machine.exists(path + "/msi_irqs/" + name.irq) || machine.text(path + "/irq") == name.irq;
}

std::string file_of(const std::string& irq) { return "/proc/irq/" + irq + "/smp_affinity_list"; }

Outcome<std::optional<State>> read_irq(Machine& machine, const std::string& text) {
  const Name name = split(text);
  if (!belongs(machine, name) || !machine.exists(file_of(name.irq))) return std::optional<State>{};
  return State{{"cpus", machine.text(file_of(name.irq))}};
}

/// What is not online of a list; "" if all of it is, or nobody knows.
std::string offline_of(const Machine& machine, const std::string& list) {
  const CpuSet online = parse_cpus(machine.text("/sys/devices/system/cpu/online")).value_or(CpuSet{});
  CpuSet offline = parse_cpus(list).value_or(CpuSet{});
  for (const unsigned cpu : online)
    offline.erase(cpu);
  return online.empty() ? "" : to_text(offline);
}

/// What write_affinity() of kernel/irq/proc.c and the irq chips behind it mean.
tl::unexpected<Failure> refused(const Machine& machine, const std::string& irq, const std::string& cpus,
                                const Error& error) {
  const std::string doing = fmt::format("place interrupt {} on CPUs {}", irq, cpus);
  if (error.sys == EIO || (error.sys == EPERM && error.what == std::string_view{"write"})) {  // EPERM since Linux 6.13
    return refuse(kManagedIrq, fmt::format("interrupt {} is managed: the kernel places it itself, as its driver asked, "
                                           "and lets nobody move it",
                                           irq));
  }
  const std::string offline = offline_of(machine, cpus);
  if (error.sys == EINVAL && !offline.empty()) {
    return refuse(
        Errc::not_found,
        fmt::format(
            "cannot {}: {} offline; `echo 1 > /sys/devices/system/cpu/cpuN/online` brings one back", doing,
            offline.find_first_of(",-") == std::string::npos ? "CPU " + offline + " is" : "CPUs " + offline + " are"));
  }
  if (error.sys == ENOSPC)
    return refuse(Errc::no_space,
                  fmt::format("cannot {}: they have no free interrupt vector left, take others", doing));
  return refuse(doing, error);
}

Outcome<> write_irq(Actuator& hands, const std::string& text, const State&, const State& to) {
  const Name name = split(text);
  const std::string cpus = get(to, "cpus");
  if (const auto done = hands.try_write(file_of(name.irq), cpus); !done)
    return refused(hands.machine(), name.irq, cpus, done.error());
  return {};
}

}  // namespace

const Kind kIrqKind{"irq", read_irq, write_irq};

}  // namespace vmux::host

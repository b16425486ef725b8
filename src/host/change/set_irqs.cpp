// SPDX-License-Identifier: BSD-3-Clause

#include <algorithm>

#include "base/text/format.hpp"
#include "host/operations.hpp"

namespace vmux::host {
namespace {

/// One that nobody has asked for yet has no place.
bool is_in_use(const Machine& machine, std::uint64_t irq) {
  return machine.exists(fmt::format("/proc/irq/{}/smp_affinity_list", irq));
}

/// MSI and MSI-X vectors if the function has any on, else its line.
std::vector<unsigned> numbers(const Machine& machine, const PciFunction& function) {
  std::vector<unsigned> all;
  const std::vector<std::string> vectors = machine.list(function.path() + "/msi_irqs");
  for (const std::string& name : vectors) {
    const auto irq = parse_decimal(name);
    if (irq && is_in_use(machine, *irq)) all.push_back(static_cast<unsigned>(*irq));
  }
  const auto line = machine.number(function.path() + "/irq");
  if (vectors.empty() && line.value_or(0) != 0 && is_in_use(machine, *line))
    all.push_back(static_cast<unsigned>(*line));
  std::sort(all.begin(), all.end());
  return all;
}

/// Each handler is a directory below the interrupt's.
std::string handler_of(const Machine& machine, const std::string& path) {
  for (const std::string& name : machine.list(path)) {
    if (machine.exists(path + "/" + name + "/.")) return name;
  }
  return "";
}

/// "42 (nvme0q1)"
std::string named(const Machine& machine, unsigned irq) {
  const std::string handler = handler_of(machine, fmt::format("/proc/irq/{}", irq));
  return handler.empty() ? std::to_string(irq) : fmt::format("{} ({})", irq, handler);
}

/// A note about those that the kernel keeps; a failure if there are no others.
Outcome<> tell_managed(Session& session, const PciFunction& function, std::size_t all,
                       const std::vector<std::string>& managed) {
  if (managed.empty()) return {};
  const std::string what = fmt::format(
      "the kernel places {} of {} itself, as {} driver asked, and lets nobody move {} (managed: the CPUs of each "
      "queue)",
      fmt::join(managed, ", "), function.address.text(), managed.size() == 1 ? "its" : "their",
      managed.size() == 1 ? "it" : "them");
  if (managed.size() == all) return refuse(kManagedIrq, what + "; isolcpus=managed_irq,... keeps them off CPUs");
  session.note("interrupts: " + what);
  return {};
}

bool has_irqbalance(const Machine& machine) {
  const std::vector<std::string> all = machine.list("/proc");
  return std::any_of(all.begin(), all.end(), [&](const std::string& name) {
    return parse_decimal(name) && machine.text("/proc/" + name + "/comm") == "irqbalance";
  });
}

}  // namespace

std::vector<IrqInfo> irqs(const Machine& machine, const PciFunction& function) {
  std::vector<IrqInfo> all;
  for (const unsigned irq : numbers(machine, function)) {
    const std::string path = fmt::format("/proc/irq/{}", irq);
    all.push_back({irq, handler_of(machine, path), machine.text(path + "/smp_affinity_list"),
                   machine.text(path + "/effective_affinity_list")});
  }
  return all;
}

Outcome<> set_irqs(Session& session, const IrqRequest& request) {
  const auto function = find_function(session.machine(), request.function);
  if (!function) return tl::unexpected<Failure>(function.error());
  const std::vector<unsigned> all = numbers(session.machine(), *function);
  if (all.empty())
    return refuse(Errc::not_found,
                  fmt::format("{} has no interrupt on: its driver asks for them when its interface is set up",
                              function->address.text()));
  if (request.cpus.empty()) return refuse(Errc::invalid_argument, "no CPU is given");
  const CpuSet online = parse_cpus(session.machine().text("/sys/devices/system/cpu/online")).value_or(CpuSet{});
  if (!std::includes(online.begin(), online.end(), request.cpus.begin(), request.cpus.end()))
    return refuse(Errc::not_found, fmt::format("not all of the CPUs {} are online; these are: {}",
                                               to_text(request.cpus), to_text(online)));
  auto cpu = request.cpus.begin();
  std::vector<std::string> managed;
  for (const unsigned irq : all) {
    const CpuSet one{*cpu};
    const std::string wanted = to_text(request.is_together ? request.cpus : one);
    const auto done = session.set(irq_of(function->address, irq), {{"cpus", wanted}});
    if (!done && done.error().code != kManagedIrq) return done;
    if (!done) {
      managed.push_back(named(session.machine(), irq));  // its CPU is for the next one
      continue;
    }
    if (++cpu == request.cpus.end()) cpu = request.cpus.begin();
  }
  if (auto done = tell_managed(session, *function, all.size(), managed); !done) return done;
  if (has_irqbalance(session.machine()))
    session.note("irqbalance runs and may move interrupts again: stop it, or give it --banirq for each of these");
  return {};
}

Outcome<> put_irqs_back(Session& session, const std::string& name) {
  const auto function = find_function(session.machine(), name);
  if (!function) return tl::unexpected<Failure>(function.error());
  const std::vector<Entry> entries = session.journal().entries();
  for (const Entry& entry : entries) {
    if (entry.resource.kind != "irq" || function_of(entry.resource) != function->address) continue;
    const auto now = find_kind("irq")->read(session.machine(), entry.resource.name);
    if (!now || !*now) continue;  // its driver gave it up
    if (auto done = session.set(entry.resource, entry.was); !done) return done;
  }
  return {};
}

}  // namespace vmux::host

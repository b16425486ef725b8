// SPDX-License-Identifier: BSD-3-Clause
// Which CPUs an interrupt of a function may go to (Documentation/core-api/irq/irq-affinity.rst).

#include "host/resource.hpp"

#include "base/format.hpp"

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

Outcome<> write_irq(Hands& hands, const std::string& text, const State&, const State& to) {
  const Name name = split(text);
  auto done = hands.write(file_of(name.irq), get(to, "cpus"));
  if (!done) done.error().text += "; the kernel places some interrupts itself (managed ones) and lets nobody move them";
  return done;
}

}  // namespace

const Kind kIrqKind{"irq", read_irq, write_irq};

}  // namespace vmux::host

// SPDX-License-Identifier: BSD-3-Clause
// One network card: is it near the CPUs that will serve it, and has its slot what it needs?

#include "host/check/checkup.hpp"

#include "base/text/format.hpp"

namespace vmux::host {
namespace {

CpuSet cpus_of_node(const Machine& machine, unsigned node) {
  return parse_cpus(machine.text(fmt::format("/sys/devices/system/node/node{}/cpulist", node))).value_or(CpuSet{});
}

}  // namespace

void check_nic_place(Checkup& c) {
  if (!c.nic) return;
  const std::string name = c.nic->address.text();
  if (!c.nic->numa_node) {
    const bool has_nodes = c.machine.exists("/sys/devices/system/node/node1");
    if (!has_nodes) return c.good(name + ": the machine has one memory node");
    return c.warn(name + " does not tell its memory node", "the firmware's setup or a newer firmware (ACPI _PXM)");
  }
  const unsigned node = *c.nic->numa_node;
  const CpuSet near = cpus_of_node(c.machine, node);
  if (!c.request.cpus) return c.good(fmt::format("{} is on node {}, with CPUs {}", name, node, to_text(near)));
  CpuSet far;
  for (const unsigned cpu : *c.request.cpus) {
    if (near.count(cpu) == 0) far.insert(cpu);
  }
  if (far.empty()) return c.good(fmt::format("{} and CPUs {} are on node {}", name, to_text(*c.request.cpus), node));
  c.warn(fmt::format("{} is on node {}, CPUs {} are not: every frame crosses between nodes", name, node, to_text(far)),
         fmt::format("use CPUs of {}, and memory of node {} (`vmuxctl host hugepages N --node {}`)", to_text(near),
                     node, node));
}

void check_nic_link(Checkup& c) {
  if (!c.nic || c.nic->link_width == 0) return;
  const PciFunction& nic = *c.nic;
  const std::string max_speed = c.machine.text(nic.path() + "/max_link_speed");
  const std::string now = fmt::format("{} x{}", nic.link_speed, nic.link_width);
  if (nic.link_width >= nic.max_link_width && (max_speed.empty() || max_speed == nic.link_speed))
    return c.good(fmt::format("{}: {}, all that it can", nic.address.text(), now));
  c.warn(fmt::format("{}: {}, it could do {} x{}", nic.address.text(), now, max_speed, nic.max_link_width),
         "a slot with that many lanes of that generation");
}

}  // namespace vmux::host

// SPDX-License-Identifier: BSD-3-Clause
#include "host/describe/vm_args.hpp"

#include <algorithm>

#include "base/text/format.hpp"

namespace vmux::host {
namespace {

struct Place {
  std::optional<unsigned> node;  ///< nullopt: the machine has one, or nobody knows which
  std::vector<unsigned> cpus;    ///< one for each vCPU; empty if there are too few
};

/// One CPU of each core before their siblings.
std::vector<unsigned> by_core(const Machine& machine, const CpuSet& cpus) {
  std::vector<unsigned> first, siblings;
  for (const unsigned cpu : cpus) {
    const CpuSet core =
        parse_cpus(machine.text(fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu)))
            .value_or(CpuSet{});
    (core.empty() || *core.begin() == cpu ? first : siblings).push_back(cpu);
  }
  first.insert(first.end(), siblings.begin(), siblings.end());
  return first;
}

Place place_of(const Machine& machine, const PciFunction& function, unsigned vcpus) {
  Place place{.node = function.numa_node};
  const std::string file = place.node ? fmt::format("/sys/devices/system/node/node{}/cpulist", *place.node)
                                      : std::string{"/sys/devices/system/cpu/online"};
  const CpuSet near = parse_cpus(machine.text(file)).value_or(CpuSet{});
  const CpuSet isolated = parse_cpus(machine.text("/sys/devices/system/cpu/isolated")).value_or(CpuSet{});
  CpuSet aside, others;
  for (const unsigned cpu : near)
    (isolated.count(cpu) != 0 ? aside : others).insert(cpu);
  place.cpus = by_core(machine, aside);
  const std::vector<unsigned> rest = by_core(machine, others);
  place.cpus.insert(place.cpus.end(), rest.begin(), rest.end());
  if (place.cpus.size() < vcpus) place.cpus.clear();
  place.cpus.resize(std::min<std::size_t>(place.cpus.size(), vcpus));
  return place;
}

std::string list_of(const std::vector<unsigned>& cpus) { return fmt::format("{}", fmt::join(cpus, ",")); }

std::vector<std::string> for_qemu(const PciFunction& function, const Place& place, const VmArgsRequest& request) {
  std::vector<std::string> lines{fmt::format("-smp {}", request.vcpus), fmt::format("-m {}", request.memory_mb)};
  if (place.node)
    lines.push_back(fmt::format(
        "-object memory-backend-ram,id=near,size={}M,host-nodes={},policy=bind -machine memory-backend=near",
        request.memory_mb, *place.node));
  // QEMU's host= takes domains of 16 bits.
  lines.push_back(function.address.domain > 0xffff
                      ? fmt::format("-device vfio-pci,sysfsdev=/sys/bus/pci/devices/{}", function.address.text())
                      : fmt::format("-device vfio-pci,host={}", function.address.text()));
  return lines;
}

std::vector<std::string> for_libvirt(const PciFunction& function, const Place& place, const VmArgsRequest& request) {
  const PciAddress& at = function.address;
  std::vector<std::string> lines{"<domain type='kvm'>",
                                 fmt::format("  <memory unit='MiB'>{}</memory>", request.memory_mb),
                                 fmt::format("  <vcpu placement='static'>{}</vcpu>", request.vcpus)};
  if (!place.cpus.empty()) {
    lines.emplace_back("  <cputune>");
    for (std::size_t vcpu = 0; vcpu < place.cpus.size(); ++vcpu)
      lines.push_back(fmt::format("    <vcpupin vcpu='{}' cpuset='{}'/>", vcpu, place.cpus[vcpu]));
    lines.emplace_back("  </cputune>");
  }
  if (place.node)
    lines.push_back(fmt::format("  <numatune><memory mode='strict' nodeset='{}'/></numatune>", *place.node));
  lines.insert(lines.end(),
               {"  <devices>", "    <hostdev mode='subsystem' type='pci' managed='no'>", "      <driver name='vfio'/>",
                "      <source>",
                fmt::format("        <address domain='0x{:04x}' bus='0x{:02x}' slot='0x{:02x}' function='0x{:x}'/>",
                            at.domain, at.bus, at.device, at.function),
                "      </source>", "    </hostdev>", "  </devices>", "</domain>"});
  return lines;
}

std::vector<std::string> for_cloud_hypervisor(const PciFunction& function, const Place& place,
                                              const VmArgsRequest& request) {
  std::string cpus = fmt::format("--cpus boot={}", request.vcpus);
  std::string pins;
  for (std::size_t vcpu = 0; vcpu < place.cpus.size(); ++vcpu)
    pins += fmt::format("{}{}@[{}]", pins.empty() ? "" : ",", vcpu, place.cpus[vcpu]);
  if (!pins.empty()) cpus += fmt::format(",affinity=[{}]", pins);
  std::vector<std::string> lines{cpus};
  lines.push_back(place.node ? fmt::format("--memory size=0 --memory-zone id=near,size={}M,host_numa_node={}",
                                           request.memory_mb, *place.node)
                             : fmt::format("--memory size={}M", request.memory_mb));
  lines.push_back(fmt::format("--device path=/sys/bus/pci/devices/{}/", function.address.text()));
  return lines;
}

/// What stands between the function and a VMM now.
std::vector<std::string> obstacles(const Machine& machine, const PciFunction& function) {
  std::vector<std::string> notes;
  const std::string address = function.address.text();
  const bool has_group = function.group && machine.text(function.path() + "/iommu_group/name") != "vfio-noiommu";
  if (!has_group) notes.push_back(address + " is behind no IOMMU: no VMM can use it; see vmuxctl host check");
  if (function.driver != "vfio-pci")
    notes.push_back(fmt::format("{} has {} now: vmuxctl host bind {} first", address,
                                function.driver.empty() ? "no driver" : "the driver " + function.driver, address));
  const std::vector<PciAddress> mates = has_group ? group_mates(machine, function) : std::vector<PciAddress>{};
  if (!mates.empty()) {
    std::string others;
    for (const PciAddress mate : mates)
      others += " " + mate.text();
    notes.push_back(
        fmt::format("its IOMMU group has{} as well: no other VM and no driver of the host may have them "
                    "(vmuxctl host bind {} --group)",
                    others, address));
  }
  return notes;
}

void note_place(const PciFunction& function, const Place& place, const VmArgsRequest& request, VmArgs& args) {
  const std::string node = place.node ? fmt::format(" of node {}", *place.node) : "";
  if (place.cpus.empty()) {
    args.notes.push_back(fmt::format("{} vCPUs are more than the CPUs{} that {} is near to: none is pinned",
                                     request.vcpus, node, function.address.text()));
  } else if (request.vmm == "qemu") {
    args.notes.push_back(
        fmt::format("pin each vCPU thread (QMP query-cpus-fast has their ids) to one of CPUs {}{}: "
                    "taskset -pc CPU TID; or the whole of QEMU: taskset -c {} qemu-system-x86_64 ...",
                    list_of(place.cpus), node, list_of(place.cpus)));
  } else {
    args.notes.push_back(
        fmt::format("vCPUs are on CPUs {}{}: no two VMs should have the same", list_of(place.cpus), node));
  }
  if (!place.node)
    args.notes.push_back(function.address.text() + " does not tell its memory node: any will do, if there is one only");
}

}  // namespace

Outcome<VmArgs> vm_args(Machine& machine, const VmArgsRequest& request) {
  const auto function = find_function(machine, request.function);
  if (!function) return tl::unexpected<Failure>(function.error());
  if (function->is_bridge())
    return refuse(Errc::invalid_argument,
                  function->address.text() + " is a bridge: the kernel's VFIO gives away what is below it");
  const Place place = place_of(machine, *function, request.vcpus);
  VmArgs args;
  args.notes = obstacles(machine, *function);
  note_place(*function, place, request, args);
  if (request.vmm == "qemu") {
    args.lines = for_qemu(*function, place, request);
  } else if (request.vmm == "libvirt") {
    args.lines = for_libvirt(*function, place, request);
    args.notes.emplace_back(
        "merge these elements into the domain; managed='no' leaves the driver to vmuxctl host, libvirt would take it "
        "back when the domain ends");
    if (function->address.domain > 0xffff)
      args.notes.emplace_back(
          "libvirt takes no PCI domains above 0xffff: give it to QEMU with sysfsdev=, see --vmm qemu");
  } else if (request.vmm == "cloud-hypervisor") {
    args.lines = for_cloud_hypervisor(*function, place, request);
  } else {
    return refuse(Errc::invalid_argument, fmt::format("--vmm: expected {}, got '{}'", kVmArgsVmms, request.vmm));
  }
  args.notes.emplace_back("the VM's memory is pinned as a whole: the VMM needs memlock for all of it");
  return args;
}

}  // namespace vmux::host

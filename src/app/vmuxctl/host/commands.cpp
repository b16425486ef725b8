// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/host/commands.hpp"

#include <array>

#include "app/vmuxctl/host/actions.hpp"
#include "app/vmuxctl/host/print.hpp"
#include "app/vmuxctl/print.hpp"

namespace vmux::app {
namespace {

constexpr auto kCommands = std::to_array<HostCommand>({
    {"check", false, false, declare_check, run_check, nullptr, table_of_findings, is_check_bad,
     "what this machine has, how good that is, what mends it",
     "Examples:\n  vmuxctl host check\n  vmuxctl host check --nic ens1f0 --cpus 2-5\n"
     "  vmuxctl --json host check | jq -r '.checks[] | select(.verdict == \"bad\") | .mend'\n"
     "Status 1 if anything is bad; warn and unknown (run it as root to know more) are not."},
    {"list", false, true, declare_list, run_list, nullptr, table_of_functions, nullptr,
     "functions: driver, IOMMU group, VFs, memory node, link",
     "Examples:\n  vmuxctl host list\n  vmuxctl host list --all\n  vmuxctl host list --filter driver=vfio-pci "
     "--columns address,group\n"
     "  vmuxctl --json host list ens1f0"},
    {"bind", true, true, declare_bind, run_bind, print_report, nullptr, nullptr,
     "give functions to vfio-pci or another driver",
     "A function that carries an address, a route or a mounted disk, or has VFs, is refused unless --force.\n"
     "Examples:\n  vmuxctl host bind 0000:01:00.0\n  vmuxctl host bind 01:10.0 01:10.2 01:10.4\n"
     "  vmuxctl host bind ens1f0 --group\n"
     "  vmuxctl host bind 01:10.0 --driver igbvf"},
    {"unbind", true, true, declare_functions, run_unbind, print_report, nullptr, nullptr,
     "give functions back to the driver they had", "Examples:\n  vmuxctl host unbind 0000:01:00.0"},
    {"vfs", true, false, declare_vfs, run_vfs, print_report, table_of_vfs, nullptr,
     "make, set, remove or show virtual functions",
     "Examples:\n  vmuxctl host vfs ens1f0\n  vmuxctl host vfs ens1f0 4 --mac 52:54:00:00:10:00 --driver vfio-pci\n"
     "  vmuxctl host vfs ens1f0 --vf 2 --vlan 30 --trust on --spoofchk off\n  vmuxctl host vfs ens1f0 0"},
    {"hugepages", true, false, declare_hugepages, run_hugepages, print_report, table_of_hugepages, nullptr,
     "set aside huge pages, or show them",
     "Examples:\n  vmuxctl host hugepages\n  vmuxctl host hugepages 1024\n"
     "  vmuxctl host hugepages 4 --size 1G --node 0\n  vmuxctl host hugepages 4 --size 1G --mount"},
    {"irq", true, false, declare_irq, run_irq, print_report, table_of_irqs, nullptr,
     "place a function's interrupts on CPUs, or show them",
     "Examples:\n  vmuxctl host irq ens1f0\n  vmuxctl host irq ens1f0 --cpus 2-5\n  vmuxctl host irq ens1f0 --back"},
    {"vm-args", false, false, declare_vm_args, run_vm_args, print_vm_args, nullptr, nullptr,
     "what to paste into the VMM that a function goes to by its own VFIO",
     "Memory and CPUs are those near the function. Examples:\n  vmuxctl host vm-args 0000:01:10.0\n"
     "  vmuxctl host vm-args 01:10.0 --vmm libvirt --vcpus 4 --memory 4096\n"
     "A port of vMux: see vmuxctl vm-args --help."},
    {"apply", true, false, declare_apply, run_apply, print_report, nullptr, nullptr,
     "make this machine as a file describes it",
     "Examples:\n  vmuxctl host apply /etc/vmux/host.toml --dry-run\n  vmuxctl host apply /etc/vmux/host.yaml\n"
     "The file: see vmux-host.toml(5)."},
    {"save", false, false, declare_save, run_save, print_saved, nullptr, nullptr,
     "describe this machine in the form that apply takes",
     "Examples:\n  vmuxctl host save > /etc/vmux/host.toml\n"
     "  vmuxctl host save --format yaml > /etc/vmux/host.yaml"},
    {"restore", true, true, declare_restore, run_restore, print_report, nullptr, nullptr,
     "undo everything that these commands changed",
     "Examples:\n  vmuxctl host restore --dry-run\n  vmuxctl host restore\n  vmuxctl host restore 0000:01:00.0"},
});

}  // namespace

std::span<const HostCommand> host_commands() noexcept { return kCommands; }

}  // namespace vmux::app

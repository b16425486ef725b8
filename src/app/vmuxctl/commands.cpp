// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/commands.hpp"

#include <array>

#include "app/vmuxctl/print.hpp"

namespace vmux::app {
namespace {

constexpr Argument kName{"NAME", "name", Take::text, true, "", "its name"};
constexpr Argument kSwitch{"--switch", "switch", Take::text, false, "SWITCH", "switch to join (default: default)"};
constexpr Argument kVlan{"--vlan", "vlan", Take::number, false, "N", "access port of this VLAN: untagged outside"};
constexpr Argument kTrunk{"--trunk", "trunk", Take::text,
                          false,     "LIST",  "trunk: VLANs that pass tagged, 10,20-30 or all"};
constexpr Argument kNative{"--native", "native", Take::number, false, "N", "trunk: VLAN of untagged frames"};
constexpr Argument kPoller{"--poller", "poller", Take::number,
                           false,      "N",      "poller to run on (default: the least loaded)"};

constexpr Argument kMayExist{"--may-exist", "may_exist", Take::yes,
                             false,         "",          "succeed if it is there already with the same settings"};
constexpr Argument kNames{"NAME", "name", Take::names, true, "", "its name; or several"};

constexpr auto kRemove =
    std::to_array<Argument>({kNames, {"--if-exists", "if_exists", Take::yes, false, "", "succeed if there is none"}});
constexpr auto kOnlyNames = std::to_array<Argument>({kNames});
constexpr auto kMaybeNames = std::to_array<Argument>({{"NAME", "name", Take::names, false, "", "only these"}});
constexpr auto kPortAdd = std::to_array<Argument>({
    kName,
    {"--model", "model", Take::text, true, "MODEL", "device model: see `vmuxctl models`"},
    {"--transport", "transport", Take::text, false, "TRANSPORT",
     "how the VM reaches it: see `vmuxctl models` (default: the model's first, vfio-user)"},
    {"--socket", "socket", Take::path, true, "PATH", "where the VMM connects"},
    {"--socket-owner", "socket_owner", Take::text, false, "USER",
     "owner of the socket, such as the VMM's user, by name or number (default: the daemon's)"},
    {"--socket-group", "socket_group", Take::text, false, "GROUP", "group of the socket (default: the daemon's)"},
    {"--socket-mode", "socket_mode", Take::text, false, "MODE",
     "permissions of the socket, octal, such as 0660 (default: the daemon's, else 0600)"},
    kSwitch,
    {"--mac", "mac", Take::text, false, "MAC", "address of the NIC (default: derived from the base MAC)"},
    kVlan,
    kTrunk,
    kNative,
    {"--doorbell", "doorbell", Take::text, false, "poll|trap",
     "how the guest rings (default: the daemon's, else the model's)"},
    {"--queues", "queues", Take::number, false, "N", "queue pairs (models with several only)"},
    {"--variant", "variant", Take::text, false, "VARIANT", "of the model: see `vmuxctl models` (default: its first)"},
    {"--device", "device", Take::text, false, "PCI", "physical function behind it (models that use one only)"},
    kPoller,
    kMayExist,
});
constexpr auto kSwitchAdd = std::to_array<Argument>({
    kName,
    {"--mac-age", "mac_age_s", Take::number, false, "SECONDS", "forget a silent address after this long (default 300)"},
    {"--forward-bpdu", "forward_bpdu", Take::flag, false, "true|false", "let spanning tree pass (default true)"},
    {"--group-forward-mask", "group_forward_mask", Take::number, false, "MASK",
     "bit n: let 01-80-C2-00-00-0n pass, such as 0x4000 for LLDP (default 0)"},
    kMayExist,
});
constexpr auto kUplinkAdd = std::to_array<Argument>({
    kName,
    kSwitch,
    {"--backend", "backend", Take::text, true, "BACKEND", "tap, null, dpdk, ...: see `vmuxctl backends`"},
    {"--device", "device", Take::text, false, "DEVICE", "tap: interface; dpdk: EAL device argument"},
    {"--queues", "queues", Take::number, false, "N", "queues (default 1)"},
    kVlan,
    kTrunk,
    kNative,
    kPoller,
    kMayExist,
});
constexpr auto kVmArgs = std::to_array<Argument>({
    {"NAME", "name", Take::names, true, "", "the port; or several"},
    {"--vmm", "vmm", Take::text, false, "VMM", "qemu, libvirt or cloud-hypervisor (default qemu)"},
    {"--memory", "memory_mb", Take::number, false, "MB", "memory of the VM (default 1024)"},
});
constexpr auto kLogLevel = std::to_array<Argument>({
    {"LEVEL", "level", Take::text, false, "",
     "trace, debug, info, warning, error or off; without it the level is shown"},
});
constexpr std::span<const Argument> kNone{};

constexpr auto kCommands = std::to_array<Command>({
    {"port", "add", "port.add", kPortAdd, print_port, nullptr, "add a port: one NIC for one VM"},
    {"port", "remove", "port.remove", kRemove, print_removed, nullptr,
     "remove ports; a VM that is attached loses the NIC"},
    {"port", "list", "port.list", kNone, nullptr, table_of_ports, "list ports"},
    {"port", "show", "port.show", kOnlyNames, print_port, nullptr, "show ports"},
    {"port", "stats", "port.stats", kMaybeNames, print_stats, table_of_stats, "show counters of ports"},
    {"switch", "add", "switch.add", kSwitchAdd, print_switch_added, nullptr, "add a switch"},
    {"switch", "remove", "switch.remove", kRemove, print_removed, nullptr,
     "remove switches that nothing is attached to"},
    {"switch", "list", "switch.list", kNone, nullptr, table_of_switches, "list switches"},
    {"switch", "show", "switch.show", kOnlyNames, print_switch, nullptr, "show switches' ports and MAC tables"},
    {"uplink", "add", "uplink.add", kUplinkAdd, print_uplink, nullptr,
     "add an uplink: a switch's way to the host or a NIC"},
    {"uplink", "remove", "uplink.remove", kRemove, print_removed, nullptr, "remove uplinks"},
    {"uplink", "list", "uplink.list", kNone, nullptr, table_of_uplinks, "list uplinks"},
    {"", "vm-args", "port.vm_args", kVmArgs, print_vm_args, nullptr, "what to paste into the VMM to attach a port"},
    {"", "pollers", "poller.list", kNone, nullptr, table_of_pollers, "list pollers and how busy they are"},
    {"", "models", "model.list", kNone, nullptr, table_of_models, "list device models"},
    {"", "backends", "backend.list", kNone, nullptr, table_of_backends, "list uplink backends"},
    {"", "log-level", "log.level", kLogLevel, print_log_level, nullptr, "show or set the daemon's log level"},
    {"", "version", "version", kNone, print_version, nullptr, "versions of vmuxctl and of the daemon"},
});

}  // namespace

std::span<const Command> commands() noexcept { return kCommands; }

}  // namespace vmux::app

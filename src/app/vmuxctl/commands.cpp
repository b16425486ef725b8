// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/commands.hpp"

#include <array>
#include <string_view>

#include "app/vmuxctl/print.hpp"
#include "control/model/spec/kinds.hpp"

namespace vmux::app {
namespace {

using control::Form;

/// How a kind of object is seen by people.
struct Shown {
  const char* kind;
  std::string (*print)(const control::Json& object);  ///< one that was added
  Table (*table)(const control::Json& list);
  const char* remove_help;
};
constexpr auto kShown = std::to_array<Shown>({
    {"port", print_port, table_of_ports, "remove ports; a VM that is attached loses the NIC"},
    {"switch", print_switch_added, table_of_switches, "remove switches that nothing is attached to"},
    {"uplink", print_uplink, table_of_uplinks, "remove uplinks"},
});

const Argument kNames{"NAME", "name", Take::names, true, "", "its name; or several"};
const Argument kMayExist{"--may-exist", "may_exist", Take::yes,
                         false,         "",          "succeed if it is there already with the same settings"};
const Argument kIfExists{"--if-exists", "if_exists", Take::yes, false, "", "succeed if there is none"};

Argument argument_of(const control::OptionText& option) {
  const bool is_required = option.fallback == nullptr;
  const bool is_name = option.name == std::string_view{"name"};
  return {is_name ? "NAME" : control::flags_of(option),
          option.name,
          *option.type == '\0' ? Take::yes : Take::value,
          is_required,
          is_name ? "" : option.type,
          control::help_of(option),
          option.form};
}

void add_kind(std::vector<Command>& commands, const control::KindText& kind, const Shown& shown) {
  const std::string name = kind.name;
  std::vector<Argument> arguments;
  for (const control::OptionText* option : kind.options)
    arguments.push_back(argument_of(*option));
  arguments.push_back(kMayExist);
  commands.push_back(
      {name, "add", name + ".add", std::move(arguments), shown.print, nullptr, std::string{"add "} + kind.what});
  commands.push_back(
      {name, "remove", name + ".remove", {kNames, kIfExists}, print_removed, nullptr, shown.remove_help});
  commands.push_back(
      {name, "list", name + ".list", {}, nullptr, shown.table, "list " + name + (name == "switch" ? "es" : "s")});
}

const std::array kOthers{
    Command{"port", "show", "port.show", {kNames}, print_port, nullptr, "show ports"},
    Command{"port",
            "stats",
            "port.stats",
            {{"NAME", "name", Take::names, false, "", "only these"}},
            print_stats,
            table_of_stats,
            "show counters of ports"},
    Command{"port",
            "save",
            "port.save",
            {{"NAME", "name", Take::value, true, "", "the port"},
             {"FILE", "", Take::file, true, "", "what to write; a file that is there is replaced when all is written"}},
            print_saved,
            nullptr,
            "save the state of a port's card to a file",
            FileUse::keeps_result},
    Command{"port",
            "restore",
            "port.restore",
            {{"NAME", "name", Take::value, true, "", "the port"},
             {"FILE", "", Take::file, true, "", "what port save has written, of a card like this one"}},
            print_restored,
            nullptr,
            "give a port's card a saved state; nobody may be attached, or its client has stopped it",
            FileUse::is_input},
    Command{"switch", "show", "switch.show", {kNames}, print_switch, nullptr, "show switches' ports and MAC tables"},
    Command{"",
            "vm-args",
            "port.vm_args",
            {{"NAME", "name", Take::names, true, "", "the port; or several"},
             {"--vmm", "vmm", Take::value, false, "VMM", "qemu, libvirt or cloud-hypervisor (default: qemu)"},
             {"--memory", "memory_mb", Take::value, false, "MB", "memory of the VM (default: 1024)", Form::number}},
            print_vm_args,
            nullptr,
            "what to paste into the VMM to attach a port"},
    Command{"", "pollers", "poller.list", {}, nullptr, table_of_pollers, "list pollers and how busy they are"},
    Command{"", "models", "model.list", {}, nullptr, table_of_models, "list device models"},
    Command{"", "backends", "backend.list", {}, nullptr, table_of_backends, "list uplink backends"},
    Command{
        "", "counters", "counter.list", {}, nullptr, table_of_counters, "list what ports, models and transports count"},
    Command{"",
            "events",
            "events",
            {{"--since", "since", Take::value, false, "N", "those behind event N (default: all that are kept)",
              Form::number},
             {"--follow", "", Take::follow, false, "", "go on as they happen, until the daemon ends"}},
            print_events,
            nullptr,
            "show what happened lately: objects, VMMs, guests' drivers, faults"},
    Command{"",
            "log-level",
            "log.level",
            {{"LEVEL", "level", Take::value, false, "",
              "trace, debug, info, warning, error or off; without it the level is shown"}},
            print_log_level,
            nullptr,
            "show or set the daemon's log level"},
    Command{
        "keeper", "status", "keeper.status", {}, print_keeper, nullptr, "show who keeps the daemon, and who took over"},
    Command{"keeper",
            "take-over",
            "keeper.take_over",
            {},
            print_drill,
            nullptr,
            "kill the daemon on purpose, to see the next one go on (a drill)"},
    Command{"",
            "upgrade",
            "daemon.upgrade",
            {{"--binary", "binary", Take::value, false, "PATH",
              "the program to go on with (default: the file that the keeper runs)"},
             {"--dry-run", "dry_run", Take::yes, false, "", "only say what would be carried over, or why not"}},
            print_rehearsal,
            nullptr,
            "go on with another program; VMs notice nothing, and the old one is back if it fails"},
    Command{"", "version", "version", {}, print_version, nullptr, "versions of vmuxctl and of the daemon"},
};

std::vector<Command> all_commands() {
  std::vector<Command> commands;
  for (const Shown& shown : kShown) {
    for (const control::KindText& kind : control::object_kinds()) {
      if (kind.name == std::string_view{shown.kind}) add_kind(commands, kind, shown);
    }
  }
  commands.insert(commands.end(), kOthers.begin(), kOthers.end());
  return commands;
}

}  // namespace

std::span<const Command> commands() noexcept {
  static const std::vector<Command> kCommands = all_commands();
  return kCommands;
}

}  // namespace vmux::app

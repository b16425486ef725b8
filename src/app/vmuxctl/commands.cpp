// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/commands.hpp"

#include <array>
#include <string_view>
#include <utility>

#include "app/vmuxctl/local/commands.hpp"
#include "app/vmuxctl/print.hpp"
#include "control/model/spec/kinds.hpp"
#include "control/rpc/method_text.hpp"

namespace vmux::app {
namespace {

/// How a kind of object is seen by people.
struct Shown {
  const char* kind;
  std::string (*print)(const control::Json& object);  ///< one that was added
  Table (*table)(const control::Json& list);
  const char* remove_help;
  const char* set_help;
};
constexpr auto kShown = std::to_array<Shown>({
    {"port", print_port, table_of_ports, "remove ports; a VM that is attached loses the NIC",
     "change settings of a port; a VM that is attached keeps the NIC"},
    {"switch", print_switch_added, table_of_switches, "remove switches that nothing is attached to",
     "change settings of a switch"},
    {"rule", print_rule, table_of_rules, "remove rules", "change a rule; its counters go on"},
    {"uplink", print_uplink, table_of_uplinks, "remove uplinks", "change settings of an uplink"},
});

const Argument kNames{"NAME", "name", Take::names, true, "", "its name; or several"};
const Argument kSomeNames{"NAME", "name", Take::names, false, "", "only these"};
const Argument kName{"NAME", "name", Take::value, true, "", "its name"};

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

/// A parameter of a method as an option.
Argument option_of(std::string_view method, std::string_view param) {
  return argument_of(control::find_param(method, param));
}
/// The same as a word without dashes.
Argument word_of(std::string_view method, std::string_view param) {
  Argument argument = option_of(method, param);
  argument.option = std::exchange(argument.type, "");
  return argument;
}

void add_kind(std::vector<Command>& commands, const control::KindText& kind, const Shown& shown) {
  const std::string name = kind.name;
  std::vector<Argument> arguments;
  for (const control::OptionText* option : kind.options)
    arguments.push_back(argument_of(*option));
  arguments.push_back(option_of(name + ".add", "may_exist"));
  commands.push_back(
      {name, "add", name + ".add", std::move(arguments), shown.print, nullptr, std::string{"add "} + kind.what});
  Argument settings{"KEY=VALUE", "", Take::settings, true, "", "KEY= stands for its default; keys are below"};
  for (const control::OptionText* option : kind.options) {
    if (option->name != std::string_view{"name"}) settings.keys.push_back(option);
  }
  commands.push_back({name,
                      "set",
                      name + ".set",
                      {kName, std::move(settings), option_of(name + ".set", "if_generation")},
                      print_changed,
                      nullptr,
                      shown.set_help});
  commands.push_back({name,
                      "remove",
                      name + ".remove",
                      {kNames, option_of(name + ".remove", "if_exists"), option_of(name + ".remove", "if_generation")},
                      print_removed,
                      nullptr,
                      shown.remove_help});
  commands.push_back(
      {name, "list", name + ".list", {}, nullptr, shown.table, "list " + name + (name == "switch" ? "es" : "s")});
}

const Argument kInterval{"--interval", "", Take::local, false, "SECONDS", "between two looks (default: 1)"};
const Argument kTimes{"--times", "", Take::local, false, "N", "stop after so many (default: never)"};

std::vector<Command> other_commands() {
  return {
      Command{"port", "show", "port.show", {kNames}, print_port, nullptr, "show ports"},
      Command{
          "port",
          "stats",
          "port.stats",
          {kSomeNames, {"--watch", "", Take::follow, false, "", "go on: what happens each second"}, kInterval, kTimes},
          print_stats,
          table_of_stats,
          "show counters of ports",
          FileUse::none,
          watch_ports,
          "--watch"},
      Command{
          "port",
          "save",
          "port.save",
          {kName,
           {"FILE", "", Take::file, true, "", "what to write; a file that is there is replaced when all is written"}},
          print_state_saved,
          nullptr,
          "save the state of a port's card to a file",
          FileUse::keeps_result},
      Command{"port",
              "restore",
              "port.restore",
              {kName, {"FILE", "", Take::file, true, "", "what port save has written, of a card like this one"}},
              print_restored,
              nullptr,
              "give a port's card a saved state; nobody may be attached, or its client has stopped it",
              FileUse::is_input},
      Command{"port",
              "dma",
              "port.dma",
              {kNames, option_of("port.dma", "translate"), option_of("port.dma", "physical")},
              print_dma,
              nullptr,
              "show what a VM has given to its card, and where an address of it lies"},
      Command{"switch", "show", "switch.show", {kNames}, print_switch, nullptr, "show switches' ports and MAC tables"},
      Command{"switch",
              "flush",
              "switch.flush",
              {kName, option_of("switch.flush", "port")},
              print_flushed,
              nullptr,
              "forget the addresses that a switch has learnt"},
      Command{"rule",
              "flush",
              "rule.flush",
              {option_of("rule.flush", "switch"), option_of("rule.flush", "port")},
              print_rules_flushed,
              nullptr,
              "remove the rules of a switch, all or those of a port"},
      Command{"",
              "vm-args",
              "port.vm_args",
              {kNames, option_of("port.vm_args", "vmm"), option_of("port.vm_args", "memory_mb"),
               option_of("port.vm_args", "viommu")},
              print_vm_args,
              nullptr,
              "what to paste into the VMM to attach a port"},
      Command{"",
              "top",
              "port.stats",
              {kSomeNames,
               {"--sort", "", Take::local, false, "COLUMN",
                "name, rx_fps, rx_bps, tx_fps, tx_bps, fps, bps or drops (default: bps)"},
               kInterval,
               kTimes},
              print_stats,
              nullptr,
              "show what ports do each second, the busiest on top",
              FileUse::none,
              show_top},
      Command{"",
              "doctor",
              "doctor",
              {kSomeNames, option_of("doctor", "over_s")},
              print_events,
              nullptr,
              "say why ports are dead or slow, and what to do; status 1 when anything but notes is found",
              FileUse::none,
              examine},
      Command{"",
              "bug-report",
              "version",
              {{"FILE", "", Take::local, false, "", "where to (default: a new file here); -: standard output"}},
              print_version,
              nullptr,
              "write state, counters, events and the log to a file for whoever looks for the cause; no frames",
              FileUse::none,
              write_bug_report},
      Command{"",
              "trace",
              "trace.start",
              {kName, {"--count", "", Take::local, false, "N", "end after so many records (default: never)"}},
              print_events,
              nullptr,
              "show registers, protocol messages and admin commands of a port as they pass",
              FileUse::none,
              trace_port},
      Command{"",
              "capture",
              "capture.start",
              {{"NAME", "name", Take::value, true, "", "a port, an uplink or a switch"},
               {"-w,--write", "", Take::local, false, "FILE",
                "where frames go; -: standard output (the default where that is no terminal)"},
               {"--filter", "", Take::local, false, "EXPRESSION",
                "only frames for which it holds, such as 'tcp port 80': pcap-filter(7)"},
               option_of("capture.start", "direction"),
               option_of("capture.start", "snaplen"),
               option_of("capture.start", "count"),
               option_of("capture.start", "dropped")},
              print_capture,
              nullptr,
              "write frames, and what became of them, to a file that Wireshark reads"},
      Command{"",
              "captures",
              "capture.list",
              {},
              nullptr,
              table_of_captures,
              "list the captures that are running, and those that ended last"},
      Command{
          "",
          "capture-stop",
          "capture.stop",
          {{"NUMBER", "capture", Take::value, true, "", "of a capture, as captures lists it", control::Form::number}},
          print_capture,
          nullptr,
          "end a capture, whoever began it"},
      Command{"config",
              "save",
              "config.get",
              {{"FILE", "", Take::local, false, "", "where to (default: the daemon's own file); -: standard output"}},
              print_reload,
              nullptr,
              "write the running set as a configuration file",
              FileUse::none,
              save_configuration},
      Command{"config",
              "diff",
              "config.diff",
              {{"FILE", "", Take::local, false, "", "a configuration file (default: the daemon's own)"}},
              print_reload,
              nullptr,
              "show what reading a configuration file would change",
              FileUse::none,
              compare_configuration},
      Command{"",
              "batch",
              "batch",
              {{"FILE", "", Take::local, true, "", "a list of {\"method\", \"params\"} in JSON; -: standard input"},
               option_of("batch", "if_generation"),
               option_of("batch", "dry_run")},
              print_reload,
              nullptr,
              "make several changes: all of them, or none",
              FileUse::none,
              make_batch},
      Command{"",
              "schema",
              "rpc.schema",
              {},
              print_schema,
              nullptr,
              "show what there is to know of every call, its parameters and errors"},
      Command{
          "", "reload", "config.reload", {}, print_reload, nullptr, "read the daemon's own configuration file again"},
      Command{"",
              "completion",
              "",
              {{"SHELL", "", Take::local, true, "", "bash, zsh or fish"}},
              print_reload,
              nullptr,
              "print what a shell needs to complete command lines",
              FileUse::none,
              print_completion},
      Command{"", "pollers", "poller.list", {}, nullptr, table_of_pollers, "list pollers and how busy they are"},
      Command{"", "models", "model.list", {}, nullptr, table_of_models, "list device models"},
      Command{"", "backends", "backend.list", {}, nullptr, table_of_backends, "list uplink backends"},
      Command{"",
              "counters",
              "counter.list",
              {},
              nullptr,
              table_of_counters,
              "list what ports, models and transports count"},
      Command{"",
              "events",
              "events",
              {option_of("events", "since"),
               {"--follow", "", Take::follow, false, "", "go on as they happen, until the daemon ends"}},
              print_events,
              nullptr,
              "show what happened lately: objects, VMMs, guests' drivers, faults"},
      Command{"",
              "log-level",
              "log.level",
              {word_of("log.level", "level"), option_of("log.level", "component")},
              print_log_level,
              nullptr,
              "show or set the daemon's log level"},
      Command{"keeper",
              "status",
              "keeper.status",
              {},
              print_keeper,
              nullptr,
              "show who keeps the daemon, and who took over"},
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
              {option_of("daemon.upgrade", "binary"), option_of("daemon.upgrade", "dry_run"),
               option_of("daemon.upgrade", "force")},
              print_rehearsal,
              nullptr,
              "go on with another program; VMs notice nothing, and the old one is back if it fails"},
      Command{"",
              "vf",
              "port.add",
              {{kVfAdd, "", Take::local, false, "PCI", "serve this virtio function to a VM"},
               {kVfSocket, "", Take::local, false, "PATH", "with --add: where the VMM connects (default: /tmp/vf-PCI)"},
               {kVfUuid, "", Take::local, false, "UUID", "taken and not needed: a VM is known by its memory"},
               {kVfRemove, "", Take::local, false, "PCI", "serve it no longer"},
               {kVfList, "", Take::local, false, "PCI", "list the served functions of this physical one"},
               {kVfInfo, "", Take::local, false, "PCI", "show a function that is served"},
               {kVfDebug, "", Take::local, false, "PCI", "with --operation 6: whether its queues run"},
               {kVfOperation, "", Take::local, false, "N", "6 alone"}},
              print_port,
              nullptr,
              "virtio functions in vfe-vhostd's words; the answer is JSON (docs/virtio-functions.md)",
              FileUse::none,
              manage_vf},
      Command{"",
              "mgmtpf",
              "port.list",
              {{kVfAdd, "", Take::local, false, "PCI", "see whether there is such a physical function"},
               {kVfRemove, "", Take::local, false, "PCI", "see whether no port has a function of it"},
               {kVfList, "list", Take::yes, false, "", "list those of which ports have functions"}},
              print_port,
              nullptr,
              "owners of virtio functions in vfe-vhostd's words; the answer is JSON",
              FileUse::none,
              manage_pf},
      Command{"", "version", "version", {}, print_version, nullptr, "versions of vmuxctl and of the daemon"},
  };
}

std::vector<Command> all_commands() {
  std::vector<Command> commands;
  for (const Shown& shown : kShown) {
    for (const control::KindText& kind : control::object_kinds()) {
      if (kind.name == std::string_view{shown.kind}) add_kind(commands, kind, shown);
    }
  }
  for (Command& command : other_commands())
    commands.push_back(std::move(command));
  return commands;
}

}  // namespace

std::span<const Command> commands() noexcept {
  static const std::vector<Command> kCommands = all_commands();
  return kCommands;
}

}  // namespace vmux::app

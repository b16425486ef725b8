// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/method_text.hpp"

#include <algorithm>
#include <limits>

#include "control/model/spec/kinds.hpp"
#include "vmux/base/assert.hpp"

namespace vmux::control {
namespace {

constexpr OptionText kObjectName{"name", Form::name, "NAME", "its name", nullptr};
constexpr OptionText kPortsName{"name", Form::name, "NAME", "of a port", nullptr};
constexpr OptionText kIfGeneration{"if_generation", Form::number, "N",
                                   "fail if it has changed since its generation was N", "any"};
constexpr OptionText kCapture{"capture", Form::number, "N", "its number", nullptr};
constexpr OptionText kTrace{"trace", Form::number, "N", "its number", nullptr};
constexpr OptionText kMayExist{"may_exist", Form::flag, "", "succeed if it is there already with the same settings",
                               "false"};
constexpr OptionText kIfExists{"if_exists", Form::flag, "", "succeed if there is none", "false"};

std::vector<MethodText> fixed_texts() {
  return {
      {"backend.list", "the backends of uplinks", {}, "list of {backend, description, built}"},
      {"batch",
       "several calls of KIND.add, KIND.set and KIND.remove: all of them are made, or none is",
       {{"calls", Form::calls, "", "list of {method, params}, in their order", nullptr},
        {"if_generation", Form::number, "N", "fail if anything has changed since the daemon's generation was N", "any"},
        {"dry_run", Form::flag, "", "look whether they could be made, as far as that can be told", "false"}},
       "{results, generation}"},
      {"capture.list", "the captures that are running, and those that ended last", {}, "list of captures"},
      {"capture.show", "a capture", {kCapture}, "{capture, name, kind, uid, ..., frames, missed, end, why}"},
      {"capture.start",
       "begins to capture frames; one end of a UNIX stream socket goes with the call, and pcapng comes out of the "
       "other",
       {{"name", Form::name, "NAME", "of a port, an uplink or a switch", nullptr},
        {"direction", Form::text, "WAY", "in (what a port sends into the switch), out (what is for it) or both",
         "both; of a switch without `dropped` in"},
        {"snaplen", Form::number, "BYTES",
         "keep so many bytes of each frame; 0: all. More than 128 takes the role admin", "128", nullptr, 0, 262'144},
        {"count", Form::number, "N", "end after so many frames", "never"},
        {"dropped", Form::flag, "", "only frames that were dropped, each with its reason", "false"},
        {"filter", Form::text, "PROGRAM", "classic BPF for Ethernet, as xt_bpf has it: N,CODE JT JF K,...",
         "all frames"},
        {"filter_text", Form::text, "TEXT", "what the filter was made of, for people", ""}},
       "the capture"},
      {"capture.stop", "ends a capture, whoever began it", {kCapture}, "the capture"},
      {"config.diff",
       "what a configuration would change if it were read",
       {{"text", Form::text, "", "a configuration file's content", "the daemon's own file, as it is now"},
        {"name", Form::text, "", "what to call it in messages", "the configuration"}},
       "as config.reload"},
      {"config.get", "the running set as a configuration file", {}, "{text, file, generation}"},
      {"config.reload",
       "reads the daemon's own configuration file again",
       {},
       "{removed, added, changed, unchanged, calls, kept, takes_restart, failed}"},
      {"counter.list",
       "what ports, pollers, models and transports count",
       {},
       "list of {of, name, unit, meaning, kind}"},
      {"daemon.upgrade",
       "goes on with another program; VMs notice nothing, and the old one is back if it fails",
       {{"binary", Form::text, "PATH", "the program to go on with", "the file that the keeper runs"},
        {"dry_run", Form::flag, "", "only say what would be carried over, or why not", "false"},
        {"force", Form::flag, "", "also if VMs lose a card that cannot be handed over", "false"}},
       "{would}"},
      {"keeper.status", "who keeps the daemon, and who took over", {}, "an object"},
      {"keeper.take_over", "kills the daemon on purpose, to see the next one go on (a drill)", {}, "{pid}"},
      {"doctor",
       "what is wrong with ports, uplinks and pollers, and what to do about it",
       {{"name", Form::name, "NAME", "only this port, its pollers and its uplinks", "all"},
        {"over_s", Form::number, "SECONDS", "look at what goes on for so long", "1", "--over", 0, 20}},
       "{findings, looked_at, seconds}"},
      {"events",
       "what happened lately",
       {{"since", Form::number, "N", "those behind event N", "all that are kept"},
        {"wait_s", Form::number, "SECONDS", "wait that long for something to say", "0", nullptr, 0, 3600}},
       "{events, next, lost}"},
      {"log.level",
       "the daemon's log level, after setting it if one is given",
       {{"level", Form::log_level, "LEVEL", "trace, debug, info, warning, error or off", "as it is"},
        {"component", Form::text, "NAME",
         "of this part of the program alone, as folders of its sources are called (device, vfio_user, ...); without a "
         "level it has that of the daemon again",
         "all that have none of their own"}},
       "{level, components?}"},
      {"log.lines", "the last lines of the daemon's log", {}, "{lines}"},
      {"model.list", "device models", {}, "list of {model, mode, description, max_queues, doorbell, variants, ...}"},
      {"poller.list", "the threads that move frames", {}, "list of {poller, cpu, ports, rounds, busy_rounds, ...}"},
      {"port.dma",
       "what a VM has given to its card, and where an address of it lies",
       {kPortsName,
        {"translate", Form::text, "ADDRESS", "where this address of the VM's (as its card uses it) lies", "none"},
        for_admins({"physical", Form::flag, "", "and the address in this machine's memory", "false"})},
       "{name, connected, client, bytes, ranges, not_shown, files, translated?}"},
      {"port.restore",
       "gives a port's card a saved state; a memory file goes with the call",
       {kPortsName},
       "{name, bytes}"},
      {"port.save",
       "saves the state of a port's card to the memory file that goes with the call",
       {kPortsName},
       "{name, bytes}"},
      {"port.show", "a port in full", {kPortsName}, "the port"},
      {"port.stats",
       "counters of ports",
       {{"name", Form::name, "NAME", "only this one", "all"}},
       "list of {name, connected, counters, lanes, model, client}"},
      {"port.vm_args",
       "what to paste into a VMM to attach a port",
       {kPortsName,
        {"vmm", Form::text, "VMM", "qemu, libvirt or cloud-hypervisor", "qemu"},
        {"viommu", Form::text, "MODE", "an IOMMU for the guest, and how to use it: none, strict, shadow or pt", "none"},
        {"memory_mb", Form::number, "MB", "memory of the VM", "1024", "--memory", 16, 16u << 20}},
       "{name, vmm, lines, notes}"},
      {"rule.flush",
       "removes the rules of a switch, all or those of a port",
       {{"switch", Form::name, "SWITCH", "whose rules", kDefaultSwitch},
        {"port", Form::name, "PORT", "only those of this port or uplink", "all"}},
       "{switch, flushed}"},
      {"rpc.methods", "the names of all methods", {}, "list of names"},
      {"rpc.schema", "all that there is to know of methods, their parameters, errors and events", {}, "an object"},
      {"switch.flush",
       "forgets the addresses that a switch has learnt",
       {kObjectName, {"port", Form::name, "PORT", "only those learnt from this port or uplink", "all"}},
       "{name, flushed}"},
      {"switch.show",
       "a switch with its ports and its MAC table",
       {kObjectName},
       "the switch, with ports, mac_table and turns"},
      {"trace.list", "the traces that are running", {}, "list of traces"},
      {"trace.read",
       "the oldest records of a trace, which are gone then; for whoever began it",
       {kTrace},
       "the trace, with records"},
      {"trace.start",
       "begins to record what passes between a VM and its card: registers, messages, commands, no frames",
       {kPortsName},
       "{trace, name, uid, records_read, missed, over}"},
      {"trace.stop", "ends a trace, whoever began it", {kTrace}, "the trace"},
      {"version",
       "of the daemon, and of each process of one that has a keeper",
       {},
       "{name, version, build, pid, processes?}"},
  };
}

void add_kind(std::vector<MethodText>& texts, const KindText& kind) {
  const std::string name = kind.name, what = kind.what;
  MethodText add{name + ".add", "adds " + what, {}, "the " + name};
  MethodText set{name + ".set", "changes settings; null stands for a default", {}, "the " + name + ", and changed"};
  for (const OptionText* option : kind.options) {
    add.params.push_back(*option);
    set.params.push_back(*option);
    if (option->name != std::string_view{"name"}) set.params.back().fallback = "as it is";
  }
  add.params.push_back(kMayExist);
  set.params.push_back(kIfGeneration);
  texts.push_back(std::move(add));
  texts.push_back(std::move(set));
  texts.push_back({name + ".list", "all of them", {}, "a list"});
  texts.push_back({name + ".remove", "removes it", {kObjectName, kIfExists, kIfGeneration}, "{removed}"});
}

std::vector<MethodText> all_texts() {
  std::vector<MethodText> texts = fixed_texts();
  for (const KindText& kind : object_kinds())
    add_kind(texts, kind);
  std::sort(texts.begin(), texts.end(), [](const MethodText& a, const MethodText& b) { return a.name < b.name; });
  return texts;
}

}  // namespace

std::span<const MethodText> method_texts() {
  static const std::vector<MethodText> kTexts = all_texts();
  return kTexts;
}

const MethodText* find_method(std::string_view name) {
  const auto all = method_texts();
  const auto found = std::find_if(all.begin(), all.end(), [name](const MethodText& one) { return one.name == name; });
  return found == all.end() ? nullptr : &*found;
}

const OptionText& find_param(std::string_view method, std::string_view param) {
  const MethodText* const text = find_method(method);
  VMUX_ASSERT(text != nullptr);
  const auto found = std::find_if(text->params.begin(), text->params.end(),
                                  [param](const OptionText& one) { return one.name == param; });
  VMUX_ASSERT(found != text->params.end());
  return *found;
}

namespace {

Json type_of(const OptionText& option) {
  constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();
  switch (option.form) {
    case Form::number: {
      Json type{{"type", "integer"}, {"minimum", option.min}};
      if (option.max != kAny) type["maximum"] = option.max;
      return type;
    }
    case Form::flag:
      return {{"type", "boolean"}};
    case Form::doorbell:
      return {{"enum", {"poll", "trap"}}};
    case Form::link:
      return {{"enum", {"up", "down"}}};
    case Form::log_level:
      return {{"enum", {"trace", "debug", "info", "warning", "error", "off"}}};
    case Form::name:
      return {{"type", "string"}, {"pattern", "^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$"}};
    case Form::mirror:
      return {{"type", "string"}, {"pattern", "^[A-Za-z0-9][A-Za-z0-9._-]{0,31}(:(in|out|both))?$"}};
    case Form::limit:
      return {{"type", "string"}, {"pattern", "^([0-9]+[kKMG]?|[0-9]+[kKMG]?pps|burst=[0-9]+[kKMG]?)(,|$)"}};
    case Form::rule_action:
      return {{"enum", {"allow", "drop", "count"}}};
    case Form::way:
      return {{"enum", {"in", "out"}}};
    case Form::mac_match:
      return {{"type", "string"},
              {"pattern", "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}(/[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5})?$"}};
    case Form::l4_ports:
      return {{"type", "string"}, {"pattern", "^[0-9]{1,5}(-[0-9]{1,5})?$"}};
    case Form::mac:
      return {{"type", "string"}, {"pattern", "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$"}};
    case Form::mode:
      return {{"type", "string"}, {"pattern", "^(0o?)?[0-7]{1,4}$"}};
    case Form::calls:
      return {{"type", "array"},
              {"items",
               {{"type", "object"},
                {"properties", {{"method", {{"type", "string"}}}, {"params", {{"type", "object"}}}}},
                {"required", {"method"}}}}};
    case Form::cpus:
    case Form::user:
    case Form::group:
    case Form::vlans:
    case Form::addresses:
    case Form::static_macs:
    case Form::prefix:
    case Form::ethertype:
    case Form::protocol:
    case Form::translations:
    case Form::services:
    case Form::members:
    case Form::text:
    case Form::path:
      break;
  }
  return {{"type", "string"}};
}

}  // namespace

Json schema_of(const OptionText& option) {
  Json schema = type_of(option);
  schema["description"] = option.help;
  if (option.role != Role::none) schema["x-role"] = to_text(option.role);
  if (option.fallback != nullptr) schema["x-default"] = *option.fallback == '\0' ? "none" : option.fallback;
  return schema;
}

}  // namespace vmux::control

// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/cli.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <list>
#include <map>

#include "app/console/understand.hpp"
#include "app/number_option.hpp"
#include "base/text/format.hpp"
#include "control/rpc/rpc_client.hpp"
#include "control/version.hpp"

namespace vmux::app {
namespace {

using control::Json;

constexpr const char* kHost = "host";
constexpr const char* kAbout = "vmuxctl - ports, switches and uplinks of a running vmux";
constexpr const char* kExamples =
    "Examples:\n"
    "  vmuxctl port add vm0 --model e1000 --socket /run/vmux/vm0.sock\n"
    "  vmuxctl uplink add up0 --switch default --backend tap --device tap0\n"
    "  vmuxctl vm-args vm0 --vmm qemu\n"
    "  vmuxctl port list --columns name,mac,socket --filter model=iavf\n"
    "  vmuxctl port set vm0 link=down vlan=10 mtu=1400\n"
    "  vmuxctl port remove vm0 vm1 vm2\n"
    "  vmuxctl --json port stats\n"
    "  vmuxctl events --follow\n"
    "  vmuxctl top --sort drops\n"
    "  vmuxctl config save\n"
    "  vmuxctl help port add\n"
    "  vmuxctl host check\n"
    "Exit status: 0 on success, 1 when it failed, 2 for a usage error. See vmuxctl(1).";

/// A command with the values that were written for it.
struct Declared {
  const Command* command;
  CLI::App* app;
  std::vector<std::string> values;
  std::vector<std::string> names;
  std::vector<CLI::Option*> options;
  std::vector<std::string> settings;
};

/// What may be set, and what holds otherwise; * where a VM that uses the object goes on.
std::string keys_of(const Argument& settings) {
  std::size_t width = 0;
  for (const control::OptionText* key : settings.keys)
    width = std::max(width, std::string_view{key->name}.size());
  std::string text = "Keys (* takes effect under a VM; others only where no VM uses it):\n";
  for (const control::OptionText* key : settings.keys) {
    const char* const mark = key->change == control::Change::live ? "*" : " ";
    text += fmt::format("  {} {:<{}}  {}\n", mark, key->name, width, control::help_of(*key));
  }
  return text;
}

void declare_arguments(Declared& declared) {
  const auto& arguments = declared.command->arguments;
  declared.values.resize(arguments.size());
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const Argument& argument = arguments[i];
    if (argument.take == Take::yes || argument.take == Take::follow || argument.option == declared.command->run_when) {
      declared.options.push_back(declared.app->add_flag(argument.option, argument.help)->disable_flag_override());
      continue;
    }
    std::vector<std::string>* const several = argument.take == Take::names      ? &declared.names
                                              : argument.take == Take::settings ? &declared.settings
                                                                                : nullptr;
    CLI::Option* const option = several != nullptr
                                    ? declared.app->add_option(argument.option, *several, argument.help)
                                    : declared.app->add_option(argument.option, declared.values[i], argument.help);
    if (argument.take == Take::settings) declared.app->footer(keys_of(argument));
    if (argument.is_required) option->required();
    option->type_name(argument.type);
    declared.options.push_back(option);
  }
}

Json value_of(control::Form form, const std::string& written) {
  if (form == control::Form::path) {
    std::error_code error;
    const auto path = std::filesystem::absolute(written, error);  // the daemon's directory is another
    return error ? written : path.lexically_normal().string();
  }
  return control::from_word(form, written);  // what it cannot be is told by the daemon
}

Json value_of(const Argument& argument, const std::string& written) {
  return argument.take == Take::yes ? Json(true) : value_of(argument.form, written);
}

/// KEY=VALUE as parameters; a key that there is none of is told by the daemon. A sentence: what is no setting.
std::string take_settings(const Argument& argument, const std::vector<std::string>& written, Json& params) {
  for (const std::string& each : written) {
    const std::size_t equals = each.find('=');
    if (equals == std::string::npos || equals == 0) return fmt::format("expected KEY=VALUE, got '{}'", each);
    std::string key = each.substr(0, equals);
    std::replace(key.begin(), key.end(), '-', '_');
    if (key == "name" || params.contains(key))
      return fmt::format("'{}' {}", key,
                         key == "name" ? "cannot be set: it is what the object is known by" : "is there twice");
    const std::string value = each.substr(equals + 1);
    const auto known = std::find_if(argument.keys.begin(), argument.keys.end(),
                                    [&key](const control::OptionText* one) { return key == one->name; });
    params[key] = value.empty() ? Json() : known == argument.keys.end() ? Json(value) : value_of((*known)->form, value);
  }
  return {};
}

/// Declares all commands below `app`; the list is stable, because options write into it.
std::list<Declared> declare(CLI::App& app, View& view) {
  std::map<std::string, CLI::App*> groups;
  groups[""] = &app;
  std::list<Declared> all;
  for (const Command& command : commands()) {
    CLI::App*& group = groups[command.group];
    if (group == nullptr) {
      group = app.add_subcommand(command.group, fmt::format("see vmuxctl {} --help", command.group));
      group->require_subcommand(1)->fallthrough();
    }
    CLI::App* const sub = group->add_subcommand(command.name, command.help);
    sub->fallthrough();
    declare_arguments(all.emplace_back(Declared{&command, sub, {}, {}, {}}));
    if (command.table != nullptr) add_view_options(*sub, view);
  }
  app.add_subcommand(kHost, "this machine: checks, drivers, VFs, hugepages, interrupts; see vmuxctl host --help");
  app.require_subcommand(1);
  return all;
}

/// A sentence: what is wrong with them.
std::string take_values(Call& call, const Declared& declared) {
  call.command = declared.command;
  call.names = declared.names;
  call.runs = call.command->run != nullptr && call.command->run_when.empty();
  std::string wrong;
  for (std::size_t i = 0; i < declared.options.size(); ++i) {
    const Argument& argument = declared.command->arguments[i];
    const bool is_there = declared.options[i]->count() > 0 && argument.take != Take::names;
    if (is_there && argument.option == declared.command->run_when) call.runs = true;
    if (is_there && argument.take == Take::local) {
      call.local[argument.option] = declared.values[i];
    } else if (is_there && argument.take == Take::settings) {
      wrong = take_settings(argument, declared.settings, call.params);
    } else if (is_there && argument.take == Take::follow) {
      call.follows = true;
    } else if (is_there && argument.take == Take::file) {
      call.file = declared.values[i];
    } else if (is_there) {
      call.params[argument.param] = value_of(argument, declared.values[i]);
    }
  }
  return wrong;
}

}  // namespace

std::vector<std::string> first_words() {
  std::vector<std::string> words;
  for (const Command& command : commands()) {
    const std::string& word = command.group.empty() ? command.name : command.group;
    if (std::find(words.begin(), words.end(), word) == words.end()) words.push_back(word);
  }
  words.emplace_back(kHost);
  return words;
}

bool takes_value(const std::string& option) {
  return option == "--rpc" || option == "--timeout" || option == "--wait" || option == "--color";
}

tl::expected<Call, Exit> parse_call(const std::vector<std::string>& arguments, const Screen& screen) {
  Call call;
  Colour colour = Colour::automatic;
  CLI::App app{kAbout, "vmuxctl"};
  app.footer(kExamples);
  app.set_version_flag("-V,--version", fmt::format("vmuxctl {}", control::version()));
  app.add_flag("--json", call.as_json, "print the result as JSON");
  const CLI::Option* const rpc =
      app.add_option("--rpc", call.rpc, "RPC socket of the daemon (default $VMUX_RPC or /run/vmux/vmux.sock)")
          ->type_name("PATH");
  app.add_option("--timeout", call.timeout_s, "seconds to wait for an answer (default 30)")
      ->type_name("SECONDS")
      ->transform(number(1, 3600));
  app.add_option("--wait", call.wait_s, "seconds to wait for a daemon that is not there yet (default 0)")
      ->type_name("SECONDS")
      ->transform(number(0, 3600));
  add_colour_option(app, colour);
  const std::list<Declared> all = declare(app, call.view);
  if (auto exit = parse(app, arguments, screen)) return tl::unexpected<Exit>(std::move(*exit));
  if (rpc->count() > 0 && call.rpc.empty())
    return tl::unexpected<Exit>(usage_error("vmuxctl", "--rpc: expected the path of a socket, got ''", call.as_json));
  if (call.rpc.empty()) call.rpc = control::default_rpc_path();
  call.screen = with(screen, colour);
  for (const Declared& declared : all) {
    if (!declared.app->parsed()) continue;
    if (const std::string wrong = take_values(call, declared); !wrong.empty())
      return tl::unexpected<Exit>(usage_error("vmuxctl", wrong, call.as_json));
  }
  return call;
}

}  // namespace vmux::app

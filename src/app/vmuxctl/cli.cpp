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
    "  vmuxctl port remove vm0 vm1 vm2\n"
    "  vmuxctl --json port stats\n"
    "  vmuxctl events --follow\n"
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
};

void declare_arguments(Declared& declared) {
  const auto& arguments = declared.command->arguments;
  declared.values.resize(arguments.size());
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const Argument& argument = arguments[i];
    if (argument.take == Take::yes || argument.take == Take::follow) {
      declared.options.push_back(declared.app->add_flag(argument.option, argument.help)->disable_flag_override());
      continue;
    }
    CLI::Option* const option = argument.take == Take::names
                                    ? declared.app->add_option(argument.option, declared.names, argument.help)
                                    : declared.app->add_option(argument.option, declared.values[i], argument.help);
    if (argument.is_required) option->required();
    option->type_name(argument.type);
    declared.options.push_back(option);
  }
}

Json value_of(const Argument& argument, const std::string& written) {
  if (argument.take == Take::yes) return true;
  if (argument.form == control::Form::path) {
    std::error_code error;
    const auto path = std::filesystem::absolute(written, error);  // the daemon's directory is another
    return error ? written : path.lexically_normal().string();
  }
  return control::from_word(argument.form, written);  // what it cannot be is told by the daemon
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

void take_values(Call& call, const Declared& declared) {
  call.command = declared.command;
  call.names = declared.names;
  for (std::size_t i = 0; i < declared.options.size(); ++i) {
    const Argument& argument = declared.command->arguments[i];
    const bool is_there = declared.options[i]->count() > 0 && argument.take != Take::names;
    if (is_there && argument.take == Take::follow) {
      call.follows = true;
    } else if (is_there && argument.take == Take::file) {
      call.file = declared.values[i];
    } else if (is_there) {
      call.params[argument.param] = value_of(argument, declared.values[i]);
    }
  }
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
    if (declared.app->parsed()) take_values(call, declared);
  }
  return call;
}

}  // namespace vmux::app

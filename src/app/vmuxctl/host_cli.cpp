// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/host_cli.hpp"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>

#include "app/console/understand.hpp"
#include "app/vmuxctl/host/commands.hpp"
#include "base/text/format.hpp"
#include "base/text/printable.hpp"

namespace vmux::app {
namespace {

constexpr const char* kAbout = "vmuxctl host - prepare this machine for giving network cards to VMs";
constexpr const char* kExamples =
    "Examples:\n"
    "  vmuxctl host check --nic ens1f0 --cpus 2-5     is everything there? what mends it?\n"
    "  vmuxctl host list\n"
    "  vmuxctl host bind 0000:01:00.0 --dry-run       what would be done\n"
    "  vmuxctl host restore                           undo everything that was changed\n"
    "Exit status: 0 on success, 1 when it failed or a check is bad, 2 for a usage error. See vmuxctl-host(8).";

/// Declares every command; the one that is parsed leaves its row in `chosen`.
void declare(CLI::App& app, HostArguments& arguments, const HostCommand*& chosen) {
  for (const HostCommand& command : host_commands()) {
    CLI::App* const sub = app.add_subcommand(command.name, command.help);
    sub->fallthrough();
    sub->footer(command.examples);
    command.declare(*sub, arguments);
    if (command.table != nullptr) add_view_options(*sub, arguments.view);
    if (command.changes) {
      sub->add_flag("-n,--dry-run", arguments.options.is_rehearsal, "change nothing, print what would be done");
      sub->add_flag("--force", arguments.options.is_forced, "also what is in use");
    }
    sub->callback([&chosen, &command] { chosen = &command; });
  }
  app.require_subcommand(1);
}

}  // namespace

std::optional<std::vector<std::string>> host_arguments(const std::vector<std::string>& arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].rfind('-', 0) == 0) {
      if (takes_value(arguments[i])) ++i;
      continue;
    }
    const auto command = command_of(arguments[i], first_words(), "vmuxctl");
    if (command && *command == "help") continue;
    if (!command || *command != "host") return std::nullopt;
    std::vector<std::string> others = arguments;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
    return others;
  }
  return std::nullopt;
}

Exit run_host(const std::vector<std::string>& written, host::Machine& machine, const std::string& state_directory,
              const Screen& screen) {
  HostArguments arguments;
  arguments.options.state_directory = state_directory;
  const HostCommand* chosen = nullptr;
  Colour colour = Colour::automatic;
  CLI::App app{kAbout, "vmuxctl host"};
  app.footer(kExamples);
  app.add_flag("--json", arguments.as_json, "print the result as JSON");
  add_colour_option(app, colour);
  declare(app, arguments, chosen);
  if (auto exit = parse(app, written, screen)) return std::move(*exit);
  machine.on_wait = [](const std::string& what) {
    fmt::print(stderr, "vmuxctl host: waiting for {}\n", printable(what));
  };
  arguments.screen = with(screen, colour);
  return perform(*chosen, machine, arguments);
}

std::string default_state_directory() {
  const char* const given = std::getenv("STATE_DIRECTORY");
  const std::string all = given == nullptr ? "" : given;
  return all.empty() || all.front() != '/' ? "/var/lib/vmux" : all.substr(0, all.find(':'));
}

}  // namespace vmux::app

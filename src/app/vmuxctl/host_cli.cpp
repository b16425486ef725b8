// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/host_cli.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "app/vmuxctl/host_commands.hpp"
#include "base/format.hpp"
#include "base/printable.hpp"
#include "control/json_rpc.hpp"

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

Exit usage(const std::string& text) {
  return {kUsageError, "", fmt::format("vmuxctl host: {}\nTry 'vmuxctl host --help'.\n", printable(text))};
}

Exit failed(const host::Failure& failure, bool as_json) {
  const control::ProblemKind kind = control::kind_of(failure.code);
  Exit exit{kind == control::ProblemKind::invalid ? kUsageError : kFailure, "",
            fmt::format("vmuxctl host: {}\n", printable(failure.text))};
  if (as_json)
    exit.out = control::to_line({{"error", {{"kind", control::name_of(kind)}, {"message", failure.text}}}}) + '\n';
  return exit;
}

/// Declares every command; the one that is parsed leaves its row in `chosen`.
void declare(CLI::App& app, HostArguments& arguments, const HostCommand*& chosen) {
  for (const HostCommand& command : host_commands()) {
    CLI::App* const sub = app.add_subcommand(command.name, command.help);
    sub->fallthrough();
    sub->footer(command.examples);
    command.declare(*sub, arguments);
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
      if (arguments[i] == "--rpc" || arguments[i] == "--timeout") ++i;  // they take a value
      continue;
    }
    if (arguments[i] != "host") return std::nullopt;
    std::vector<std::string> others = arguments;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
    return others;
  }
  return std::nullopt;
}

Exit run_host(const std::vector<std::string>& written, host::Machine& machine, const std::string& state_directory) {
  HostArguments arguments;
  arguments.options.state_directory = state_directory;
  const HostCommand* chosen = nullptr;
  CLI::App app{kAbout, "vmuxctl host"};
  app.footer(kExamples);
  app.add_flag("--json", arguments.as_json, "print the result as JSON");
  declare(app, arguments, chosen);
  try {
    app.parse(std::vector<std::string>{written.rbegin(), written.rend()});
  } catch (const CLI::CallForHelp&) {
    return {0, app.help(), ""};
  } catch (const CLI::ParseError& error) {
    const std::vector<std::string> rest = app.remaining(/*recurse=*/true);
    return usage(rest.empty() ? error.what() : fmt::format("'{}' is no command or option here", rest.front()));
  }
  machine.on_wait = [](const std::string& what) { fmt::print(stderr, "vmuxctl host: waiting for {}\n", what); };
  const host::Outcome<control::Json> result = chosen->run(machine, arguments);
  if (!result) return failed(result.error(), arguments.as_json);
  Exit exit;
  exit.out = arguments.as_json ? control::to_line(*result) + '\n' : chosen->print(*result);
  exit.status = chosen->is_bad != nullptr && chosen->is_bad(*result) ? kFailure : 0;
  return exit;
}

std::string default_state_directory() {
  const char* const given = std::getenv("STATE_DIRECTORY");
  const std::string all = given == nullptr ? "" : given;
  return all.empty() || all.front() != '/' ? "/var/lib/vmux" : all.substr(0, all.find(':'));
}

}  // namespace vmux::app

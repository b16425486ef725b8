// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/cli.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <list>
#include <map>

#include "app/number_option.hpp"
#include "base/format.hpp"
#include "base/printable.hpp"
#include "control/json_rpc.hpp"
#include "control/rpc_client.hpp"
#include "control/version.hpp"

namespace vmux::app {
namespace {

using control::Json;

constexpr const char* kAbout = "vmuxctl - ports, switches and uplinks of a running vmux";
constexpr const char* kExamples =
    "Examples:\n"
    "  vmuxctl port add vm0 --model e1000 --socket /run/vmux/vm0.sock\n"
    "  vmuxctl uplink add up0 --switch default --backend tap --device tap0\n"
    "  vmuxctl vm-args vm0 --vmm qemu\n"
    "  vmuxctl --json port stats\n"
    "  vmuxctl host check\n"
    "Exit status: 0 on success, 1 when it failed, 2 for a usage error. See vmuxctl(1).";

tl::unexpected<Exit> usage(const std::string& text) {
  return tl::unexpected<Exit>(
      Exit{kUsageError, "", fmt::format("vmuxctl: {}\nTry 'vmuxctl --help'.\n", printable(text))});
}

/// A command with the values that were written for it.
struct Declared {
  const Command* command;
  CLI::App* app;
  std::vector<std::string> values;
  std::vector<CLI::Option*> options;
};

void declare_arguments(Declared& declared) {
  const auto& arguments = declared.command->arguments;
  declared.values.resize(arguments.size());
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const Argument& argument = arguments[i];
    if (argument.take == Take::yes) {
      declared.options.push_back(declared.app->add_flag(argument.option, argument.help)->disable_flag_override());
      continue;
    }
    CLI::Option* const option = declared.app->add_option(argument.option, declared.values[i], argument.help);
    if (argument.is_required) option->required();
    option->type_name(argument.type);
    declared.options.push_back(option);
  }
}

std::optional<std::uint64_t> hexadecimal(std::string_view written) {
  if (written.substr(0, 2) != "0x") return std::nullopt;
  written.remove_prefix(2);
  std::uint64_t value = 0;
  const auto [stopped, error] = std::from_chars(written.data(), written.data() + written.size(), value, 16);
  if (written.empty() || error != std::errc{} || stopped != written.data() + written.size()) return std::nullopt;
  return value;
}

Json value_of(const Argument& argument, const std::string& written) {
  if (argument.take == Take::yes) return true;
  if (argument.take == Take::path) {
    std::error_code error;
    const auto path = std::filesystem::absolute(written, error);  // the daemon's directory is another
    return error ? written : path.lexically_normal().string();
  }
  if (argument.take == Take::number) {
    if (const auto number = control::parse_number(written, ~0ull)) return *number;
    if (const auto number = hexadecimal(written)) return *number;
  }
  if (argument.take == Take::flag && (written == "true" || written == "false")) return written == "true";
  return written;  // the daemon says what it expected
}

/// Declares all commands below `app`; the list is stable, because options write into it.
std::list<Declared> declare(CLI::App& app) {
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
    declare_arguments(all.emplace_back(Declared{&command, sub, {}, {}}));
  }
  app.add_subcommand("host", "this machine: checks, drivers, VFs, hugepages, interrupts; see vmuxctl host --help");
  app.require_subcommand(1);
  return all;
}

}  // namespace

tl::expected<Call, Exit> parse_call(const std::vector<std::string>& arguments) {
  Call call;
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
  const std::list<Declared> all = declare(app);
  try {
    app.parse(std::vector<std::string>{arguments.rbegin(), arguments.rend()});
  } catch (const CLI::CallForHelp&) {
    return tl::unexpected<Exit>(Exit{0, app.help(), ""});  // that of the command that was named
  } catch (const CLI::CallForVersion& version) {
    return tl::unexpected<Exit>(Exit{0, std::string{version.what()} + "\n", ""});
  } catch (const CLI::ParseError& error) {
    // CLI11 misses the command before it looks at what stands in its place.
    const std::vector<std::string> rest = app.remaining(/*recurse=*/true);
    return usage(rest.empty() ? error.what() : fmt::format("'{}' is no command or option here", rest.front()));
  }
  if (rpc->count() > 0 && call.rpc.empty()) return usage("--rpc: expected the path of a socket, got ''");
  if (call.rpc.empty()) call.rpc = control::default_rpc_path();
  for (const Declared& declared : all) {
    if (!declared.app->parsed()) continue;
    call.command = declared.command;
    for (std::size_t i = 0; i < declared.options.size(); ++i) {
      const Argument& argument = declared.command->arguments[i];
      if (declared.options[i]->count() > 0) call.params[argument.param] = value_of(argument, declared.values[i]);
    }
  }
  return call;
}

Exit explain(const Call& call, const control::Problem& problem) {
  std::string text = control::text_of(problem);
  for (const Argument& argument : call.command->arguments) {
    if (problem.field == argument.param) text = fmt::format("{}: {}", argument.option, problem.text);
  }
  Exit exit{problem.kind == control::ProblemKind::invalid ? kUsageError : kFailure, "", ""};
  exit.err = fmt::format("vmuxctl: {}\n", printable(text));
  if (call.as_json) {
    exit.out = control::to_line(Json{{"error", {{"kind", control::name_of(problem.kind)}, {"message", text}}}}) + '\n';
  }
  return exit;
}

}  // namespace vmux::app

// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/host_commands.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <array>

#include "app/vmuxctl/host_print.hpp"
#include "host/operations.hpp"

namespace vmux::app {
namespace {

using control::Json;
using host::Machine;
using host::Outcome;

template <class T>
tl::unexpected<host::Failure> pass(const Outcome<T>& failed) {
  return tl::unexpected<host::Failure>(failed.error());
}

/// One session around `work`, and what it did.
template <class Work>
Outcome<Json> in_session(Machine& machine, const HostArguments& arguments, Work work) {
  auto session = host::Session::open(machine, arguments.options);
  if (!session) return pass(session);
  const auto report = session->finish(work(*session));
  if (!report) return pass(report);
  return json_of(*report);
}

void declare_check(CLI::App& app, HostArguments& arguments) {
  app.add_option("--nic", arguments.nic, "PCI address or interface: look at this card in particular")->type_name("NIC");
  app.add_option("--cpus", arguments.cpus, "CPUs for vMux and the VM: are they near the card, set aside, quiet?")
      ->type_name("LIST");
}

Outcome<Json> run_check(Machine& machine, const HostArguments& arguments) {
  host::CheckRequest request{arguments.nic, std::nullopt};
  if (!arguments.cpus.empty()) {
    request.cpus = host::parse_cpus(arguments.cpus);
    if (!request.cpus)
      return host::refuse(Errc::invalid_argument,
                          fmt::format("--cpus: '{}' is no list of CPUs such as 2,4-6", arguments.cpus));
  }
  const auto findings = host::check(machine, request);
  if (!findings) return pass(findings);
  return json_of(*findings);
}

bool is_check_bad(const Json& findings) { return findings["verdict"] == "bad"; }

void declare_list(CLI::App& app, HostArguments& arguments) {
  app.add_option("FUNCTION", arguments.names, "only these: PCI addresses or interfaces")->type_name("");
  app.add_flag("-a,--all", arguments.all, "not only network cards and what is bound to vfio-pci");
}

Outcome<Json> run_list(Machine& machine, const HostArguments& arguments) {
  std::vector<host::PciFunction> shown;
  for (const std::string& name : arguments.names) {
    auto found = host::find_function(machine, name);
    if (!found) return pass(found);
    shown.push_back(std::move(*found));
  }
  if (arguments.names.empty()) {
    for (host::PciFunction& function : host::functions(machine)) {
      if (arguments.all || function.is_network() || function.driver == "vfio-pci") shown.push_back(std::move(function));
    }
  }
  return json_of(machine, shown);
}

void declare_functions(CLI::App& app, HostArguments& arguments) {
  app.add_option("FUNCTION", arguments.names, "PCI addresses (0000:01:00.0 or 01:00.0) or interfaces")
      ->type_name("")
      ->required();
}

void declare_bind(CLI::App& app, HostArguments& arguments) {
  declare_functions(app, arguments);
  app.add_option("--driver", arguments.driver, "the driver to give them to, or none (default vfio-pci)")
      ->type_name("DRIVER");
  app.add_flag("--group", arguments.with_group, "and everything else in their IOMMU groups");
}

Outcome<Json> run_bind(Machine& machine, const HostArguments& arguments) {
  return in_session(machine, arguments, [&](host::Session& session) -> Outcome<> {
    for (const std::string& name : arguments.names) {
      if (auto done = host::bind(session, {name, arguments.driver, arguments.with_group}); !done) return done;
    }
    return {};
  });
}

Outcome<Json> run_unbind(Machine& machine, const HostArguments& arguments) {
  return in_session(machine, arguments, [&](host::Session& session) -> Outcome<> {
    for (const std::string& name : arguments.names) {
      if (auto done = host::unbind(session, name); !done) return done;
    }
    return {};
  });
}

void declare_restore(CLI::App& app, HostArguments& arguments) {
  app.add_option("FUNCTION", arguments.names, "only what was changed about these")->type_name("");
}

Outcome<Json> run_restore(Machine& machine, const HostArguments& arguments) {
  std::vector<host::PciAddress> only;
  for (const std::string& name : arguments.names) {
    const auto found = host::find_function(machine, name);
    if (!found) return pass(found);
    only.push_back(found->address);
  }
  auto session = host::Session::open(machine, arguments.options);
  if (!session) return pass(session);
  const auto report = session->restore(only);
  if (!report) return pass(report);
  return json_of(*report);
}

constexpr auto kCommands = std::to_array<HostCommand>({
    {"check", false, declare_check, run_check, print_findings, is_check_bad,
     "what this machine has, how good that is, what mends it",
     "Examples:\n  vmuxctl host check\n  vmuxctl host check --nic ens1f0 --cpus 2-5\n"
     "  vmuxctl --json host check | jq -r '.checks[] | select(.verdict == \"bad\") | .mend'\n"
     "Status 1 if anything is bad; warn and unknown (run it as root to know more) are not."},
    {"list", false, declare_list, run_list, print_functions, nullptr,
     "functions: driver, IOMMU group, VFs, memory node, link",
     "Examples:\n  vmuxctl host list\n  vmuxctl host list --all\n  vmuxctl --json host list ens1f0"},
    {"bind", true, declare_bind, run_bind, print_report, nullptr, "give functions to vfio-pci or another driver",
     "A function that carries an address, a route or a mounted disk, or has VFs, is refused unless --force.\n"
     "Examples:\n  vmuxctl host bind 0000:01:00.0\n  vmuxctl host bind ens1f0 --group\n  vmuxctl host bind 01:10.0 "
     "--driver igbvf"},
    {"unbind", true, declare_functions, run_unbind, print_report, nullptr, "give functions back to the driver they had",
     "Examples:\n  vmuxctl host unbind 0000:01:00.0"},
    {"restore", true, declare_restore, run_restore, print_report, nullptr,
     "undo everything that these commands changed",
     "Examples:\n  vmuxctl host restore --dry-run\n  vmuxctl host restore\n  vmuxctl host restore 0000:01:00.0"},
});

}  // namespace

std::span<const HostCommand> host_commands() noexcept { return kCommands; }

}  // namespace vmux::app

// SPDX-License-Identifier: BSD-3-Clause
// Commands of vmuxctl host that look and change nothing.

#include <CLI/CLI.hpp>

#include "app/console/choice.hpp"
#include "app/number_option.hpp"
#include "app/vmuxctl/host/actions.hpp"
#include "app/vmuxctl/host/print.hpp"
#include "base/text/format.hpp"
#include "host/describe/vm_args.hpp"

namespace vmux::app {

using control::Json;
using host::Machine;
using host::Outcome;

Outcome<host::CpuSet> cpus_of(const std::string& written) {
  const auto list = parse_cpu_list(written);
  if (list) return host::CpuSet{list->begin(), list->end()};
  return host::refuse(Errc::invalid_argument, fmt::format("--cpus: expected {}, got '{}'", list.error(), written));
}

void declare_check(CLI::App& app, HostArguments& arguments) {
  app.add_option("--nic", arguments.nic, "PCI address or interface: look at this card in particular")->type_name("NIC");
  app.add_option("--cpus", arguments.cpus, "CPUs for vMux and the VM: are they near the card, set aside, quiet?")
      ->type_name("LIST");
}

Outcome<Json> run_check(Machine& machine, const HostArguments& arguments) {
  host::CheckRequest request{arguments.nic, std::nullopt};
  if (!arguments.cpus.empty()) {
    const auto cpus = cpus_of(arguments.cpus);
    if (!cpus) return pass(cpus);
    request.cpus = *cpus;
  }
  const auto findings = host::check(machine, request);
  if (!findings) return pass(findings);
  return json_of(*findings);
}

bool is_check_bad(const Json& findings) { return findings["verdict"] == "bad"; }

void declare_vm_args(CLI::App& app, HostArguments& arguments) {
  app.add_option("FUNCTION", arguments.name, "PCI address or interface")->type_name("")->required();
  app.add_option("--vmm", arguments.vmm, "qemu, libvirt or cloud-hypervisor (default qemu)")->type_name("VMM");
  app.add_option("--vcpus", arguments.vcpus, "virtual CPUs of the VM (default 2)")
      ->type_name("N")
      ->transform(number(1, kMostCpus));
  app.add_option("--memory", arguments.memory_mb, "memory of the VM (default 1024)")
      ->type_name("MB")
      ->transform(number(1, 1u << 30));
}

Outcome<Json> run_vm_args(Machine& machine, const HostArguments& arguments) {
  const auto args = host::vm_args(machine, {arguments.name, arguments.vmm, arguments.vcpus, arguments.memory_mb});
  if (!args) return pass(args);
  return Json{{"vmm", arguments.vmm}, {"lines", args->lines}, {"notes", args->notes}};
}

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

void declare_format(CLI::App& app, HostArguments& arguments, const std::string& help) {
  const auto take = [&arguments](const std::string& word) {
    arguments.format = word == "yaml" ? host::FileFormat::yaml : host::FileFormat::toml;
  };
  app.add_option_function<std::string>("--format", take, help)->type_name("FORMAT")->check(one_of({"toml", "yaml"}));
}

void declare_save(CLI::App& app, HostArguments& arguments) {
  declare_format(app, arguments, "toml or yaml (default toml)");
}

Outcome<Json> run_save(Machine& machine, const HostArguments& arguments) {
  const auto journal = host::Journal::load(machine, arguments.options.state_directory + "/host.journal");
  if (!journal) return pass(journal);
  const auto description = host::describe(machine, *journal);
  if (!description) return pass(description);
  Json saved = json_of(*description);
  saved["format"] = arguments.format.value_or(host::FileFormat::toml) == host::FileFormat::yaml ? "yaml" : "toml";
  return saved;
}

}  // namespace vmux::app

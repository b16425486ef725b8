// SPDX-License-Identifier: BSD-3-Clause
// Commands of vmuxctl host that change this machine: drivers, huge pages, interrupts, whole descriptions.

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "app/number_option.hpp"
#include "app/vmuxctl/host/session.hpp"
#include "base/text/format.hpp"

namespace vmux::app {

using control::Json;
using host::Machine;
using host::Outcome;

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
      const std::string driver = arguments.driver.empty() ? "vfio-pci" : arguments.driver;
      if (auto done = host::bind(session, {name, driver, arguments.with_group}); !done) return done;
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
    const auto found = find_function(machine, arguments, name);
    if (!found) return pass(found);
    only.push_back(found->address);
  }
  auto session = host::Session::open(machine, arguments.options);
  if (!session) return pass(session);
  const auto report = session->restore(only);
  if (!report) return pass(report);
  return json_of(*report);
}

void declare_hugepages(CLI::App& app, HostArguments& arguments) {
  app.add_option("COUNT", arguments.count, "pages, spread over the memory nodes; without it they are shown")
      ->type_name("")
      ->transform(number(0, host::kMostHugepages));
  app.add_option("--size", arguments.size, "2M, 1G, ... (default: the kernel's)")->type_name("SIZE");
  app.add_option("--node", arguments.node, "all of them on this memory node")
      ->type_name("N")
      ->transform(number(0, host::kMostNode));
  app.add_flag("--mount", arguments.mounts,
               "mount pages of that size at /dev/hugepagesSIZE, if they are nowhere: for libvirt");
}

Outcome<Json> run_hugepages(Machine& machine, const HostArguments& arguments) {
  if (!arguments.count && !arguments.mounts) return json_of(machine, host::hugepages(machine));
  host::HugepagesRequest request{arguments.count.value_or(0), std::nullopt, arguments.node, arguments.mounts};
  if (!arguments.size.empty()) {
    request.size_kib = host::parse_size_kib(arguments.size);
    if (!request.size_kib)
      return host::refuse(Errc::invalid_argument,
                          fmt::format("--size: '{}' is no size such as 2M or 1G", arguments.size));
  }
  return in_session(machine, arguments, [&](host::Session& session) {
    return arguments.count ? host::set_hugepages(session, request) : host::mount_hugepages(session, request.size_kib);
  });
}

void declare_irq(CLI::App& app, HostArguments& arguments) {
  app.add_option("FUNCTION", arguments.name, "PCI address or interface")->type_name("")->required();
  CLI::Option* const cpus =
      app.add_option("--cpus", arguments.cpus, "one of these CPUs for each interrupt, in turn")->type_name("LIST");
  app.add_flag("--together", arguments.is_together, "all of these CPUs for each interrupt")->needs(cpus);
  app.add_flag("--back", arguments.is_back, "where they were before")->excludes(cpus);
}

Outcome<Json> run_irq(Machine& machine, const HostArguments& arguments) {
  const auto function = find_function(machine, arguments, arguments.name);
  if (!function) return pass(function);
  const std::string address = function->address.text();
  if (arguments.is_back)
    return in_session(machine, arguments,
                      [&](host::Session& session) { return host::put_irqs_back(session, address); });
  if (arguments.cpus.empty()) return json_of(host::irqs(machine, *function));
  const auto cpus = cpus_of(arguments.cpus);
  if (!cpus) return pass(cpus);
  const host::IrqRequest request{address, *cpus, arguments.is_together};
  return in_session(machine, arguments, [&](host::Session& session) { return host::set_irqs(session, request); });
}

void declare_apply(CLI::App& app, HostArguments& arguments) {
  app.add_option("FILE", arguments.file, "as `save` writes it; - for standard input")->type_name("")->required();
  declare_format(app, arguments, "toml or yaml (default: yaml if FILE ends in .yaml or .yml, else toml)");
}

namespace {

Outcome<std::string> content_of(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    return host::refuse("read " + path, Error{Errc::not_found, "the file", EISDIR});
  std::ifstream file{path == "-" ? "/dev/stdin" : path, std::ios::binary};
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file) return host::refuse("read " + path, Error{Errc::not_found, "the file", errno});
  return text.str();
}

}  // namespace

Outcome<Json> run_apply(Machine& machine, const HostArguments& arguments) {
  const auto content = content_of(arguments.file);
  if (!content) return pass(content);
  const auto description =
      host::parse_description(*content, arguments.file, arguments.format.value_or(host::format_of(arguments.file)));
  if (!description) return pass(description);
  return in_session(machine, arguments, [&](host::Session& session) { return host::apply(session, *description); });
}

}  // namespace vmux::app

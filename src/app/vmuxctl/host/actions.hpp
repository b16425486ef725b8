// SPDX-License-Identifier: BSD-3-Clause
// What the rows of host_commands.cpp name: for each command the options that it takes, and what it does.
#pragma once

#include "app/vmuxctl/host/commands.hpp"

namespace vmux::app {

template <class T>
tl::unexpected<host::Failure> pass(const host::Outcome<T>& failed) {
  return tl::unexpected<host::Failure>(failed.error());
}

// host_look.cpp
/// What is written behind --cpus.
host::Outcome<host::CpuSet> cpus_of(const std::string& written);
void declare_check(CLI::App& app, HostArguments& arguments);
void declare_list(CLI::App& app, HostArguments& arguments);
void declare_vm_args(CLI::App& app, HostArguments& arguments);
void declare_save(CLI::App& app, HostArguments& arguments);
host::Outcome<control::Json> run_check(host::Machine& machine, const HostArguments& arguments);
host::Outcome<control::Json> run_list(host::Machine& machine, const HostArguments& arguments);
host::Outcome<control::Json> run_vm_args(host::Machine& machine, const HostArguments& arguments);
host::Outcome<control::Json> run_save(host::Machine& machine, const HostArguments& arguments);
bool is_check_bad(const control::Json& findings);

// host_change.cpp
void declare_bind(CLI::App& app, HostArguments& arguments);
void declare_functions(CLI::App& app, HostArguments& arguments);
void declare_hugepages(CLI::App& app, HostArguments& arguments);
void declare_irq(CLI::App& app, HostArguments& arguments);
void declare_format(CLI::App& app, HostArguments& arguments, const std::string& help);
void declare_apply(CLI::App& app, HostArguments& arguments);
void declare_restore(CLI::App& app, HostArguments& arguments);
host::Outcome<control::Json> run_bind(host::Machine& machine, const HostArguments& arguments);
host::Outcome<control::Json> run_unbind(host::Machine& machine, const HostArguments& arguments);
host::Outcome<control::Json> run_hugepages(host::Machine& machine, const HostArguments& arguments);
host::Outcome<control::Json> run_irq(host::Machine& machine, const HostArguments& arguments);
host::Outcome<control::Json> run_apply(host::Machine& machine, const HostArguments& arguments);
host::Outcome<control::Json> run_restore(host::Machine& machine, const HostArguments& arguments);

// host_vfs.cpp
void declare_vfs(CLI::App& app, HostArguments& arguments);
host::Outcome<control::Json> run_vfs(host::Machine& machine, const HostArguments& arguments);

}  // namespace vmux::app

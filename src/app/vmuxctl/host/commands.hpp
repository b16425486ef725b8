// SPDX-License-Identifier: BSD-3-Clause
// The commands of `vmuxctl host` as a table: what they take, what they do, how people see the result.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "app/console/exit.hpp"
#include "app/vmuxctl/view.hpp"
#include "control/rpc/params.hpp"
#include "host/describe/description.hpp"
#include "host/session.hpp"

namespace CLI {
class App;
}

namespace vmux::app {

/// What was written for the command that was named; each declares the few that it takes.
struct HostArguments {
  host::Options options;
  bool as_json = false;
  View view;
  Screen screen;
  std::vector<std::string> names;  ///< functions
  std::string name;                ///< of commands about one
  std::string driver;
  std::string nic, cpus, file, size, link;
  std::string vmm = "qemu";
  unsigned vcpus = 2, memory_mb = 1024;
  std::optional<host::FileFormat> format;
  std::vector<std::string> macs;
  std::optional<unsigned> count, node, index, vlan, qos;
  std::optional<bool> trust, spoofchk;
  bool all = false, with_group = false, keeps_link = false, is_together = false, is_back = false, mounts = false;
};

struct HostCommand {
  const char* name;
  bool changes;  ///< takes --dry-run and --force
  bool is_each;  ///< takes several functions, and is done for each by itself
  void (*declare)(CLI::App&, HostArguments&);
  host::Outcome<control::Json> (*run)(host::Machine&, const HostArguments&);
  std::string (*print)(const control::Json& result);  ///< null: always a table
  Table (*table)(const control::Json& result);        ///< of what is no report; null: never one
  bool (*is_bad)(const control::Json& result);        ///< a result that ends with status 1; may be null
  const char* help;
  const char* examples;
};

[[nodiscard]] std::span<const HostCommand> host_commands() noexcept;

/// Does what was asked and tells what came of it. What fails for one of several functions is told by its name, and the
/// others are done.
[[nodiscard]] Exit perform(const HostCommand& command, host::Machine& machine, HostArguments arguments);

}  // namespace vmux::app

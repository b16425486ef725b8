// SPDX-License-Identifier: BSD-3-Clause
// The commands of `vmuxctl host` as a table: what they take, what they do, how people see the result.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "control/params.hpp"
#include "host/description.hpp"
#include "host/session.hpp"

namespace CLI {
class App;
}

namespace vmux::app {

/// What was written for the command that was named; each declares the few that it takes.
struct HostArguments {
  host::Options options;
  bool as_json = false;
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
  void (*declare)(CLI::App&, HostArguments&);
  host::Outcome<control::Json> (*run)(host::Machine&, const HostArguments&);
  std::string (*print)(const control::Json& result);
  bool (*is_bad)(const control::Json& result);  ///< a result that ends with status 1; may be null
  const char* help;
  const char* examples;
};

[[nodiscard]] std::span<const HostCommand> host_commands() noexcept;

}  // namespace vmux::app

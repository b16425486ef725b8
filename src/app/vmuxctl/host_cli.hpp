// SPDX-License-Identifier: BSD-3-Clause
// `vmuxctl host ...`: commands about this machine. No daemon is asked.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/vmuxctl/cli.hpp"
#include "host/machine/machine.hpp"

namespace vmux::app {

/// If the command is `host` (or a beginning of it that no other has, or help about it), all other arguments.
[[nodiscard]] std::optional<std::vector<std::string>> host_arguments(const std::vector<std::string>& arguments);

/// Parses, does and tells. Changes are remembered in `state_directory`.
[[nodiscard]] Exit run_host(const std::vector<std::string>& arguments, host::Machine& machine,
                            const std::string& state_directory, const Screen& screen = {});

/// $STATE_DIRECTORY (systemd.exec(5)) or /var/lib/vmux.
[[nodiscard]] std::string default_state_directory();

}  // namespace vmux::app

// SPDX-License-Identifier: BSD-3-Clause
// What the server samples share: a poller, a socket, and signals that end the program.
#pragma once

#include <string>

#include "vmux/base/log.hpp"
#include "vmux/pci/function.hpp"

namespace vmux::samples {

/// Library lines at or above `level` go to standard error, each after `prefix` (static text).
void log_to_stderr(const char* prefix, LogLevel level);

/// Serves `function` at `path` until SIGINT or SIGTERM, or until the first client has gone with `once`. Returns the
/// program's exit status; says what went wrong on standard error.
[[nodiscard]] int serve(pci::Function& function, const std::string& path, bool once);

}  // namespace vmux::samples

// SPDX-License-Identifier: BSD-3-Clause
// What every sample does with its command line.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>

namespace vmux::samples {

/// The exit status when there is nothing to do but to exit: 0 after --help, 2 for a usage error, which has been told.
[[nodiscard]] inline std::optional<int> parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return std::nullopt;
}

}  // namespace vmux::samples

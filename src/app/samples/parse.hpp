// SPDX-License-Identifier: BSD-3-Clause
// What every sample does with its command line.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>

#include "app/console/understand.hpp"

namespace vmux::samples {

/// The exit status when there is nothing to do but to exit: 0 after --help, 2 for a usage error, which has been told.
[[nodiscard]] inline std::optional<int> parse(CLI::App& app, const char* program, int argc, char** argv) {
  app.name(program);
  const auto exit = app::parse(app, {argv + 1, argv + argc}, app::screen_of_stdout());
  return exit ? std::optional{app::leave(program, *exit)} : std::nullopt;
}

}  // namespace vmux::samples

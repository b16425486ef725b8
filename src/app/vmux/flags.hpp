// SPDX-License-Identifier: BSD-3-Clause
// The command line of vmux, as a configuration.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "app/console/exit.hpp"
#include "app/console/screen.hpp"
#include "control/config/configuration.hpp"

namespace vmux::app {

struct Flags {
  control::Configuration configuration;
  std::string file;  ///< of the configuration; empty: none
  bool only_check = false;
  bool is_keeper = false;    ///< start a daemon, and the next one when that dies
  bool has_standby = false;  ///< of a keeper: the next one is started beforehand
};

/// Reads the flags and the configuration file that they name, and checks all of it against `catalogue` without
/// touching the machine beyond reading that file. `arguments` without the program's name.
[[nodiscard]] tl::expected<Flags, Exit> parse_flags(const std::vector<std::string>& arguments,
                                                    const control::Catalogue& catalogue, const Screen& screen = {});

}  // namespace vmux::app

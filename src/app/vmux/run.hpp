// SPDX-License-Identifier: BSD-3-Clause
// vmux as a program, whatever it serves: keeper, daemon, or the one that is to be the next.
#pragma once

#include <string>
#include <vector>

#include "control/model/catalogue.hpp"

namespace vmux::app {

/// The exit code for main(). Once in a process, before it has a second thread. `models` must outlive it.
[[nodiscard]] int run_vmux(const std::vector<std::string>& arguments, const control::Catalogue& models);

}  // namespace vmux::app

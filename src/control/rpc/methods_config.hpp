// SPDX-License-Identifier: BSD-3-Clause
// Methods about the configuration as a whole: config.get, config.diff, config.reload.
#pragma once

#include "control/live/daemon.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::control {

/// `daemon` must outlive them.
void add_config_methods(Methods& methods, Daemon& daemon);

}  // namespace vmux::control

// SPDX-License-Identifier: BSD-3-Clause
// The JSON-RPC methods of the daemon: docs/rpc.md has them one by one.
#pragma once

#include "control/live/controller.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::control {

/// Adds all methods to `methods`. `controller` must outlive them.
void add_methods(Methods& methods, Controller& controller);

}  // namespace vmux::control

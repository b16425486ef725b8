// SPDX-License-Identifier: BSD-3-Clause
// capture.*: frames for whoever may see them.
#pragma once

#include "control/live/controller.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::control {

void add_capture_methods(Methods& methods, Controller& controller);

}  // namespace vmux::control

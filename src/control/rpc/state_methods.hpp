// SPDX-License-Identifier: BSD-3-Clause
// port.save and port.restore: the state of a port's device, in a file that comes with the call.
#pragma once

#include "control/live/controller.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::control {

/// `controller` must outlive the methods.
void add_state_methods(Methods& methods, Controller& controller);

}  // namespace vmux::control

// SPDX-License-Identifier: BSD-3-Clause
// Methods trace.*: what passes between a VM and its card.
#pragma once

#include "control/live/controller.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::control {

/// `controller` must outlive them.
void add_trace_methods(Methods& methods, Controller& controller);

}  // namespace vmux::control

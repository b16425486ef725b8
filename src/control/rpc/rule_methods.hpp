// SPDX-License-Identifier: BSD-3-Clause
// What is called of rules beside what every kind of object has.
#pragma once

#include "control/live/controller.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::control {

/// Adds rule.flush. `controller` must outlive `methods`.
void add_rule_methods(Methods& methods, Controller& controller);

}  // namespace vmux::control

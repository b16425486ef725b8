// SPDX-License-Identifier: BSD-3-Clause
// The method batch: several changes, all or none.
#pragma once

#include "control/live/controller.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::control {

/// `methods` has those of objects already; both must outlive it.
void add_batch_method(Methods& methods, Controller& controller);

}  // namespace vmux::control

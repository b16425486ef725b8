// SPDX-License-Identifier: BSD-3-Clause
// The method doctor: what is wrong with ports, uplinks and pollers, and what to do about it.
#pragma once

#include "control/live/controller.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::control {

/// `controller` must outlive it.
void add_doctor_method(Methods& methods, Controller& controller);

}  // namespace vmux::control

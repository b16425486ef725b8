// SPDX-License-Identifier: BSD-3-Clause
// The method port.dma: what a VM has given to its card, and where an address of it lies.
#pragma once

#include "control/live/controller.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::control {

/// `controller` must outlive it.
void add_dma_methods(Methods& methods, Controller& controller);

}  // namespace vmux::control

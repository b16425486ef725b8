// SPDX-License-Identifier: BSD-3-Clause
// The methods of a daemon that has a keeper.
#pragma once

#include "control/live/controller.hpp"
#include "control/rpc/json_rpc.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::control {

/// keeper.status, keeper.take_over and daemon.upgrade. `controller` has a lifeline; it and `control`, the
/// poller on which methods are called, outlive the methods.
void add_keeper_methods(Methods& methods, Controller& controller, runtime::Poller& control);
/// The same names without a keeper: they say what is missing.
void add_keeper_methods(Methods& methods);

/// What keeper.status answers. `controller` has a lifeline.
[[nodiscard]] Outcome<Json> status_of_keeper(Controller& controller);

/// The keeper wants the next daemon to go on: this one comes to a quiet point, and its process ends there.
[[noreturn]] void make_room(Controller& controller) noexcept;

}  // namespace vmux::control

// SPDX-License-Identifier: BSD-3-Clause
// Objects and their counters as results of calls have them.
#pragma once

#include <span>
#include <string>

#include "control/live/controller.hpp"

namespace vmux::control {

/// What is shown of an object of each kind; `spec` is in the inventory.
[[nodiscard]] Json shown(const Controller& controller, const PortSpec& spec);
[[nodiscard]] Json shown(const Controller& controller, const RuleSpec& spec);
[[nodiscard]] Json shown(const Controller& controller, const UplinkSpec& spec);
[[nodiscard]] Json shown(const Controller& controller, const SwitchSpec& spec);

/// Sums over lanes; null: nothing of it passes through a switch.
[[nodiscard]] Json of_counters(std::span<const Controller::LaneState> lanes);
[[nodiscard]] Json of_port_stats(const Controller& controller, const std::string& name);

}  // namespace vmux::control

// SPDX-License-Identifier: BSD-3-Clause
// What there is, as a configuration file that makes it again. Pure.
#pragma once

#include <string>

#include "control/model/inventory.hpp"

namespace vmux::control {

/// TOML of the form in docs/configuration.md, with each key's meaning and default beside it. What was filled in when an
/// object was added (its MAC, its poller) is written, so that a daemon that starts with it has the same. `daemon` is as
/// it was given, not as it was completed.
[[nodiscard]] std::string to_toml(const DaemonSpec& daemon, const Inventory& inventory);

}  // namespace vmux::control

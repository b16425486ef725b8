// SPDX-License-Identifier: BSD-3-Clause
// vmuxctl upgrade: the daemon that is asked is not the one that answers.
#pragma once

#include <functional>
#include <string>

#include "app/vmuxctl/cli.hpp"

namespace vmux::app {

inline constexpr const char* kUpgrade = "daemon.upgrade";
/// Status of an upgrade that failed on its way: the old program goes on.
inline constexpr int kRolledBack = 3;

/// Makes one call over a connection of its own.
using AskAnew = std::function<control::Outcome<control::Json>(const std::string& method, const control::Json& params)>;
/// Asks for the upgrade and waits until a daemon tells how it went: 0 done, or could be; 1 refused, nothing has
/// happened; kRolledBack.
[[nodiscard]] Exit upgrade(const Call& call, const AskAnew& ask);

}  // namespace vmux::app

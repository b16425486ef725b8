// SPDX-License-Identifier: BSD-3-Clause
// Whether a result is what its command prints. The daemon may be of another version, or no vmux at all. Pure.
#pragma once

#include <optional>
#include <string>

#include "control/rpc/params.hpp"

namespace vmux::app {

/// What is wrong with the result of `method`, as a sentence; nullopt: nothing. Members may be missing, and there may be
/// others; those that are looked into are what they should be, so that whoever prints them need not ask again.
[[nodiscard]] std::optional<std::string> fault_of(const std::string& method, const control::Json& result);

}  // namespace vmux::app

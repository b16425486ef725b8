// SPDX-License-Identifier: BSD-3-Clause
// Where a daemon that has lost its keeper and the next keeper find each other.
#pragma once

#include <string>

#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::keeper {

/// The path of that socket; there only while a daemon waits.
[[nodiscard]] std::string meeting_place(const std::string& rpc_path);
/// A connection to the daemon that waits there, which is of our user. It says Say::adopt first.
[[nodiscard]] Result<UniqueFd> meet_daemon(const std::string& path);

}  // namespace vmux::keeper

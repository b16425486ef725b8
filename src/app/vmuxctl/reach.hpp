// SPDX-License-Identifier: BSD-3-Clause
// The way from a tool to its daemon.
#pragma once

#include <string>

#include "control/rpc/rpc_client.hpp"

namespace vmux::app {

/// A daemon that is being started is there in a moment: the socket comes, and then somebody who answers. `wait_s`: how
/// long it may take.
[[nodiscard]] control::Outcome<control::RpcClient> reach(const std::string& rpc, unsigned timeout_s, unsigned wait_s);

/// A call over it; a result that is not what `method` answers with is a problem, too.
[[nodiscard]] control::Outcome<control::Json> ask(control::RpcClient& daemon, const std::string& method,
                                                  const control::Json& params, int file = -1);

}  // namespace vmux::app

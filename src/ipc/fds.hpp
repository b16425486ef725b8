// SPDX-License-Identifier: BSD-3-Clause
// Descriptors that come over a UNIX socket beside bytes (unix(7), SCM_RIGHTS).
#pragma once

#include <sys/socket.h>

#include <vector>

#include "vmux/base/unique_fd.hpp"

namespace vmux::ipc {

/// Those of a message that recvmsg() has filled, in the sender's order: the caller's from now on, so once a message.
/// Call it of any message whose flags have MSG_CTRUNC, too: it may have brought some of what did not fit.
[[nodiscard]] std::vector<UniqueFd> fds_of(const msghdr& message);

}  // namespace vmux::ipc

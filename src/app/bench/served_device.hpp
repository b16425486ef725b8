// SPDX-License-Identifier: BSD-3-Clause
// A vfio-user server to measure: one function with a register, in a process of its own.
#pragma once

#include "app/bench/ping_pong.hpp"

namespace vmux::bench {

/// A connection on which VERSION has been exchanged, and the process behind it.
struct ServedDevice {
  Child server;
  UniqueFd connection;
};

/// `wait` is how the server waits for messages: in epoll, or by looking all the time.
[[nodiscard]] Result<ServedDevice> serve_device(Wait wait);

}  // namespace vmux::bench

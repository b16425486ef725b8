// SPDX-License-Identifier: BSD-3-Clause
#pragma once

namespace vmux::app {

/// Tells the service manager ("READY=1"), if there is one: sd_notify(3)'s protocol. Silent when it does not listen.
void notify_manager(const char* state) noexcept;

}  // namespace vmux::app

// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <map>
#include <string>

#include "vmux/base/unique_fd.hpp"

namespace vmux::app {

/// Tells the service manager ("READY=1"), if there is one: sd_notify(3)'s protocol. Silent when it does not listen.
void notify_manager(const char* state) noexcept;
/// It keeps a duplicate of the descriptor under that name for the next start of this service; -1: none of that name any
/// more (FDSTORE, FDSTOREREMOVE). It does so later, and nobody hears whether it did.
void store_at_manager(const char* name, int fd) noexcept;
/// What it has kept: sd_listen_fds_with_names(3). Those of other names are closed. Once.
[[nodiscard]] std::map<std::string, UniqueFd> stored_at_manager();

}  // namespace vmux::app

// SPDX-License-Identifier: BSD-3-Clause
// Files of /proc, also for a program that has lost sight of it: one that changed its root keeps a descriptor of it.
#pragma once

#include <string>

#include "vmux/base/unique_fd.hpp"

namespace vmux::preload {

/// Before the program's root changes.
void keep_proc() noexcept;
/// `name` is relative to /proc: "self/maps". errno as after open().
[[nodiscard]] UniqueFd open_proc(const std::string& name, int flags) noexcept;
/// Where a link of /proc leads; empty when there is none.
[[nodiscard]] std::string read_proc_link(const std::string& name);

}  // namespace vmux::preload

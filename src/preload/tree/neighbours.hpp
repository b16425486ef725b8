// SPDX-License-Identifier: BSD-3-Clause
// What processes with an interposer know of each other: who has a function open, which serves one at a time, and what
// it is, as nobody else can ask its server meanwhile.
#pragma once

#include <optional>
#include <string>

#include "preload/process/settings.hpp"
#include "preload/tree/sysfs.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::preload {

/// The right to the function behind a server's socket, until all copies of the descriptor are closed (a forked child
/// has one too); none when another process has it. An abstract socket, named after the server's: the kernel frees it
/// however a process ends, and it needs no directory. Processes of another network namespace are not seen.
[[nodiscard]] UniqueFd take_claim(const std::string& socket) noexcept;
[[nodiscard]] bool is_claimed(const std::string& socket) noexcept;

/// Leaves in a generated tree what another process needs to make one of its own.
void write_record(const std::string& root, const Identity& identity);
/// What a tree in `directory` tells of a function; its group is left open.
[[nodiscard]] std::optional<Identity> find_record(const std::string& directory, const DeviceSetting& setting);

inline constexpr std::string_view kTreeName = "vmux-vfio.";

}  // namespace vmux::preload

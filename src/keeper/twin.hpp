// SPDX-License-Identifier: BSD-3-Clause
// A process that shares this one's table of descriptors and does nothing: when this one dies, all of its descriptors,
// also one that arrived in the last microsecond, are alive there under their numbers.
#pragma once

#include <sys/types.h>

#include <map>
#include <span>
#include <vector>

#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::keeper {

/// Starts it, before this process has a second thread. It answers at `socket` (ipc/packet.hpp), a descriptor of the
/// common table, until it is told to go, or until neither this process nor anybody at the socket's other end is left.
/// From then on this process must not exec, nor part with its table.
[[nodiscard]] Result<pid_t> start_twin(int socket) noexcept;

/// Asks the twin at the other end of `socket` for descriptors by their numbers. Those that are not open there are
/// missing in the answer.
[[nodiscard]] Result<std::map<int, UniqueFd>> fetch_from_twin(int socket, const std::vector<int>& numbers);
/// It ends, and the descriptors that nobody else has are closed.
void dismiss_twin(int socket) noexcept;

}  // namespace vmux::keeper

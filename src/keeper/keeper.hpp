// SPDX-License-Identifier: BSD-3-Clause
// The process that outlives daemons: it starts one, sees it die or stand still, and starts the next, which goes on with
// all that the one before had. It reads nothing that a guest or a client has written.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "vmux/base/unique_fd.hpp"

namespace vmux::keeper {

struct KeeperOptions {
  std::vector<std::string> arguments;       ///< of the daemon, without its name
  bool has_standby = false;                 ///< the next daemon is started beforehand
  std::uint64_t hang_ns = 1'000'000'000;    ///< a thread that neither sleeps nor gets on for so long hangs
  std::uint64_t start_ns = 10'000'000'000;  ///< in which a daemon that takes over must be ready
  std::string version;                      ///< of this program, for people
  std::string socket;                       ///< where a daemon that has lost its keeper waits; empty: nowhere
  std::string before;  ///< what a keeper that goes on as another program has to tell: see kBeforeVariable
  std::function<void(const char* state)> notify;  ///< of the service manager: "READY=1"
  /// The service manager keeps the descriptor under that name, from this keeper to the next: sd_notify(3), FDSTORE. -1:
  /// it keeps none of that name any more. May be empty.
  std::function<void(const char* name, int fd)> store;
  /// What it has kept: descriptors by their names.
  std::map<std::string, UniqueFd> stored = {};
};

/// Names of what is stored: enough to find, when keeper and daemon are dead, what the daemon had.
inline constexpr std::array kStoredNames{"vmux-objects", "vmux-twin", "vmux-signs", "vmux-epoch"};

/// Name of the environment variable by which a keeper tells itself, as another program, that it has a daemon, which is
/// about to wait for it, and what has been: "TAKEOVERS GAP_NS".
inline constexpr const char* kBeforeVariable = "VMUX_KEEPER_BEFORE";

/// Runs until the daemon ends because it was told to, or because nothing helps. The exit code for main().
[[nodiscard]] int run_keeper(KeeperOptions options);

}  // namespace vmux::keeper

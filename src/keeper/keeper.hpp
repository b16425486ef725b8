// SPDX-License-Identifier: BSD-3-Clause
// The process that outlives daemons: it starts one, sees it die or stand still, and starts the next, which goes on with
// all that the one before had. It reads nothing that a guest or a client has written.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace vmux::keeper {

struct KeeperOptions {
  std::vector<std::string> arguments;       ///< of the daemon, without its name
  bool has_standby = false;                 ///< the next daemon is started beforehand
  std::uint64_t hang_ns = 1'000'000'000;    ///< a thread that neither sleeps nor gets on for so long hangs
  std::uint64_t start_ns = 10'000'000'000;  ///< in which a daemon that takes over must be ready
  std::string socket;                       ///< where a daemon that has lost its keeper waits; empty: nowhere
  std::string before;  ///< what a keeper that goes on as another program has to tell: see kBeforeVariable
  std::function<void(const char* state)> notify;  ///< of the service manager: "READY=1"
};

/// Name of the environment variable by which a keeper tells itself, as another program, that it has a daemon, which is
/// about to wait for it, and what has been: "TAKEOVERS GAP_NS".
inline constexpr const char* kBeforeVariable = "VMUX_KEEPER_BEFORE";

/// Runs until the daemon ends because it was told to, or because nothing helps. The exit code for main().
[[nodiscard]] int run_keeper(KeeperOptions options);

}  // namespace vmux::keeper

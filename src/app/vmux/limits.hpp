// SPDX-License-Identifier: BSD-3-Clause
// What this machine, or the container around it, has in the way of surviving a crash: a sentence each.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vmux::app {

/// As they are found at the start. Everything is for a keeper.
struct Surroundings {
  std::uint64_t descriptors = ~0ull;    ///< RLIMIT_NOFILE, soft
  std::uint64_t locked_memory = ~0ull;  ///< RLIMIT_MEMLOCK, soft, bytes
  bool may_exceed = false;              ///< CAP_SYS_RESOURCE: no limit on descriptors under way
  bool may_lock = false;                ///< CAP_IPC_LOCK
  bool kills_as_one = false;            ///< memory.oom.group of our cgroup or one above
  bool has_pidfd = true;                ///< pidfd_open(2) is there, and no filter of system calls refuses it
  bool has_seccomp = false;             ///< there is such a filter
  bool is_first_process = false;        ///< process 1: of a container, as a rule
};
/// `root` is where /proc and /sys are.
[[nodiscard]] Surroundings look_around(const std::string& root = "");
/// What is in the way, for people: what does not work, and what helps.
[[nodiscard]] std::vector<std::string> limits_of(const Surroundings& surroundings);
/// Those of this process, in the log.
void warn_of_limits();

}  // namespace vmux::app

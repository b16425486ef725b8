// SPDX-License-Identifier: BSD-3-Clause
// Parts of a BAR that are not memory, mapped all the same: the pages fault, and each faulting load or store becomes an
// access through the device's socket. For programs that map a BAR as a whole, as DPDK's drivers do. x86-64 only.
#pragma once

#include <signal.h>

namespace vmux::preload {

[[nodiscard]] constexpr bool can_trap() noexcept {
#if defined(__x86_64__)
  return true;
#else
  return false;
#endif
}

/// From now on, faults where BarMaps has a mapping are accesses to its device. BarMaps::mutex() is held.
void trap_faults();

/// The program's own wish for SIGSEGV, kept behind ours; false when ours is not installed (the kernel shall do it).
[[nodiscard]] bool keep_segv_action(const struct sigaction* wanted, struct sigaction* before) noexcept;

}  // namespace vmux::preload

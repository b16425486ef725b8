// SPDX-License-Identifier: BSD-3-Clause
// Parts of a BAR that are not memory, mapped all the same: the pages fault, and each faulting load or store becomes an
// access through the device's socket. For programs that map a BAR as a whole, as DPDK's drivers do. x86-64 only.
#pragma once

#include <signal.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "preload/device.hpp"

namespace vmux::preload {

[[nodiscard]] constexpr bool can_trap() noexcept {
#if defined(__x86_64__)
  return true;
#else
  return false;
#endif
}

/// From now on, faults in [start, start + size) are accesses to `region` of `device` at `offset`. Keeps the device.
void trap_range(std::uint64_t start, std::size_t size, std::shared_ptr<Device> device, unsigned region,
                std::uint64_t offset);
/// Has there ever been such a range?
[[nodiscard]] bool has_trapped() noexcept;
/// The program unmapped, or mapped over, this range.
void forget_trapped(std::uint64_t start, std::size_t size);

/// The program's own wish for SIGSEGV, kept behind ours; false when ours is not installed (the kernel shall do it).
[[nodiscard]] bool keep_segv_action(const struct sigaction* wanted, struct sigaction* before) noexcept;

/// Before and after fork(), in the parent and in the child.
void lock_traps() noexcept;
void unlock_traps() noexcept;

}  // namespace vmux::preload

// SPDX-License-Identifier: BSD-3-Clause
// How many file descriptors this process may have (RLIMIT_NOFILE, getrlimit(2)).
#pragma once

#include <cstdint>

#include "vmux/base/result.hpp"

namespace vmux {

/// About what a port takes while a VM is attached: its sockets, the VM's memory, its doorbells, and an eventfd for each
/// interrupt vector; most for models with many queues. 0 VMs take a few dozen.
inline constexpr std::uint64_t kDescriptorsPerPort = 64;

struct DescriptorLimit {
  std::uint64_t was = 0, now = 0;  ///< soft limits; ~0 for none
};
/// Raises the soft limit to the hard one, which any process may. The soft one is 1024 by default for the sake of
/// programs that use select(2).
[[nodiscard]] Result<DescriptorLimit> raise_descriptor_limit() noexcept;

}  // namespace vmux

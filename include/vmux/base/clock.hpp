// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstdint>

namespace vmux {

/// CLOCK_MONOTONIC in nanoseconds (vDSO, no system call).
[[nodiscard]] std::uint64_t monotonic_ns() noexcept;

}  // namespace vmux

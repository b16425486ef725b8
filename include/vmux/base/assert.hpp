// SPDX-License-Identifier: BSD-3-Clause
// For our own mistakes only: no input of a guest, a client or a user may reach one.
#pragma once

namespace vmux {
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line) noexcept;
}  // namespace vmux

/// Stops the process with a message when `expression` is false, in every build type.
#define VMUX_ASSERT(expression) \
  ((expression) ? static_cast<void>(0) : ::vmux::assertion_failed(#expression, __FILE__, __LINE__))

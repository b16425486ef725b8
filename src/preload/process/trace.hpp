// SPDX-License-Identifier: BSD-3-Clause
// What the interposer says, always on standard error: problems (`say`), and with VMUX_VFIO_TRACE=1 each call that it
// translated (`trace`). Any thread. errno is left as it was.
#pragma once

#include <string_view>
#include <utility>

#include "base/text/format.hpp"

namespace vmux::preload {

/// One line, with our name before it.
void write_line(std::string_view line) noexcept;
[[nodiscard]] bool is_tracing() noexcept;

template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) noexcept {
  try {
    write_line(fmt::format(format, std::forward<Args>(args)...));
  } catch (...) {
    write_line("out of memory");
  }
}

template <class... Args>
void trace(fmt::format_string<Args...> format, Args&&... args) noexcept {
  if (is_tracing()) say(format, std::forward<Args>(args)...);
}

/// "= 5", or "= -1 EINVAL", for the end of a trace line. `result` is a value, or a negated errno.
[[nodiscard]] std::string result_text(long result);

}  // namespace vmux::preload

// SPDX-License-Identifier: BSD-3-Clause
// Formatted log lines. Not for the data path, except behind a RateLimit.
#pragma once

#include <utility>

#include "base/text/format.hpp"
#include "vmux/base/log.hpp"

namespace vmux {

template <class... Args>
void logf(LogLevel level, fmt::format_string<Args...> format, Args&&... args) noexcept {
  if (!log_enabled(level)) return;
  try {
    fmt::memory_buffer line;
    fmt::format_to(std::back_inserter(line), format, std::forward<Args>(args)...);
    log_line(level, {line.data(), line.size()});
  } catch (...) {
    log_line(level, "a log line could not be formatted");
  }
}

}  // namespace vmux

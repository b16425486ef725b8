// SPDX-License-Identifier: BSD-3-Clause
// Formatted log lines. Not for the data path, except behind a RateLimit.
#pragma once

#include <type_traits>
#include <utility>

#include "base/log_component.hpp"
#include "base/text/format.hpp"
#include "vmux/base/log.hpp"

namespace vmux {

/// A format with the component of the source file that it stands in.
template <class... Args>
struct LogText {
  template <class Text>
  consteval LogText(const Text& text, const char* file = __builtin_FILE())  // NOLINT(google-explicit-constructor)
      : format(text), component(component_of(file)) {}
  fmt::format_string<Args...> format;
  LogComponent component;
};

template <class... Args>
void logf(LogLevel level, LogText<std::type_identity_t<Args>...> text, Args&&... args) noexcept {
  if (!log_enabled(level, text.component)) return;
  try {
    fmt::memory_buffer line;
    fmt::format_to(std::back_inserter(line), text.format, std::forward<Args>(args)...);
    log_line(level, text.component, {line.data(), line.size()});
  } catch (...) {
    log_line(level, text.component, "a log line could not be formatted");
  }
}

}  // namespace vmux

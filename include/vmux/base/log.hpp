// SPDX-License-Identifier: BSD-3-Clause
// Where the library's log lines go. libvmux prints nothing by itself: a program sets a sink.
#pragma once

#include <cstdint>
#include <string_view>

namespace vmux {

enum class LogLevel : unsigned char { trace, debug, info, warning, error, off };

/// Called for each line at or above the level, from whichever thread logs; must be thread-safe and should not block.
using LogSink = void (*)(LogLevel level, std::string_view line);

/// Sets sink and level for the process; nullptr drops everything (the default). Not for use while others log.
void set_log_sink(LogSink sink, LogLevel level) noexcept;
void set_log_level(LogLevel level) noexcept;
[[nodiscard]] bool log_enabled(LogLevel level) noexcept;
/// Hands one line to the sink if its level is enabled; whatever is not printable in it is escaped (\n, \x1b, \xff).
void log_line(LogLevel level, std::string_view line) noexcept;

/// Lets through `burst` lines, then one per interval, and tells how many were held back. For faults that a guest can
/// cause at will. One thread each.
class RateLimit {
 public:
  explicit RateLimit(unsigned burst = 3, std::uint64_t interval_ns = 10'000'000'000ull) noexcept
      : interval_ns_(interval_ns), left_(burst) {}
  /// True when a line may be written now; `held_back()` then says how many were swallowed since the last one.
  [[nodiscard]] bool allow() noexcept;
  [[nodiscard]] std::uint64_t held_back() const noexcept { return reported_; }

 private:
  std::uint64_t interval_ns_;
  std::uint64_t last_ns_ = 0;
  std::uint64_t swallowed_ = 0;
  std::uint64_t reported_ = 0;
  unsigned left_;
};

}  // namespace vmux

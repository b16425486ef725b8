// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/base/log.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "base/text/printable.hpp"
#include "vmux/base/assert.hpp"
#include "vmux/base/clock.hpp"

namespace vmux {
namespace {
std::atomic<LogSink> g_sink{nullptr};
std::atomic<LogLevel> g_level{LogLevel::off};
}  // namespace

void set_log_sink(LogSink sink, LogLevel level) noexcept {
  g_sink.store(sink, std::memory_order_release);
  g_level.store(sink == nullptr ? LogLevel::off : level, std::memory_order_release);
}

void set_log_level(LogLevel level) noexcept { g_level.store(level, std::memory_order_release); }

bool log_enabled(LogLevel level) noexcept {
  return level != LogLevel::off && level >= g_level.load(std::memory_order_relaxed);
}

void log_line(LogLevel level, std::string_view line) noexcept {
  if (!log_enabled(level)) return;
  const LogSink sink = g_sink.load(std::memory_order_acquire);
  if (sink == nullptr) return;
  // Here, where all lines pass: a path or a name that a user chose cannot end the line and begin one of its own.
  if (is_printable(line)) return sink(level, line);
  try {
    sink(level, printable(line));
  } catch (...) {
    sink(level, "a log line could not be escaped");
  }
}

bool RateLimit::allow() noexcept {
  const std::uint64_t now = monotonic_ns();
  const bool due = left_ > 0 || now - last_ns_ >= interval_ns_;
  if (!due) {
    ++swallowed_;
    return false;
  }
  if (left_ > 0) --left_;
  last_ns_ = now;
  reported_ = swallowed_;
  swallowed_ = 0;
  return true;
}

std::uint64_t monotonic_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000ull + static_cast<std::uint64_t>(now.tv_nsec);
}

void assertion_failed(const char* expression, const char* file, int line) noexcept {
  std::fprintf(stderr, "vmux: %s:%d: assertion failed: %s (a defect in vMux, please report it)\n", file, line,
               expression);
  std::abort();
}

}  // namespace vmux

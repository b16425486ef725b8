// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/base/log.hpp"

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "base/log_component.hpp"
#include "base/text/printable.hpp"
#include "vmux/base/assert.hpp"
#include "vmux/base/clock.hpp"

namespace vmux {
namespace {
std::atomic<LogSink> g_sink{nullptr};
std::atomic<LogRecordSink> g_record_sink{nullptr};
std::atomic<LogLevel> g_level{LogLevel::off};
/// A level and one more, or 0: that of the process.
std::array<std::atomic<std::uint8_t>, kLogComponents.size()> g_levels{};

void hand_over(LogLevel level, LogComponent component, std::string_view line) {
  if (const LogRecordSink sink = g_record_sink.load(std::memory_order_acquire); sink != nullptr)
    return sink({level, kLogComponents[component], line});
  if (const LogSink sink = g_sink.load(std::memory_order_acquire); sink != nullptr) sink(level, line);
}
}  // namespace

void set_log_sink(LogSink sink, LogLevel level) noexcept {
  g_record_sink.store(nullptr, std::memory_order_release);
  g_sink.store(sink, std::memory_order_release);
  g_level.store(sink == nullptr ? LogLevel::off : level, std::memory_order_release);
}

void set_log_record_sink(LogRecordSink sink, LogLevel level) noexcept {
  g_record_sink.store(sink, std::memory_order_release);
  g_level.store(sink == nullptr ? LogLevel::off : level, std::memory_order_release);
}

std::optional<LogComponent> find_log_component(std::string_view name) noexcept {
  for (std::size_t i = 0; i < kLogComponents.size(); ++i) {
    if (kLogComponents[i] == name) return static_cast<LogComponent>(i);
  }
  return std::nullopt;
}

void set_log_level(LogComponent component, std::optional<LogLevel> level) noexcept {
  const auto stored = level ? static_cast<std::uint8_t>(static_cast<unsigned>(*level) + 1) : std::uint8_t{0};
  g_levels[component].store(stored, std::memory_order_relaxed);
}

std::optional<LogLevel> log_level_of(LogComponent component) noexcept {
  const std::uint8_t stored = g_levels[component].load(std::memory_order_relaxed);
  return stored == 0 ? std::nullopt : std::optional{static_cast<LogLevel>(stored - 1)};
}

bool log_enabled(LogLevel level, LogComponent component) noexcept {
  const auto own = log_level_of(component);
  return own ? level != LogLevel::off && level >= *own : log_enabled(level);
}

void set_log_level(LogLevel level) noexcept { g_level.store(level, std::memory_order_release); }

bool log_enabled(LogLevel level) noexcept {
  return level != LogLevel::off && level >= g_level.load(std::memory_order_relaxed);
}

void log_line(LogLevel level, std::string_view line) noexcept { log_line(level, LogComponent{0}, line); }

void log_line(LogLevel level, LogComponent component, std::string_view line) noexcept {
  if (!log_enabled(level, component)) return;
  // Here, where all lines pass: a path or a name that a user chose cannot end the line and begin one of its own.
  try {
    if (is_printable(line)) return hand_over(level, component, line);
    hand_over(level, component, printable(line));
  } catch (...) {
    // Without memory the sink may fail as well: a line is lost then, and the process is not.
    try {
      hand_over(level, component, "a log line could not be escaped");
    } catch (...) {
    }
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

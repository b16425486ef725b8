// SPDX-License-Identifier: BSD-3-Clause
// Which part of the program a log line comes from: the room of its source file. Each has a level of its own at run
// time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "vmux/base/log.hpp"

namespace vmux {

/// Folders below src/, those of one kind together; the first is what all others are.
inline constexpr auto kLogComponents =
    std::to_array<std::string_view>({"other", "app", "backend", "control", "device", "intel", "ipc", "keeper", "kvfio",
                                     "passthrough", "pci", "runtime", "switch", "vfio_user", "vhost_user", "virtio"});
using LogComponent = std::uint8_t;  ///< an index

/// Of a source file's path, as the compiler has it: ".../src/device/e1000/rx/rx.cpp" is "device".
[[nodiscard]] constexpr LogComponent component_of(std::string_view file) noexcept {
  constexpr std::string_view kSources = "src/";
  const std::size_t at = file.rfind(kSources);
  if (at == std::string_view::npos) return 0;
  const std::string_view rest = file.substr(at + kSources.size());
  const std::string_view folder = rest.substr(0, rest.find('/'));
  for (std::size_t i = 1; i < kLogComponents.size(); ++i) {
    if (kLogComponents[i] == folder) return static_cast<LogComponent>(i);
  }
  return 0;
}
static_assert(kLogComponents[component_of("/a/src/device/e1000/rx/rx.cpp")] == "device");
[[nodiscard]] std::optional<LogComponent> find_log_component(std::string_view name) noexcept;

/// The level of one component from now on, whatever that of the others is; nullopt: that of the process again.
void set_log_level(LogComponent component, std::optional<LogLevel> level) noexcept;
/// nullopt: that of the process.
[[nodiscard]] std::optional<LogLevel> log_level_of(LogComponent component) noexcept;
[[nodiscard]] bool log_enabled(LogLevel level, LogComponent component) noexcept;
/// As log_line(), of a component.
void log_line(LogLevel level, LogComponent component, std::string_view line) noexcept;

/// A line for whoever wants to know more of it than its text. `line` is printable.
struct LogRecord {
  LogLevel level{};
  std::string_view component, line;
};
/// In place of a LogSink, under the same rules.
using LogRecordSink = void (*)(const LogRecord& record);
void set_log_record_sink(LogRecordSink sink, LogLevel level) noexcept;

}  // namespace vmux

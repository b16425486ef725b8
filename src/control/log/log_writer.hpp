// SPDX-License-Identifier: BSD-3-Clause
// The daemon's log as text, as JSON, or as fields of systemd's journal.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "control/log/log_context.hpp"

namespace vmux::control {

enum class LogFormat : unsigned char {
  text,
  json,
  journal,  ///< systemd-journald's own protocol, where it listens; else text
};
/// "text", "json", "journal" or "auto": the journal where standard error leads there (JOURNAL_STREAM: systemd.exec(5)),
/// else text.
[[nodiscard]] std::optional<LogFormat> parse_log_format(std::string_view text) noexcept;

// Pure; `time_ns` is since 1970, UTC. Lines end with a line feed.
/// "2026-01-31T23:59:59.123+00:00 warning vm0: it hangs (client 4711; vmuxctl doctor vm0 says what else is wrong)"
[[nodiscard]] std::string text_of(const LogRecord& record, const LogContext& context, std::uint64_t time_ns);
/// {"time", "level", "component", "message", "port"?, "client"?, "advice"?}
[[nodiscard]] std::string json_of(const LogRecord& record, const LogContext& context, std::uint64_t time_ns);
/// "KEY=VALUE" lines as systemd.io/JOURNAL_NATIVE_PROTOCOL has them: what is logged is printable, so no value has
/// lines.
[[nodiscard]] std::string fields_of(const LogRecord& record, const LogContext& context);

/// Takes over the log of the process, for good; `journal` is where journald listens.
void start_log(LogFormat format, LogLevel level, const std::string& journal = "/run/systemd/journal/socket");

}  // namespace vmux::control

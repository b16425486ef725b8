// SPDX-License-Identifier: BSD-3-Clause
#include "control/log/log_writer.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/text/format.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::control {
namespace {

constexpr std::array kLevels{"trace", "debug", "info", "warning", "error", "off"};
constexpr std::array kPriorities{7, 7, 6, 4, 3, 3};  // of syslog(3)

const char* name_of(LogLevel level) noexcept { return kLevels[static_cast<std::size_t>(level)]; }

/// In the zone of this place.
std::string local_time(std::uint64_t time_ns) {
  const auto seconds = static_cast<std::time_t>(time_ns / 1'000'000'000);
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  char day[32], zone[8];
  std::strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
  std::strftime(zone, sizeof zone, "%z", &parts);
  const std::string_view offset = zone;  // "+0100", which RFC 3339 has as "+01:00"
  return fmt::format("{}.{:03}{}:{}", day, time_ns % 1'000'000'000 / 1'000'000, offset.substr(0, 3), offset.substr(3));
}

/// Standard error is what JOURNAL_STREAM says: DEVICE:INODE.
bool leads_to_journal() {
  const char* const stream = std::getenv("JOURNAL_STREAM");
  struct stat status {};
  if (stream == nullptr || ::fstat(STDERR_FILENO, &status) != 0) return false;
  return stream == fmt::format("{}:{}", status.st_dev, status.st_ino);
}

std::uint64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

void write_all(std::string_view line) {
  while (!line.empty()) {
    const ssize_t done = ::write(STDERR_FILENO, line.data(), line.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return;
    line.remove_prefix(static_cast<std::size_t>(done));
  }
}

LogFormat format = LogFormat::text;  // set before the sink is
int journal_socket = -1;

/// Any thread's; a line is one write(2), which a pipe or a terminal may take in parts.
void write_line(std::string_view line) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock{one_at_a_time};
  write_all(line);
}

void write(const LogRecord& record) {
  const LogContext context = LogBook::of_process().context_of(record);
  const std::uint64_t now = now_ns();
  std::string text = text_of(record, context, now);
  if (format == LogFormat::json) {
    write_line(json_of(record, context, now));
  } else if (format == LogFormat::text) {
    write_line(text);
  } else {
    const std::string fields = fields_of(record, context);
    // journald is away for a moment when it is restarted: then standard error has the line.
    if (::send(journal_socket, fields.data(), fields.size(), MSG_NOSIGNAL) < 0) write_line(text);
  }
  LogBook::of_process().keep(std::move(text));
}

bool open_journal(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, path.c_str(), path.size());
  UniqueFd socket{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return false;
  journal_socket = socket.release();
  return true;
}

}  // namespace

std::optional<LogFormat> parse_log_format(std::string_view text) noexcept {
  if (text == "text") return LogFormat::text;
  if (text == "json") return LogFormat::json;
  if (text == "journal") return LogFormat::journal;
  if (text != "auto") return std::nullopt;
  return leads_to_journal() ? LogFormat::journal : LogFormat::text;
}

std::string text_of(const LogRecord& record, const LogContext& context, std::uint64_t time_ns) {
  std::string out = fmt::format("{} {} {}", local_time(time_ns), name_of(record.level), record.line);
  if (!context.advice.empty()) {
    out += context.client > 0 ? fmt::format(" (client {}; {})", context.client, context.advice)
                              : fmt::format(" ({})", context.advice);
  }
  return out + '\n';
}

std::string json_of(const LogRecord& record, const LogContext& context, std::uint64_t time_ns) {
  nlohmann::ordered_json object{{"time", local_time(time_ns)},
                                {"level", name_of(record.level)},
                                {"component", record.component},
                                {"message", record.line}};
  if (!context.port.empty()) object["port"] = context.port;
  if (context.client > 0) object["client"] = context.client;
  if (!context.advice.empty()) object["advice"] = context.advice;
  return object.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) + '\n';
}

std::string fields_of(const LogRecord& record, const LogContext& context) {
  std::string out = fmt::format("MESSAGE={}\nPRIORITY={}\nSYSLOG_IDENTIFIER=vmux\nVMUX_COMPONENT={}\n", record.line,
                                kPriorities[static_cast<std::size_t>(record.level)], record.component);
  if (!context.port.empty()) out += fmt::format("VMUX_PORT={}\n", context.port);
  if (context.client > 0) out += fmt::format("VMUX_CLIENT_PID={}\n", context.client);
  if (!context.advice.empty()) out += fmt::format("VMUX_ADVICE={}\n", context.advice);
  return out;
}

void start_log(LogFormat wanted, LogLevel level, const std::string& journal) {
  format = wanted == LogFormat::journal && !open_journal(journal) ? LogFormat::text : wanted;
  set_log_record_sink(&write, level);
}

}  // namespace vmux::control

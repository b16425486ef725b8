// SPDX-License-Identifier: BSD-3-Clause
// What a log line is about, beside its text: the port whose name it begins with, that port's client, and what to do.
#pragma once

#include <sys/types.h>

#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log_component.hpp"

namespace vmux::control {

struct LogContext {
  std::string port;    ///< empty: it is about none
  pid_t client = 0;    ///< of that port; 0: nobody
  std::string advice;  ///< of warnings and errors; empty: there is none
};

/// The ports that there are, with their clients' processes, and the last lines of the log. One for the process, since
/// the log is; any thread. Holds its lock for a few copies, and is used by no frame.
class LogBook {
 public:
  static constexpr std::size_t kLines = 500;

  [[nodiscard]] static LogBook& of_process();

  void set_client(const std::string& port, pid_t client);
  void remove(const std::string& port);
  [[nodiscard]] LogContext context_of(const LogRecord& record) const;
  void keep(std::string line);
  [[nodiscard]] std::vector<std::string> lines() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, pid_t, std::less<>> clients_;
  std::deque<std::string> lines_;
};

/// A row: what a line says, and what to do then. NAME stands for the port, an asterisk in `says` for anything.
struct LogAdvice {
  std::string_view says;
  const char* advice;
};
/// Of a warning or an error about a port; never empty.
[[nodiscard]] std::string advice_for(std::string_view line, const std::string& port);

}  // namespace vmux::control

// SPDX-License-Identifier: BSD-3-Clause
// How a program ends.
#pragma once

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "app/output.hpp"
#include "base/text/printable.hpp"

namespace vmux::app {

/// What to print where, and the exit status.
struct Exit {
  int status = 0;
  std::string out;
  std::string err;
  std::string why;  ///< of a usage error: the sentence alone, printable
};
inline constexpr int kFailure = 1;
inline constexpr int kUsageError = 2;

/// Whether --json is among `written`, the arguments without the program's name, which may be none that can be parsed.
[[nodiscard]] inline bool asks_for_json(const std::vector<std::string>& written) {
  const auto end = std::find(written.begin(), written.end(), "--");  // behind it words are another program's
  return std::find(written.begin(), end, "--json") != end;
}

/// {"error": {"kind", "message"}} as a line of ASCII.
[[nodiscard]] inline std::string error_line(const std::string& kind, const std::string& message) {
  const nlohmann::json error{{"error", {{"kind", kind}, {"message", message}}}};
  return error.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) + '\n';
}

/// "vmuxctl: `text`" with a hint at --help, and as JSON. A terminal obeys nothing of what is said.
[[nodiscard]] inline Exit usage_error(const std::string& program, const std::string& text, bool as_json) {
  return {kUsageError, as_json ? error_line("invalid", text) : "",
          program + ": " + printable(text) + "\nTry '" + program + " --help'.\n", printable(text)};
}

/// Prints it, and the status: another one, if the output did not arrive.
[[nodiscard]] inline int leave(const std::string& program, const Exit& exit) {
  std::fputs(exit.err.c_str(), stderr);
  return print_and_finish(program.c_str(), exit.out.c_str(), exit.status, stdout, stderr);
}

}  // namespace vmux::app

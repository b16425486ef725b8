// SPDX-License-Identifier: BSD-3-Clause
// `vmuxctl trace`: what passes between a VM and its card, as it passes.
#include <csignal>
#include <ctime>
#include <thread>

#include "app/vmuxctl/local/commands.hpp"
#include "app/vmuxctl/table.hpp"
#include "base/text/format.hpp"
#include "base/text/text.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::app {
namespace {

using control::Json;

volatile std::sig_atomic_t is_interrupted = 0;

void on_interrupt(int /*signal*/) { is_interrupted = 1; }

/// Ctrl-C ends the trace in the daemon, too; a second one kills.
void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
  for (const int one : {SIGINT, SIGTERM, SIGHUP})
    ::sigaction(one, &action, nullptr);
}

/// "12:34:56.123456", as the clock of this place has it.
std::string clock_of(const Json& time_us) {
  if (!time_us.is_number_unsigned()) return "-";
  const auto all = time_us.get<std::uint64_t>();
  const auto seconds = static_cast<std::time_t>(all / 1'000'000);
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  return fmt::format("{:02}:{:02}:{:02}.{:06}", parts.tm_hour, parts.tm_min, parts.tm_sec, all % 1'000'000);
}

std::string name_or(const Json& record, const std::string& otherwise) {
  const Json& name = member(record, "name");
  return name.is_string() ? text(name) : otherwise;
}

std::string register_text(const Json& record) {
  return fmt::format("{} {} = {}{}", text(record, "region"), name_or(record, "+" + text(record, "offset")),
                     text(record, "value"),
                     member(record, "bytes") == Json(4) ? "" : fmt::format(" ({} bytes)", text(record, "bytes")));
}

std::string message_text(const Json& record) {
  std::string out =
      fmt::format("{}, {} bytes", name_or(record, "message " + text(record, "code")), text(record, "bytes"));
  if (!member(record, "fds").is_null()) out += fmt::format(", {} descriptors", text(record, "fds"));
  if (!member(record, "address").is_null())
    out += fmt::format(", {} bytes at {}", text(record, "size"), text(record, "address"));
  return out;
}

std::string command_text(const Json& record) {
  const std::string result = text(record, "result");
  return fmt::format("{}, {} bytes: {}", name_or(record, "command " + text(record, "code")), text(record, "bytes"),
                     result == "0" ? "done" : "refused (" + result + ")");
}

}  // namespace

std::string line_of_trace(const Json& record) {
  const std::string what = text(record, "what");
  const std::string rest =
      what == "read" || what == "write" ? register_text(record)
      : what == "message"               ? message_text(record)
      : what == "command"               ? command_text(record)
                          : name_or(record, "message " + text(record, "code")) + ": errno " + text(record, "errno");
  return fmt::format("{} {:<7} {}\n", clock_of(member(record, "time_us")), what, rest);
}

Exit trace_port(const Call& call, const AskAny& ask, const Out& out) {
  constexpr std::chrono::milliseconds kPause{50};
  const auto count = call.local.find("--count");
  std::uint64_t left = ~0ull;
  if (count != call.local.end()) {
    left = parse_number(count->second, ~0ull).value_or(0);
    if (left == 0) return usage_error("vmuxctl", "--count: expected a number from 1", call.as_json);
  }
  catch_interrupts();
  const auto begun = ask("trace.start", call.params);
  if (!begun) return explain(call, begun.error());
  const Json number{{"trace", member(*begun, "trace")}};
  bool goes_on = true;
  while (goes_on && left > 0 && is_interrupted == 0) {
    const auto slice = ask("trace.read", number);
    if (!slice) return explain(call, slice.error());
    std::string lines;
    for (const Json& record : member(*slice, "records")) {
      if (left == 0) break;
      --left;
      lines += call.as_json ? control::to_line(record) + '\n' : line_of_trace(record);
    }
    if (lines.empty()) {
      goes_on = member(*slice, "over") != Json(true);
      std::this_thread::sleep_for(kPause);
    } else {
      goes_on = out(lines);
    }
  }
  const auto ended = ask("trace.stop", number);
  if (!ended) return explain(call, ended.error());
  const Json& missed = member(*ended, "missed");
  const bool is_whole = missed == Json(0);
  return {0, "", is_whole ? "" : fmt::format("vmuxctl: {} records were missed\n", text(missed))};
}

}  // namespace vmux::app

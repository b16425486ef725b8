// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/upgrade.hpp"

#include <chrono>
#include <thread>

#include "app/vmuxctl/print.hpp"
#include "app/vmuxctl/view.hpp"
#include "base/text/format.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::app {
namespace {

using control::Json;
using control::Outcome;

constexpr std::chrono::milliseconds kPause{20};  // between two looks for the next daemon

/// Whom the keeper keeps.
Json daemon_of(const Json& status) { return status.value("active", Json{}); }

Exit tell(const Call& call, const Json& status) {
  const std::string outcome = status.value("upgrade", "");
  const bool is_done = outcome == "done";
  if (call.as_json) return {is_done ? 0 : kRolledBack, control::to_line(status) + '\n', ""};
  if (!is_done) return {kRolledBack, "", fmt::format("vmuxctl: {}\n", outcome)};
  const Json last = status.value("last", Json::object());
  return {0, fmt::format("done: process {} goes on, after {} us\n", last.value("pid", 0), last.value("gap_us", 0)), ""};
}

}  // namespace

Exit upgrade(const Call& call, const AskAnew& ask) {
  const Outcome<Json> before = ask("keeper.status", Json::object());
  if (!before) return explain(call, before.error());
  const Outcome<Json> answer = ask(kUpgrade, call.params);
  if (answer) {
    return {0, call.as_json ? control::to_line(*answer) + '\n' : call.command->print(*answer), ""};
  }
  if (answer.error().kind != control::ProblemKind::host) return explain(call, answer.error());
  // It went in the middle of the call, as it should.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{call.timeout_s};
  while (std::chrono::steady_clock::now() < deadline) {
    const Outcome<Json> now = ask("keeper.status", Json::object());
    if (now && daemon_of(*now) != daemon_of(*before)) return tell(call, *now);
    std::this_thread::sleep_for(kPause);
  }
  return explain(call, answer.error());
}

}  // namespace vmux::app

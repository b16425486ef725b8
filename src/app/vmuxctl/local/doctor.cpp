// SPDX-License-Identifier: BSD-3-Clause
// `vmuxctl doctor`: findings as people read them, and a status that says whether there are any.
#include <algorithm>
#include <array>
#include <string_view>

#include "app/console/wrap.hpp"
#include "app/vmuxctl/local/commands.hpp"
#include "app/vmuxctl/table.hpp"
#include "base/text/format.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::app {
namespace {

using control::Json;

/// On as many lines as it takes, all but the first further in.
std::string paragraph(const std::string& written, std::size_t indent, const Screen& screen) {
  const std::size_t room = screen.width > indent + kLeastRoom ? screen.width - indent : ~std::size_t{0};
  return fmt::format("{}\n", fmt::join(broken(written, room), '\n' + std::string(indent, ' ')));
}

std::string painted(const std::string& severity, const Screen& screen) {
  if (!screen.has_colour) return severity;
  const char* const colour = severity == "problem" ? "31" : severity == "warning" ? "33" : "32";
  return fmt::format("\x1b[{}m{}\x1b[0m", colour, severity);
}

std::string lines_of_finding(const Json& finding, const Screen& screen) {
  constexpr std::size_t kIndent = 4;
  const Json& name = member(finding, "name");
  const std::string about = text(finding, "kind") + (name.is_null() ? "" : " " + text(name));
  return painted(text(finding, "severity"), screen) +
         paragraph(fmt::format(": {}: {} ({})", about, text(finding, "text"), text(finding, "finding")), kIndent,
                   screen) +
         std::string(kIndent, ' ') + paragraph(text(finding, "advice"), kIndent, screen);
}

std::string summary_of(const Json& result, std::size_t shown) {
  const Json& at = member(result, "looked_at");
  const std::string of = fmt::format("{} ports, {} uplinks, {} pollers, {} s", text(at, "ports"), text(at, "uplinks"),
                                     text(at, "pollers"), text(result, "seconds"));
  return shown == 0 ? fmt::format("nothing found ({})\n", of) : fmt::format("{} found ({})\n", shown, of);
}

bool is_more_than_a_note(const Json& finding) { return text(finding, "severity") != "note"; }

}  // namespace

Exit examine(const Call& call, const AskAny& ask, const Out& out) {
  int status = 0;
  for (std::size_t i = 0; i < std::max<std::size_t>(1, call.names.size()); ++i) {
    Json params = call.params;
    if (!call.names.empty()) params["name"] = call.names[i];
    const auto result = ask("doctor", params);
    if (!result) return explain(call, result.error());
    const Json& findings = member(*result, "findings");
    if (std::any_of(findings.begin(), findings.end(), is_more_than_a_note)) status = kFailure;
    std::string lines;
    for (const Json& finding : findings)
      lines += lines_of_finding(finding, call.screen);
    lines += summary_of(*result, findings.size());
    if (!out(call.as_json ? control::to_line(*result) + '\n' : lines)) break;
  }
  return {status, "", ""};
}

}  // namespace vmux::app

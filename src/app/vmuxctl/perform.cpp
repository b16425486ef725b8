// SPDX-License-Identifier: BSD-3-Clause
// Calls that are made, and what is printed of their results.
#include "app/vmuxctl/cli.hpp"
#include "base/text/format.hpp"
#include "base/text/printable.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::app {
namespace {

using control::Json;
using control::Problem;

/// A problem in the words of the command line.
std::string text_of(const Call& call, const Problem& problem) {
  for (const Argument& argument : call.command->arguments) {
    if (!problem.field.empty() && problem.field == argument.param)
      return fmt::format("{}: {}", argument.option, problem.text);
  }
  return control::text_of(problem);
}

/// Several names are shown in one table, where there is one.
bool is_table(const Call& call) {
  return call.command->table != nullptr &&
         (call.command->print == nullptr || !call.view.is_plain() || call.names.size() > 1);
}

/// What came of several names; or of one call, whose result it is.
struct Results {
  Json found;
  bool is_list = false;
  Json errors = Json::array();
  std::string complaints;
};

/// Texts of one line stand together, longer ones apart.
std::string printed(const Call& call, const Results& results) {
  if (!results.is_list) return call.command->print(results.found);
  std::string out;
  for (const Json& each : results.found) {
    const std::string text = call.command->print(each);
    const bool is_long = text.find('\n') + 1 < text.size();
    out += (is_long && !out.empty() ? "\n" : "") + text;
  }
  return out;
}

Exit show(const Call& call, Results results) {
  std::string out;
  if (is_table(call) && !(call.as_json && call.view.is_plain())) {
    const auto table = seen(call.command->table(results.found), call.view);
    if (!table) return usage_error("vmuxctl", table.error(), call.as_json);
    if (call.as_json) results.found = json_of(*table, call.view);
    if (!table->rows.empty() || results.complaints.empty()) out = render(*table, call.screen, call.view.has_headings);
  } else if (!call.as_json) {
    out = printed(call, results);
  }
  if (call.as_json) {
    for (Json& error : results.errors)
      results.found.push_back(std::move(error));
    out = control::to_line(results.found) + '\n';
  }
  return {results.complaints.empty() ? 0 : kFailure, std::move(out), std::move(results.complaints)};
}

/// Lists that the calls answer with are joined.
void take(Results& results, const Json& result) {
  if (result.is_array()) {
    results.found.insert(results.found.end(), result.begin(), result.end());
  } else {
    results.found.push_back(result);
  }
}

void take(const Call& call, Results& results, const std::string& name, const Problem& problem) {
  const std::string text = problem.field == "name" ? problem.text : text_of(call, problem);
  results.complaints += fmt::format("vmuxctl: {}: {}\n", printable(name), printable(text));
  results.errors.push_back({{"name", name}, {"error", {{"kind", control::name_of(problem.kind)}, {"message", text}}}});
}

}  // namespace

Exit perform(const Call& call, const Ask& ask) {
  Json params = call.params;
  if (call.names.size() == 1) params["name"] = call.names.front();
  if (call.names.size() <= 1) {
    const control::Outcome<Json> result = ask(params);
    return result ? show(call, {*result}) : explain(call, result.error());
  }
  Results results{Json::array(), true};
  for (const std::string& name : call.names) {
    params["name"] = name;
    const control::Outcome<Json> result = ask(params);
    if (result) {
      take(results, *result);
    } else {
      take(call, results, name, result.error());
    }
  }
  return show(call, std::move(results));
}

Exit follow(const Call& call, const Ask& ask, const Out& out) {
  Json params = call.params;
  params["wait_s"] = call.timeout_s / 2;  // an answer comes, though nothing happens, before the wait for it ends
  for (;;) {
    const control::Outcome<Json> result = ask(params);
    if (!result) return explain(call, result.error());
    std::string lines;
    if (call.as_json) {
      for (const Json& event : member(*result, "events"))
        lines += control::to_line(event) + '\n';
    } else {
      lines = call.command->print(*result);
    }
    if (!lines.empty() && !out(lines)) return {};
    params["since"] = member(*result, "next");
  }
}

Exit explain(const Call& call, const Problem& problem) {
  const std::string text = text_of(call, problem);
  return {problem.kind == control::ProblemKind::invalid ? kUsageError : kFailure,
          call.as_json ? error_line(control::name_of(problem.kind), text) : "",
          fmt::format("vmuxctl: {}\n", printable(text))};
}

}  // namespace vmux::app

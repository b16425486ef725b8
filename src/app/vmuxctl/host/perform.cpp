// SPDX-License-Identifier: BSD-3-Clause
// Commands about this machine that are done, and what is printed of them.
#include "app/vmuxctl/host/commands.hpp"
#include "base/text/format.hpp"
#include "base/text/printable.hpp"
#include "control/model/spec/problem.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::app {
namespace {

using control::Json;

/// What came of a command, or of one for each of several functions.
struct Results {
  Json found;
  Json errors = Json::array();
  std::string complaints;
};

/// What was done, and not what there is.
bool is_report(const Json& result) { return !member(result, "done").is_null(); }

std::string print(const HostCommand& command, const HostArguments& arguments, const Json& found, const Table* table) {
  if (found.is_null()) return "";
  return table != nullptr ? render(*table, arguments.screen, arguments.view.has_headings) : command.print(found);
}

/// With what failed: at the end of a list, or as a member of a report.
Json with_errors(const HostCommand& command, Json found, const Json& errors) {
  if (errors.empty()) return found;
  if (found.is_null() && command.table != nullptr) found = Json::array();
  if (!found.is_array()) {
    found["errors"] = errors;
  } else {
    found.insert(found.end(), errors.begin(), errors.end());
  }
  return found;
}

Exit show(const HostCommand& command, const HostArguments& arguments, Results results) {
  const bool is_bad = command.is_bad != nullptr && command.is_bad(results.found);
  Exit exit{is_bad || !results.complaints.empty() ? kFailure : 0, "", std::move(results.complaints)};
  tl::expected<Table, std::string> table;
  const bool is_table = command.table != nullptr && !results.found.is_null() && !is_report(results.found);
  if (is_table) table = seen(command.table(results.found), arguments.view);
  if (!table) return usage_error("vmuxctl host", table.error(), arguments.as_json);
  if (!arguments.as_json) {
    exit.out = print(command, arguments, results.found, is_table ? &*table : nullptr);
    return exit;
  }
  if (is_table && !arguments.view.is_plain()) results.found = json_of(*table, arguments.view);
  exit.out = control::to_line(with_errors(command, std::move(results.found), results.errors)) + '\n';
  return exit;
}

void join(Json& found, Json result) {
  if (found.is_null()) {
    found = std::move(result);
  } else if (found.is_array()) {
    found.insert(found.end(), result.begin(), result.end());
  } else {
    for (const char* list : {"done", "notes"})
      found[list].insert(found[list].end(), result[list].begin(), result[list].end());
    if (result["changed"] == true) found["changed"] = true;
  }
}

Exit failed(const host::Failure& failure, bool as_json) {
  const control::ProblemKind kind = control::kind_of(failure.code);
  return {kind == control::ProblemKind::invalid ? kUsageError : kFailure,
          as_json ? error_line(control::name_of(kind), failure.text) : "",
          fmt::format("vmuxctl host: {}\n", printable(failure.text))};
}

void take(Results& results, const std::string& name, const host::Failure& failure) {
  results.complaints += fmt::format("vmuxctl host: {}: {}\n", printable(name), printable(failure.text));
  const char* const kind = control::name_of(control::kind_of(failure.code));
  results.errors.push_back({{"name", name}, {"error", {{"kind", kind}, {"message", failure.text}}}});
}

}  // namespace

Exit perform(const HostCommand& command, host::Machine& machine, HostArguments arguments) {
  if (!command.is_each || arguments.names.size() <= 1) {
    auto result = command.run(machine, arguments);
    return result ? show(command, arguments, {std::move(*result)}) : failed(result.error(), arguments.as_json);
  }
  Results results;
  for (const std::string& name : std::vector<std::string>{arguments.names}) {
    arguments.names = {name};
    auto result = command.run(machine, arguments);
    if (result) {
      join(results.found, std::move(*result));
    } else {
      take(results, name, result.error());
    }
  }
  return show(command, arguments, std::move(results));
}

}  // namespace vmux::app

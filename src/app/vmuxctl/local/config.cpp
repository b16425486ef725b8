// SPDX-License-Identifier: BSD-3-Clause
// Files are opened here, as the user who calls, and never by the daemon.
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "app/vmuxctl/local/commands.hpp"
#include "app/vmuxctl/print.hpp"
#include "base/text/format.hpp"
#include "base/text/printable.hpp"
#include "control/rpc/json_rpc.hpp"
#include "host/machine/machine.hpp"

namespace vmux::app {
namespace {

using control::Json;
using control::ProblemKind;

Exit failed(const Call& call, const std::string& text) {
  return explain(call, control::Problem{ProblemKind::host, "", text});
}

/// "-" is standard input.
tl::expected<std::string, std::string> content_of(const std::string& path) {
  std::error_code ignored;
  const bool is_input = path == "-", is_directory = std::filesystem::is_directory(path, ignored);
  errno = is_directory ? EISDIR : 0;
  std::ifstream file;
  if (!is_input && !is_directory) file.open(path, std::ios::binary);
  if (!is_input && !file.is_open()) {
    return tl::unexpected<std::string>(fmt::format("cannot read {}: {}", path, std::strerror(errno)));
  }
  std::istream& from = is_input ? std::cin : file;
  std::string content{std::istreambuf_iterator<char>{from}, {}};
  if (content.empty()) return tl::unexpected<std::string>(fmt::format("cannot read {}: it is empty", path));
  return content;
}

std::string local(const Call& call, const char* name) {
  const auto found = call.local.find(name);
  return found == call.local.end() ? "" : found->second;
}

}  // namespace

Exit save_configuration(const Call& call, const AskAny& ask, const Out& /*out*/) {
  const auto result = ask("config.get", Json::object());
  if (!result) return explain(call, result.error());
  std::string path = local(call, "FILE");
  const Json& own = member(*result, "file");
  if (path.empty() && own.is_string()) path = own.get<std::string>();
  if (path.empty()) return usage_error("vmuxctl", "FILE: is missing: the daemon was started without one", call.as_json);
  const std::string content = member(*result, "text").get<std::string>();
  if (path == "-") return {0, content, ""};
  std::error_code error;
  const auto target = std::filesystem::weakly_canonical(path, error);  // a link stays one
  host::Machine machine;
  if (auto done = machine.replace(error ? path : target.string(), content); !done) {
    return failed(call, fmt::format("cannot save to {}: {}", path, done.error().text()));
  }
  return {0,
          call.as_json ? control::to_line(Json{{"saved", path}}) + '\n' : fmt::format("saved to {}\n", printable(path)),
          ""};
}

Exit compare_configuration(const Call& call, const AskAny& ask, const Out& /*out*/) {
  Json params = Json::object();
  if (const std::string path = local(call, "FILE"); !path.empty()) {
    const auto content = content_of(path);
    if (!content) return failed(call, content.error());
    params = {{"text", *content}, {"name", path}};
  }
  const auto result = ask("config.diff", params);
  if (!result) return explain(call, result.error());
  return {0, call.as_json ? control::to_line(*result) + '\n' : print_reload(*result), ""};
}

Exit make_batch(const Call& call, const AskAny& ask, const Out& /*out*/) {
  const auto content = content_of(local(call, "FILE"));
  if (!content) return failed(call, content.error());
  if (control::is_too_deep(*content)) return usage_error("vmuxctl", "FILE: nested too deeply", call.as_json);
  Json params = call.params;
  params["calls"] = Json::parse(*content, nullptr, /*allow_exceptions=*/false);
  if (!params["calls"].is_array())
    return usage_error("vmuxctl", "FILE: expected a list of {\"method\", \"params\"} in JSON", call.as_json);
  const auto result = ask("batch", params);
  if (!result) return explain(call, result.error());
  if (call.as_json) return {0, control::to_line(*result) + '\n', ""};
  return {0, fmt::format("{} calls made\n", member(*result, "results").size()), ""};
}

}  // namespace vmux::app

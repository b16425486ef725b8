// SPDX-License-Identifier: BSD-3-Clause
// `vmuxctl bug-report`: all that somebody else needs who is to find out what is wrong, in one file. No frame is in it.
#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>

#include "app/vmuxctl/host_cli.hpp"
#include "app/vmuxctl/local/commands.hpp"
#include "app/vmuxctl/table.hpp"
#include "base/text/format.hpp"
#include "control/rpc/json_rpc.hpp"
#include "control/version.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::app {
namespace {

using control::Json;

/// Calls without parameters, and the keys under which their results stand.
constexpr auto kAsked = std::to_array<const char*>(
    {"version", "keeper.status", "config.get", "port.list", "port.stats", "switch.list", "uplink.list", "poller.list",
     "model.list", "backend.list", "capture.list", "trace.list", "log.level", "doctor", "events", "log.lines"});
/// Calls for each object of a list.
struct Each {
  const char* list;
  const char* method;
};
constexpr auto kEach = std::to_array<Each>({{"switch.list", "switch.show"}, {"port.list", "port.dma"}});

/// What a call came to; a report is made of what can be had.
Json answer_of(const AskAny& ask, const std::string& method, const Json& params) {
  const auto result = ask(method, params);
  if (result) return *result;
  return {{"error", {{"kind", control::name_of(result.error().kind)}, {"message", control::text_of(result.error())}}}};
}

std::string file_line(const char* path, const std::string& key) {
  std::ifstream file{path};
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) == 0) return line.substr(key.size());
  }
  return "";
}

Json this_machine() {
  utsname names{};
  ::uname(&names);
  return {{"kernel", fmt::format("{} {} {}", names.sysname, names.release, names.machine)},
          {"system", file_line("/etc/os-release", "PRETTY_NAME=")},
          {"cpu", file_line("/proc/cpuinfo", "model name\t: ")},
          {"cpus", ::sysconf(_SC_NPROCESSORS_ONLN)},
          {"vmuxctl", control::version()}};
}

/// `vmuxctl host check` of this machine, as a program would read it.
Json host_check() {
  host::Machine machine;
  const Exit exit = run_host({"check", "--json"}, machine, default_state_directory(), Screen{});
  const Json parsed = Json::parse(exit.out, nullptr, /*allow_exceptions=*/false);
  return parsed.is_discarded() ? Json(exit.err) : parsed;
}

std::string default_file() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&now, &parts);
  char text[64];
  std::strftime(text, sizeof text, "vmux-bug-report-%Y%m%d-%H%M%S.json", &parts);
  return text;
}

/// A new file, for its user alone: it says which addresses and names there are.
std::string write_new(const std::string& path, std::string_view content) {
  const UniqueFd file{::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
  if (!file) return fmt::format("cannot make {}: {}", path, std::strerror(errno));
  while (!content.empty()) {
    const ssize_t done = ::write(file.get(), content.data(), content.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return fmt::format("cannot write {}: {}", path, std::strerror(errno));
    content.remove_prefix(static_cast<std::size_t>(done));
  }
  return "";
}

}  // namespace

Json bug_report(const AskAny& ask) {
  Json report{{"machine", this_machine()}};
  for (const char* const method : kAsked)
    report[method] = answer_of(ask, method, Json::object());
  for (const Each& each : kEach) {
    Json results = Json::array();
    const Json list = report[each.list];
    for (const Json& object : list.is_array() ? list : Json::array())
      results.push_back(answer_of(ask, each.method, Json{{"name", member(object, "name")}}));
    report[each.method] = std::move(results);
  }
  return report;
}

Exit write_bug_report(const Call& call, const AskAny& ask, const Out& out) {
  Json report = bug_report(ask);
  report["host"] = host_check();
  const std::string content = report.dump(2, ' ', true, Json::error_handler_t::replace) + '\n';
  const auto written = call.local.find("FILE");
  const std::string path = written == call.local.end() ? default_file() : written->second;
  if (path == "-") return out(content) ? Exit{} : Exit{kFailure, "", ""};
  if (const std::string wrong = write_new(path, content); !wrong.empty())
    return explain(call, control::Problem{control::ProblemKind::host, "", wrong});
  if (call.as_json) return {0, control::to_line(Json{{"file", path}}) + '\n', ""};
  return {0,
          fmt::format("{}: has settings, counters, events and the log, with names and addresses of guests, and "
                      "nothing of what they send; look through it before you give it away\n",
                      path),
          ""};
}

}  // namespace vmux::app

// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/methods_config.hpp"

#include "control/config/saved.hpp"

namespace vmux::control {
namespace {

Json of_steps(const std::vector<Step>& steps) {
  Json list = Json::array();
  for (const Step& step : steps)
    list.push_back(Json{{"method", step.method}, {"params", step.params}});
  return list;
}

Json of_report(const ReloadReport& report) {
  return Json{{"removed", report.plan.count("remove")}, {"added", report.plan.count("add")},
              {"changed", report.plan.count("set")},    {"unchanged", report.plan.unchanged},
              {"calls", of_steps(report.plan.steps)},   {"kept", report.plan.kept},
              {"takes_restart", report.takes_restart},  {"failed", report.failed}};
}

Outcome<Json> get(const Daemon& daemon, const Json& object) {
  Params params{object};
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  const std::string& file = daemon.file();
  return Json{{"text", to_toml(daemon.settings(), daemon.objects().inventory())},
              {"file", file.empty() ? Json() : Json(file)},
              {"generation", daemon.objects().generation()}};
}

/// Of a text, or of the daemon's own file as it is now; nothing is changed.
Outcome<Json> diff(const Daemon& daemon, const Json& object) {
  Params params{object};
  const auto text = params.text("text");
  const std::string name = params.text("name").value_or("the configuration");
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  Configuration wanted;
  if (text) {
    if (auto read = parse_configuration(*text, name, wanted); !read) {
      return refuse(read.error().kind, "text", read.error().text);
    }
    if (auto settled = settle(wanted.daemon); !settled) return tl::unexpected<Problem>(settled.error());
    if (auto good = rehearse(wanted, daemon.objects().catalogue()); !good) {
      return refuse(good.error().problem.kind, "text",
                    place_of(*good.error().step, good.error().problem) + ": " + text_of(good.error().problem));
    }
  } else {
    auto read = daemon.read_file();
    if (!read) return tl::unexpected<Problem>(read.error());
    wanted = std::move(*read);
  }
  const auto report = daemon.plan(wanted);
  if (!report) return tl::unexpected<Problem>(report.error());
  return of_report(*report);
}

Outcome<Json> reload(Daemon& daemon, const Json& object) {
  Params params{object};
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  auto wanted = daemon.read_file();
  if (!wanted) return tl::unexpected<Problem>(wanted.error());
  const auto report = daemon.reload(std::move(*wanted));
  if (!report) return tl::unexpected<Problem>(report.error());
  return of_report(*report);
}

}  // namespace

void add_config_methods(Methods& methods, Daemon& daemon) {
  methods.add("config.get", [&daemon](const Json& params) { return get(daemon, params); }, {Role::read});
  methods.add("config.diff", [&daemon](const Json& params) { return diff(daemon, params); }, {Role::read});
  methods.add("config.reload", [&daemon](const Json& params) { return reload(daemon, params); }, {Role::admin});
}

}  // namespace vmux::control

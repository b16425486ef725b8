// SPDX-License-Identifier: BSD-3-Clause
// rpc.schema: what a program needs to know to make every call.
#include "control/rpc/methods_schema.hpp"
#include "base/text/format.hpp"
#include "control/live/event_ring.hpp"
#include "control/rpc/method_text.hpp"
#include "control/version.hpp"

namespace vmux::control {
namespace {

Json of_method(const Methods& methods, const MethodText& text) {
  Json properties = Json::object();
  Json required = Json::array();
  for (const OptionText& param : text.params) {
    properties[param.name] = schema_of(param);
    if (param.fallback == nullptr) required.push_back(param.name);
  }
  Json method{
      {"name", text.name}, {"summary", text.help}, {"role", to_text(methods.role_for(text.name, Json::object()))}};
  const Role more = methods.role_for(text.name, Json{{"", nullptr}});
  if (more != methods.role_for(text.name, Json::object())) method["role_with_params"] = to_text(more);
  method["params"] = {{"type", "object"},
                      {"properties", std::move(properties)},
                      {"required", std::move(required)},
                      {"additionalProperties", false}};
  method["result"] = text.result;
  return method;
}

Json errors() {
  Json list = Json::array();
  for (const ProblemKind kind :
       {ProblemKind::invalid, ProblemKind::not_found, ProblemKind::already_exists, ProblemKind::busy,
        ProblemKind::not_supported, ProblemKind::host, ProblemKind::not_allowed, ProblemKind::conflict})
    list.push_back({{"code", code_of(kind)}, {"kind", name_of(kind)}});
  return list;
}

Json events() {
  Json list = Json::array();
  for (const EventText& text : event_texts()) {
    Json event{{"event", text.name}, {"meaning", text.help}};
    if (text.number != nullptr) event["number"] = text.number;
    list.push_back(std::move(event));
  }
  return list;
}

}  // namespace

void add_schema_method(Methods& methods) {
  methods.add("rpc.schema",
              [&methods](const Json& object) -> Outcome<Json> {
                Params params{object};
                if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
                Json list = Json::array();
                for (const MethodText& text : method_texts()) {
                  if (methods.has(text.name)) list.push_back(of_method(methods, text));
                }
                return Json{{"version", version()},
                            {"max_request", kMaxRequest},
                            {"methods", std::move(list)},
                            {"errors", errors()},
                            {"events", events()}};
              },
              {Role::read});
}

}  // namespace vmux::control

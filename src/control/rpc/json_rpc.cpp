// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/json_rpc.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace vmux::control {
namespace {

constexpr auto kCodes = std::to_array<std::pair<ProblemKind, int>>({
    {ProblemKind::invalid, rpc_code::invalid_params},
    {ProblemKind::not_found, rpc_code::not_found},
    {ProblemKind::already_exists, rpc_code::already_exists},
    {ProblemKind::busy, rpc_code::busy},
    {ProblemKind::not_supported, rpc_code::not_supported},
    {ProblemKind::host, rpc_code::host},
    {ProblemKind::not_allowed, rpc_code::not_allowed},
    {ProblemKind::conflict, rpc_code::conflict},
});

Json error_response(Json id, int code, std::string message) {
  return Json{{"jsonrpc", "2.0"}, {"error", {{"code", code}, {"message", std::move(message)}}}, {"id", std::move(id)}};
}

Json problem_response(Json id, const Problem& problem) {
  Json response = error_response(std::move(id), code_of(problem.kind), text_of(problem));
  Json data{{"kind", name_of(problem.kind)}, {"text", problem.text}};
  if (!problem.field.empty()) data["field"] = problem.field;
  response["error"]["data"] = std::move(data);
  return response;
}

const Json* member(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

/// Why `request` is not a request object (section 4), or nullptr.
const char* fault_of(const Json& request) {
  if (!request.is_object()) return "a request is an object";
  const Json* const version = member(request, "jsonrpc");
  if (version == nullptr || *version != "2.0") return "jsonrpc must be \"2.0\"";
  const Json* const method = member(request, "method");
  if (method == nullptr || !method->is_string()) return "method must be text";
  const Json* const params = member(request, "params");
  if (params != nullptr && !params->is_structured()) return "params must be an object or an array";
  const Json* const id = member(request, "id");
  if (id != nullptr && !id->is_null() && !id->is_string() && !id->is_number()) return "id must be text or a number";
  return nullptr;
}

bool must_wait(const std::string& method, const Json& params, const Methods& methods, const Asker& asker) {
  if (asker.wait == nullptr || asker.role < methods.role_for(method, params)) return false;
  *asker.wait = methods.wait_of(method, params);
  return asker.wait->ns > 0;
}

/// Makes the call, if its caller may.
Outcome<Json> make_call(const std::string& method, const Json& params, const Methods& methods, const Asker& asker) {
  const Role needed = methods.role_for(method, params);
  Outcome<Json> result = asker.role >= needed
                             ? methods.call_for(asker.uid, method, params, asker.take_file)
                             : refuse(ProblemKind::not_allowed, "",
                                      std::string{method} + " takes the role " + to_text(needed) + "; yours is " +
                                          to_text(asker.role) + " (rpc_read, rpc_operate, rpc_admin)");
  if (asker.on_call) asker.on_call(method, params, needed, result);
  return result;
}

/// The response to one request; null for a notification, and for what waits.
Json answer_one(const Json& request, const Methods& methods, const Asker& asker) {
  if (const char* const fault = fault_of(request)) return error_response(nullptr, rpc_code::invalid_request, fault);
  const Json* const id = member(request, "id");
  const std::string& method = request["method"].get_ref<const std::string&>();
  Json response;
  if (!methods.has(method)) {
    response = error_response(id == nullptr ? Json() : *id, rpc_code::method_not_found,
                              "there is no method " + method.substr(0, 80));
  } else {
    const Json* const given = member(request, "params");
    // Parameters are by name; an empty array means the same as none.
    const Json params = given == nullptr || given->empty() ? Json::object() : *given;
    if (must_wait(method, params, methods, asker)) return {};
    const auto result = make_call(method, params, methods, asker);
    if (result) {
      response = Json{{"jsonrpc", "2.0"}, {"result", *result}, {"id", id == nullptr ? Json() : *id}};
    } else {
      response = problem_response(id == nullptr ? Json() : *id, result.error());
    }
  }
  return id == nullptr ? Json() : response;
}

}  // namespace

Role Methods::role_for(const std::string& name, const Json& params) const {
  const Access& access = methods_.at(name).access;
  if (access.by_parameters != nullptr) return access.by_parameters(*this, params);
  return params.empty() ? access.least : access.with_parameters;
}

std::vector<std::string> Methods::names() const {
  std::vector<std::string> names;
  for (const auto& [name, method] : methods_)
    names.push_back(name);
  return names;
}

Outcome<Json> Methods::call(const std::string& name, const Json& params, const TakeFile& take_file) const {
  const auto found = methods_.find(name);
  if (found == methods_.end()) return refuse(ProblemKind::not_found, "", "there is no method " + name);
  try {
    const Method& method = found->second;
    return method.file_handler ? method.file_handler(params, take_file ? take_file() : UniqueFd{})
                               : method.handler(params);
  } catch (const std::exception& error) {
    return refuse(ProblemKind::host, "", std::string{"a defect in vMux: "} + error.what());
  }
}

Outcome<Json> Methods::call_for(std::optional<std::uint32_t> uid, const std::string& name, const Json& params,
                                const TakeFile& take_file) const {
  if (on_caller_) on_caller_(uid);
  auto result = call(name, params, take_file);
  if (on_caller_) on_caller_(std::nullopt);
  return result;
}

Wait Methods::wait_of(const std::string& name, const Json& params) const {
  const WaitFor& wait_for = methods_.at(name).wait_for;
  return wait_for ? wait_for(params) : Wait{};
}

bool is_too_deep(std::string_view text) noexcept {
  constexpr int kMaxDepth = 32;
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string && c == '\\') {
      ++i;
    } else if (c == '"') {
      in_string = !in_string;
    } else if (!in_string && (c == '[' || c == '{') && ++depth > kMaxDepth) {
      return true;
    } else if (!in_string && (c == ']' || c == '}')) {
      --depth;
    }
  }
  return false;
}

std::string answer(std::string_view line, const Methods& methods, const Asker& asker) {
  if (is_too_deep(line)) return to_line(error_response(nullptr, rpc_code::parse_error, "nested too deeply"));
  const Json request = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (request.is_discarded()) return to_line(error_response(nullptr, rpc_code::parse_error, "this is not JSON"));
  if (!request.is_array() || request.empty()) {
    const Json response = answer_one(request, methods, asker);
    return response.is_null() ? "" : to_line(response);
  }
  Json responses = Json::array();
  Asker hurried = asker;
  hurried.wait = nullptr;  // one of a batch would keep the others waiting
  for (const Json& one : request) {
    if (Json response = answer_one(one, methods, hurried); !response.is_null())
      responses.push_back(std::move(response));
  }
  return responses.empty() ? "" : to_line(responses);
}

std::string answer_too_long() {
  return farewell("a request is one line of at most " + std::to_string(kMaxRequest) + " bytes");
}

std::string farewell(std::string why) {
  return to_line(error_response(nullptr, rpc_code::invalid_request, std::move(why)));
}

int code_of(ProblemKind kind) noexcept {
  for (const auto& [one, code] : kCodes) {
    if (one == kind) return code;
  }
  return rpc_code::internal_error;
}

Problem problem_of(const Json& error) {
  Problem problem{ProblemKind::host, "", "the daemon answered with an error that makes no sense"};
  if (!error.is_object()) return problem;
  if (const Json* code = member(error, "code"); code != nullptr && code->is_number_integer()) {
    for (const auto& [kind, value] : kCodes) {
      if (*code == value) problem.kind = kind;
    }
    if (*code == rpc_code::method_not_found) problem.kind = ProblemKind::not_supported;
  }
  if (const Json* text = member(error, "message"); text != nullptr && text->is_string()) problem.text = *text;
  const Json* const data = member(error, "data");
  if (data == nullptr || !data->is_object()) return problem;
  if (const Json* text = member(*data, "text"); text != nullptr && text->is_string()) problem.text = *text;
  if (const Json* field = member(*data, "field"); field != nullptr && field->is_string()) problem.field = *field;
  return problem;
}

std::string to_line(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

}  // namespace vmux::control

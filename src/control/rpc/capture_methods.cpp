// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/capture_methods.hpp"

#include <utility>

#include "base/text/format.hpp"
#include "control/capture/filter_text.hpp"

namespace vmux::control {
namespace {

constexpr std::int64_t kHeaders = 128;  // bytes: the default, and what does not take an admin
constexpr std::size_t kLongestText = 200;

/// Headers are what the owner of a network looks for a fault with, and an operator may cut the network anyway; what is
/// behind them is what guests say to each other, which a mirror shows to admins only, too.
Role role_to_start(const Methods& /*methods*/, const Json& params) {
  const auto snaplen = params.find("snaplen");
  if (snaplen == params.end()) return Role::operate;
  const std::int64_t bytes = snaplen->is_number_integer() ? snaplen->get<std::int64_t>() : 0;
  const bool is_more = bytes < 1 || bytes > kHeaders;  // what is no length at all is refused later
  return is_more ? Role::admin : Role::operate;
}

Json shown(const CaptureInfo& info) {
  const CaptureRequest& request = info.request;
  const switching::CaptureRules& rules = request.rules;
  Json object{{"capture", info.id},
              {"name", request.name},
              {"kind", info.kind},
              {"uid", request.uid},
              {"direction", rules.in && rules.out ? "both"
                            : rules.in            ? "in"
                                                  : "out"},
              {"snaplen", request.is_whole ? 0 : rules.snaplen},
              {"dropped", rules.only_dropped}};
  if (request.count != 0) object["count"] = request.count;
  if (!request.filter.empty()) object["filter"] = request.filter;
  object["frames"] = info.totals.written;
  object["missed"] = info.totals.missed;
  object["filtered"] = info.totals.seen - info.totals.passed;
  object["end"] = info.end == CaptureEnd::none ? Json() : Json(name_of(info.end));
  if (info.end != CaptureEnd::none) object["why"] = info.why;
  return object;
}

/// nullopt: none that there is.
std::optional<std::pair<bool, bool>> ways_of(std::string_view direction) {
  if (direction == "both") return std::pair{true, true};
  if (direction == "in") return std::pair{true, false};
  if (direction == "out") return std::pair{false, true};
  return std::nullopt;
}

/// A line of a file and of the log: what is not printable ASCII or too long is left out.
std::string plain(const std::string& text) {
  std::string out;
  for (const char c : text.substr(0, kLongestText)) {
    if (c >= ' ' && c <= '~') out += c;
  }
  return out;
}

Outcome<CaptureRequest> request_of(Controller& controller, const Json& object) {
  Params params{object};
  CaptureRequest request;
  request.name = params.required_name("name");
  request.uid = controller.caller();
  request.rules.only_dropped = params.flag("dropped").value_or(false);
  // What is seen of a whole switch: each frame once, where it enters; and whatever became of it on its way out.
  const Inventory& inventory = controller.inventory();
  const bool is_port =
      inventory.find<PortSpec>(request.name) != nullptr || inventory.find<UplinkSpec>(request.name) != nullptr;
  const std::string direction =
      params.text("direction").value_or(is_port || request.rules.only_dropped ? "both" : "in");
  const auto ways = ways_of(direction);
  if (!ways) params.reject(ProblemKind::invalid, "direction", "expected in, out or both");
  const std::uint64_t snaplen =
      params.number("snaplen", 0, switching::Tap::kMostSnaplen).value_or(std::uint64_t{kHeaders});
  request.is_whole = snaplen == 0;
  request.rules.snaplen = static_cast<std::uint32_t>(request.is_whole ? switching::Tap::kMostSnaplen : snaplen);
  request.count = params.number("count", 1, ~0ull).value_or(0);
  if (const auto written = params.text("filter")) {
    auto filter = parse_filter(*written);
    if (!filter) params.reject(ProblemKind::invalid, "filter", filter.error());
    if (filter) request.rules.filter = std::move(*filter);
  }
  request.filter = plain(params.text("filter_text").value_or(""));
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  std::tie(request.rules.in, request.rules.out) = *ways;
  return request;
}

Outcome<Json> start(Controller& controller, const Json& params, UniqueFd file) {
  auto request = request_of(controller, params);
  if (!request) return tl::unexpected<Problem>(request.error());
  const PortSpec* const port = controller.inventory().find<PortSpec>(request->name);
  if (port != nullptr && port->switch_name.empty()) {
    return refuse(ProblemKind::not_supported, "name",
                  fmt::format("the frames of {} pass from the device to its VM: none comes by here", port->name));
  }
  const auto begun = controller.captures().begin(std::move(*request), std::move(file));
  if (!begun) return tl::unexpected<Problem>(begun.error());
  return shown(*begun);
}

Outcome<std::uint64_t> number_of(const Json& object) {
  Params params{object};
  const auto number = params.number("capture", 1, ~0ull);
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  if (!number) return refuse(ProblemKind::invalid, "capture", "expected its number, got nothing");
  return *number;
}

Outcome<Json> stop(Controller& controller, const Json& params) {
  const auto number = number_of(params);
  if (!number) return tl::unexpected<Problem>(number.error());
  const auto stopped = controller.captures().stop(*number, controller.caller());
  if (!stopped) return tl::unexpected<Problem>(stopped.error());
  return shown(*stopped);
}

Outcome<Json> show(Controller& controller, const Json& params) {
  const auto number = number_of(params);
  if (!number) return tl::unexpected<Problem>(number.error());
  for (const CaptureInfo& info : controller.captures().list()) {
    if (info.id == *number) return shown(info);
  }
  return refuse(ProblemKind::not_found, "capture", fmt::format("there is no capture {}", *number));
}

Outcome<Json> list(Controller& controller, const Json& object) {
  Params params{object};
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  Json all = Json::array();
  for (const CaptureInfo& info : controller.captures().list())
    all.push_back(shown(info));
  return all;
}

}  // namespace

void add_capture_methods(Methods& methods, Controller& controller) {
  methods.add_with_file(
      "capture.start",
      [&controller](const Json& params, UniqueFd file) { return start(controller, params, std::move(file)); },
      {Role::operate, Role::operate, role_to_start});
  const auto add = [&](const char* name, Outcome<Json> (*handle)(Controller&, const Json&), Access access) {
    methods.add(
        name, [&controller, handle](const Json& params) { return handle(controller, params); }, access);
  };
  add("capture.list", list, {Role::read});
  add("capture.show", show, {Role::read});
  add("capture.stop", stop, {Role::operate});
}

}  // namespace vmux::control

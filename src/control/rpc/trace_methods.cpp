// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/trace_methods.hpp"

#include <ctime>

#include "base/text/format.hpp"
#include "control/trace/register_names.hpp"

namespace vmux::control {
namespace {

using What = TraceRecord::What;

Json shown(const TraceInfo& info) {
  return {{"trace", info.id},      {"name", info.port},   {"uid", info.uid}, {"records_read", info.records},
          {"missed", info.missed}, {"over", info.is_over}};
}

const char* name_of(What what) noexcept {
  switch (what) {
    case What::message:
      return "message";
    case What::refused:
      return "refused";
    case What::read:
      return "read";
    case What::write:
      return "write";
    case What::command:
      break;
  }
  return "command";
}

std::string hex(std::uint64_t number) { return fmt::format("{:#x}", number); }

/// Wall-clock time of a monotonic one: how far they are apart changes when somebody sets the clock.
std::uint64_t wall_ns(std::uint64_t monotonic) {
  timespec wall{}, steady{};
  ::clock_gettime(CLOCK_REALTIME, &wall);
  ::clock_gettime(CLOCK_MONOTONIC, &steady);
  const auto ns = [](const timespec& time) {
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(time.tv_nsec);
  };
  return ns(wall) - ns(steady) + monotonic;
}

Json shown(const TraceLine& line) {
  const TraceRecord& record = line.record;
  Json object{{"time_us", wall_ns(record.time_ns) / 1000}, {"what", name_of(record.what)}};
  if (!line.name.empty()) object["name"] = line.name;
  switch (record.what) {
    case What::read:
    case What::write:
      object["region"] = control::name_of(static_cast<pci::Region>(record.region));
      object["offset"] = hex(record.offset);
      object["bytes"] = record.bytes;
      object["value"] = hex(record.value);
      break;
    case What::message:
      object["code"] = record.code;
      object["bytes"] = record.bytes;
      if (record.fds != 0) object["fds"] = record.fds;
      if (record.value != 0) {
        object["address"] = hex(record.offset);
        object["size"] = hex(record.value);
      }
      break;
    case What::refused:
      object["code"] = record.code;
      object["errno"] = record.result;
      break;
    case What::command:
      object["code"] = hex(record.code);
      object["bytes"] = record.bytes;
      object["result"] = record.result;
      break;
  }
  return object;
}

Outcome<Json> start(Controller& controller, const Json& params) {
  const auto name = name_only(params);
  if (!name) return tl::unexpected<Problem>(name.error());
  if (controller.inventory().find<PortSpec>(*name) == nullptr)
    return refuse(ProblemKind::not_found, "name", fmt::format("there is no port named {}", *name));
  const auto begun = controller.begin_trace(*name);
  if (!begun) return tl::unexpected<Problem>(begun.error());
  return shown(*begun);
}

Outcome<std::uint64_t> number_of(Params& params) {
  const auto number = params.number("trace", 1, ~0ull);
  if (!number) params.reject(ProblemKind::invalid, "trace", "expected its number, got nothing");
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  return *number;
}

Outcome<Json> read(Controller& controller, const Json& object) {
  constexpr std::size_t kMost = 1024;  // in an answer
  Params params{object};
  const auto number = number_of(params);
  if (!number) return tl::unexpected<Problem>(number.error());
  const auto slice = controller.traces().read(*number, controller.caller(), kMost);
  if (!slice) return tl::unexpected<Problem>(slice.error());
  Json result = shown(slice->info);
  result["records"] = Json::array();
  for (const TraceLine& line : slice->lines)
    result["records"].push_back(shown(line));
  return result;
}

Outcome<Json> stop(Controller& controller, const Json& object) {
  Params params{object};
  const auto number = number_of(params);
  if (!number) return tl::unexpected<Problem>(number.error());
  const auto stopped = controller.traces().stop(*number);
  if (!stopped) return tl::unexpected<Problem>(stopped.error());
  return shown(*stopped);
}

Outcome<Json> list(Controller& controller, const Json& object) {
  Params params{object};
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  Json all = Json::array();
  for (const TraceInfo& info : controller.traces().list())
    all.push_back(shown(info));
  return all;
}

}  // namespace

void add_trace_methods(Methods& methods, Controller& controller) {
  const auto add = [&](const char* name, Outcome<Json> (*handle)(Controller&, const Json&), Access access) {
    methods.add(
        name, [&controller, handle](const Json& params) { return handle(controller, params); }, access);
  };
  // Registers and commands say where a guest's buffers are and which addresses it uses; not what is in its frames.
  add("trace.start", start, {Role::operate});
  add("trace.read", read, {Role::read});  // of whoever was let begin it: not a line in the log for each look
  add("trace.stop", stop, {Role::operate});
  add("trace.list", list, {Role::read});
}

}  // namespace vmux::control

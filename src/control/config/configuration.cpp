// SPDX-License-Identifier: BSD-3-Clause
#include "control/config/configuration.hpp"

#include <sched.h>

#include <algorithm>

#include "base/format.hpp"
#include "runtime/wakefulness.hpp"

namespace vmux::control {
namespace {

std::vector<unsigned> available_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<unsigned> cpus;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

}  // namespace

Outcome<> apply_daemon(const Json& values, DaemonSpec& spec) {
  Params params{values};
  if (auto rpc = params.text("rpc")) {
    if (auto ok = check_socket_path("rpc", *rpc); !ok)
      params.reject(ok.error().kind, ok.error().field, ok.error().text);
    spec.rpc = std::move(rpc);
  }
  const auto take_access = [&params](SocketAccess& into, const AccessKeys& keys) {
    SocketAccess given = params.access(keys);
    if (given.owner) into.owner = std::move(given.owner);
    if (given.group) into.group = std::move(given.group);
    if (given.mode) into.mode = given.mode;
  };
  take_access(spec.rpc_access, kRpcAccess);
  take_access(spec.port_access, kPortAccess);
  if (auto members = params.members("rpc_read")) spec.roles.read = std::move(members);
  if (auto members = params.members("rpc_operate")) spec.roles.operate = std::move(members);
  if (auto members = params.members("rpc_admin")) spec.roles.admin = std::move(members);
  if (const auto level = params.log_level("log_level")) spec.log_level = *level;
  if (const auto mac = params.mac("base_mac")) spec.base_mac = mac;
  if (const auto doorbell = params.doorbell("doorbell")) spec.doorbell = doorbell;
  return params.finish();
}

Outcome<> apply_pollers(const Json& values, PollersSpec& spec) {
  constexpr std::uint64_t kMaxMicroseconds = 1'000'000;
  Params params{values};
  if (const auto count = params.number("count", 1, kMaxPollers)) spec.count = static_cast<unsigned>(*count);
  if (auto cpus = params.cpus("cpus")) spec.cpus = std::move(*cpus);
  spec.busy = params.flag("busy").value_or(spec.busy);
  spec.spin_us = params.number("spin_us", 0, kMaxMicroseconds).value_or(spec.spin_us);
  if (const auto first = params.number("min_sleep_us", 1, kMaxMicroseconds)) spec.min_sleep_us = first;
  spec.max_sleep_us = params.number("max_sleep_us", 1, kMaxMicroseconds).value_or(spec.max_sleep_us);
  spec.linger_us = params.number("linger_us", 0, kMaxMicroseconds).value_or(spec.linger_us);
  if (const auto awake = params.number("keep_awake_us", 0, kMaxMicroseconds)) spec.keep_awake_us = awake;
  return params.finish();
}

Outcome<> settle(DaemonSpec& daemon) {
  PollersSpec& pollers = daemon.pollers;
  if (!pollers.keep_awake_us) pollers.keep_awake_us = runtime::in_virtual_machine() ? kKeepAwakeUs : 0;
  if (pollers.count == 0) pollers.count = pollers.cpus.empty() ? 1 : static_cast<unsigned>(pollers.cpus.size());
  if (!pollers.cpus.empty() && pollers.cpus.size() != pollers.count) {
    return refuse(ProblemKind::invalid, "cpus",
                  fmt::format("expected one CPU for each of {} poller(s), got {}: {}", pollers.count,
                              pollers.cpus.size(), to_text(pollers.cpus)));
  }
  if (pollers.count > kMaxPollers) {
    return refuse(ProblemKind::invalid, "count", fmt::format("expected at most {} pollers", kMaxPollers));
  }
  const auto available = available_cpus();
  for (const unsigned cpu : pollers.cpus) {
    if (available.empty() || std::find(available.begin(), available.end(), cpu) != available.end()) continue;
    return refuse(ProblemKind::invalid, "cpus",
                  fmt::format("expected CPUs that this process may use ({}), got {}", to_text(available), cpu));
  }
  if (!pollers.min_sleep_us) pollers.min_sleep_us = std::min(kMinSleepUs, pollers.max_sleep_us);
  if (*pollers.min_sleep_us > pollers.max_sleep_us) {
    return refuse(
        ProblemKind::invalid, "min_sleep_us",
        fmt::format("expected at most max_sleep_us ({}), got {}", pollers.max_sleep_us, *pollers.min_sleep_us));
  }
  return {};
}

const std::string& place_of(const Step& step, const Problem& problem) {
  const auto found = std::find_if(step.where_keys.begin(), step.where_keys.end(),
                                  [&problem](const auto& one) { return one.first == problem.field; });
  return found == step.where_keys.end() ? step.where : found->second;
}

Outcome<> rehearse(const Step& step, Inventory& inventory) {
  const auto add = [&inventory](auto spec) -> Outcome<> {
    if (!spec) return tl::unexpected<Problem>(spec.error());
    auto added = inventory.add(std::move(*spec));
    if (!added) return tl::unexpected<Problem>(added.error());
    return {};
  };
  if (step.method == "switch.add") return add(switch_spec(step.params));
  if (step.method == "uplink.add") return add(uplink_spec(step.params));
  if (step.method == "port.add") return add(port_spec(step.params));
  return refuse(ProblemKind::invalid, "", fmt::format("{} cannot be part of a start", step.method));
}

tl::expected<void, StepProblem> rehearse(const Configuration& configuration, const Catalogue& catalogue) {
  Inventory inventory{catalogue, configuration.daemon};
  for (const Step& step : configuration.steps) {
    if (auto done = rehearse(step, inventory); !done) {
      return tl::unexpected<StepProblem>(StepProblem{done.error(), &step});
    }
  }
  return {};
}

}  // namespace vmux::control

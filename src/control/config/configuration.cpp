// SPDX-License-Identifier: BSD-3-Clause
#include "control/config/configuration.hpp"

#include <sched.h>

#include <algorithm>

#include "base/text/format.hpp"
#include "control/log/log_writer.hpp"
#include "control/model/inventory_kinds.hpp"
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
  read_options(params, daemon_options(), spec);
  if (auto done = params.finish(); !done) return done;
  return spec.rpc ? check_socket_path("rpc", *spec.rpc) : Outcome<>{};
}

Outcome<> apply_pollers(const Json& values, PollersSpec& spec) {
  Params params{values};
  read_options(params, poller_options(), spec);
  return params.finish();
}

Outcome<> settle(DaemonSpec& daemon) {
  if (daemon.log_format && !parse_log_format(*daemon.log_format)) {
    return refuse(ProblemKind::invalid, "log_format",
                  fmt::format("expected text, json, journal or auto, got '{}'", *daemon.log_format));
  }
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
  const InventoryKind* const kind = kind_of_method(step.method);
  if (kind == nullptr || step.method != std::string{kind->name} + ".add") {
    return refuse(ProblemKind::invalid, "", fmt::format("{} cannot be part of a start", step.method));
  }
  return kind->add(inventory, step.params);
}

tl::expected<void, StepProblem> rehearse(const Configuration& configuration, const Catalogue& catalogue) {
  Inventory inventory{catalogue, configuration.daemon};
  inventory.defer_mirrors(true);
  for (const Step& step : configuration.steps) {
    if (auto done = rehearse(step, inventory); !done) {
      return tl::unexpected<StepProblem>(StepProblem{done.error(), &step});
    }
  }
  inventory.defer_mirrors(false);
  return check_mirrors(inventory, configuration.steps);
}

tl::expected<void, StepProblem> check_mirrors(const Inventory& inventory, const std::vector<Step>& steps) {
  const auto wrong = inventory.mirror_problem();
  if (!wrong) return {};
  const auto at = std::find_if(steps.begin(), steps.end(), [&wrong](const Step& step) {
    return step.params.value("name", std::string{}) == wrong->name && step.params.contains("mirror");
  });
  return tl::unexpected<StepProblem>(StepProblem{wrong->problem, at == steps.end() ? nullptr : &*at});
}

}  // namespace vmux::control

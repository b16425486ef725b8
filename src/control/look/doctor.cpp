// SPDX-License-Identifier: BSD-3-Clause
#include "control/look/doctor.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "control/look/memory_map.hpp"
#include "port/counters.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::control {
namespace {

using CountsOf = std::map<std::string, std::uint64_t>;

CountsOf counts_of(const CounterReport& report) { return {report.begin(), report.end()}; }

CountsOf counts_of(const std::vector<Controller::LaneState>& lanes) {
  CountsOf counts;
  for (const auto& row : port::kPortCounters) {
    for (const Controller::LaneState& lane : lanes)
      counts[row.text.name] += row.get(*lane.counters);
  }
  return counts;
}

std::vector<std::size_t> pollers_of(const std::vector<Controller::LaneState>& lanes) {
  std::vector<std::size_t> pollers;
  for (const Controller::LaneState& lane : lanes) {
    if (lane.poller) pollers.push_back(*lane.poller);
  }
  return pollers;
}

CountsOf before_of(const std::map<std::string, CountsOf>& all, const std::string& name) {
  const auto found = all.find(name);
  return found == all.end() ? CountsOf{} : found->second;
}

MemoryFacts memory_facts(const Frontend::Client& client) {
  const MemoryMap map = memory_map_of(client.memory);
  const auto sharing = sharing_of(map.files, client.pid);
  MemoryFacts facts;
  for (const MemoryRange& range : map.ranges) {
    (range.host == nullptr ? facts.by_message : facts.mapped) += range.size;
    if (!range.file) continue;
    if (sharing[*range.file] == Sharing::private_) facts.private_bytes += range.size;
    if (map.files[*range.file].page_size == 4096) facts.small_pages += range.size;
  }
  facts.node = node_of(map);
  return facts;
}

std::uint64_t open_descriptors() {
  std::error_code error;
  const std::filesystem::directory_iterator all{"/proc/self/fd", error};
  return error ? 0 : static_cast<std::uint64_t>(std::distance(begin(all), end(all)));
}

std::uint64_t most_descriptors() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

}  // namespace

void Doctor::begin() {
  Sample sample;
  sample.ns = monotonic_ns();
  for (const PortSpec& spec : controller_.inventory().all<PortSpec>()) {
    const auto state = controller_.port_state(spec.name);
    sample.model[spec.name] = counts_of(state.model);
    sample.transport[spec.name] = counts_of(state.client);
    sample.counters[spec.name] = counts_of(controller_.lanes(spec.name));
  }
  for (const UplinkSpec& spec : controller_.inventory().all<UplinkSpec>())
    sample.counters[spec.name] = counts_of(controller_.lanes(spec.name));
  for (const runtime::Poller* poller : controller_.pollers())
    sample.pollers.push_back(poller->stats());
  before_ = std::move(sample);
}

PortFacts Doctor::look_at(const PortSpec& spec, const Sample* before) const {
  const ModelEntry& model = *controller_.catalogue().model(spec.model);
  const auto view = controller_.look_at(spec.name);
  const auto lanes = controller_.lanes(spec.name);
  PortFacts facts;
  facts.spec = spec;
  facts.default_doorbell = model.doorbell;
  facts.queues = model.queues(spec.queues);
  facts.is_connected = view.state.is_connected;
  facts.is_ready = view.state.is_ready;
  facts.client = view.client.pid;
  facts.faults = view.faults;
  facts.pollers = pollers_of(lanes);
  facts.counters.now = counts_of(lanes);
  facts.model.now = counts_of(view.state.model);
  facts.transport.now = counts_of(view.state.client);
  if (before != nullptr) {
    facts.counters.before = before_of(before->counters, spec.name);
    facts.model.before = before_of(before->model, spec.name);
    facts.transport.before = before_of(before->transport, spec.name);
  }
  facts.config = config_facts(view.config);
  facts.memory = memory_facts(view.client);
  if (model.takes_device && spec.device) facts.function = function_facts(*spec.device, controller_.system_files());
  return facts;
}

UplinkFacts Doctor::look_at(const UplinkSpec& spec, const Sample* before) const {
  const auto lanes = controller_.lanes(spec.name);
  UplinkFacts facts{spec, controller_.uplink_is_ready(spec.name), pollers_of(lanes), {{}, counts_of(lanes)}};
  if (before != nullptr) facts.counters.before = before_of(before->counters, spec.name);
  return facts;
}

PollerFacts Doctor::look_at(std::size_t poller, const Sample* before) const {
  const PollersSpec& spec = controller_.daemon().pollers;
  PollerFacts facts;
  facts.number = poller;
  if (!spec.cpus.empty()) {
    facts.cpu = spec.cpus[poller];
    facts.node = node_of_cpu(*facts.cpu, controller_.system_files());
  }
  facts.is_busy = spec.busy;
  facts.now = controller_.pollers()[poller]->stats();
  facts.before = before != nullptr ? before->pollers[poller] : facts.now;
  return facts;
}

Facts Doctor::look(const std::optional<std::string>& port) const {
  constexpr std::uint64_t kStale_ns = 60'000'000'000;
  const std::uint64_t now = monotonic_ns();
  const bool is_known = before_ && now - before_->ns < kStale_ns;
  const Sample* const before = is_known ? &*before_ : nullptr;
  const PortSpec* const only = port ? controller_.inventory().find<PortSpec>(*port) : nullptr;
  Facts facts;
  if (is_known) facts.seconds = static_cast<double>(now - before_->ns) / 1e9;
  for (const PortSpec& spec : controller_.inventory().all<PortSpec>()) {
    if (only == nullptr || only->name == spec.name) facts.ports.push_back(look_at(spec, before));
  }
  for (const UplinkSpec& spec : controller_.inventory().all<UplinkSpec>()) {
    if (only == nullptr || only->switch_name == spec.switch_name) facts.uplinks.push_back(look_at(spec, before));
  }
  for (std::size_t i = 0; i < controller_.pollers().size(); ++i) {
    const auto& its = facts.ports.empty() ? std::vector<std::size_t>{} : facts.ports.front().pollers;
    if (only == nullptr || std::find(its.begin(), its.end(), i) != its.end())
      facts.pollers.push_back(look_at(i, before));
  }
  facts.has_hugepages = has_hugepages(controller_.system_files());
  if (only != nullptr) return facts;
  facts.descriptors = open_descriptors();
  facts.most_descriptors = most_descriptors();
  return facts;
}

}  // namespace vmux::control

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

MemoryFacts memory_facts(const Frontend::Client& client, ClientMaps& clients) {
  const MemoryMap map = memory_map_of(client.memory);
  const auto sharing = clients.sharing_of(map.files, client.pid);
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

void Doctor::forget_old(std::uint64_t now_ns) {
  // Whoever has begun with the first waits no longer for it once the second is old enough for everybody.
  while (samples_.size() > 1 && now_ns - samples_[1].ns >= kLongest_ns)
    samples_.pop_front();
}

void Doctor::begin(std::uint64_t now_ns) {
  // So there are some thirty at most, however many ask.
  constexpr std::size_t kFew = 8;
  constexpr std::uint64_t kClose_ns = 100'000'000, kApart_ns = 1'000'000'000;
  forget_old(now_ns);
  const std::uint64_t apart = samples_.size() < kFew ? kClose_ns : kApart_ns;
  if (!samples_.empty() && now_ns - samples_.back().ns < apart) return;
  Sample sample;
  sample.ns = now_ns;
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
  samples_.push_back(std::move(sample));
}

const Doctor::Sample* Doctor::sample_for(std::uint64_t over_ns, std::uint64_t now_ns) const noexcept {
  constexpr std::uint64_t kStale_ns = 60'000'000'000;
  if (samples_.empty()) return nullptr;
  const auto newest =
      std::find_if(samples_.rbegin(), samples_.rend(), [&](const Sample& one) { return now_ns - one.ns >= over_ns; });
  const Sample& found = newest == samples_.rend() ? samples_.front() : *newest;
  return now_ns - found.ns < kStale_ns ? &found : nullptr;
}

PortFacts Doctor::look_at(const PortSpec& spec, const Sample* before, ClientMaps& clients) const {
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
  facts.memory = memory_facts(view.client, clients);
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

Facts Doctor::look(const std::optional<std::string>& port, std::uint64_t over_ns, std::uint64_t now_ns) const {
  const Sample* const before = sample_for(over_ns, now_ns);
  ClientMaps clients;
  const PortSpec* const only = port ? controller_.inventory().find<PortSpec>(*port) : nullptr;
  Facts facts;
  if (before != nullptr) facts.seconds = static_cast<double>(now_ns - before->ns) / 1e9;
  for (const PortSpec& spec : controller_.inventory().all<PortSpec>()) {
    if (only == nullptr || only->name == spec.name) facts.ports.push_back(look_at(spec, before, clients));
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

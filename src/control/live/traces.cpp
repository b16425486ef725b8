// SPDX-License-Identifier: BSD-3-Clause
#include "control/live/traces.hpp"

#include <algorithm>
#include <utility>

#include "base/logf.hpp"
#include "base/text/format.hpp"

namespace vmux::control {

void Traces::take_off(Running& running) {
  if (running.info.is_over) return;
  running.poller->call([device = running.device] { device->set_tracer(nullptr); });
  running.info.is_over = true;
  events_.write(EventType::trace_stopped, "port", running.info.port, running.info.uid);
}

void Traces::note_given_up() {
  for (Running& each : running_) {
    if (each.ring->has_given_up()) take_off(each);
  }
}

void Traces::drop_abandoned() {
  for (auto at = running_.begin(); at != running_.end();) {
    if (!at->ring->is_abandoned()) {
      ++at;
      continue;
    }
    take_off(*at);
    at = running_.erase(at);
  }
}

std::vector<Traces::Running>::iterator Traces::find(std::uint64_t id) {
  return std::find_if(running_.begin(), running_.end(), [id](const Running& one) { return one.info.id == id; });
}

Outcome<TraceInfo> Traces::begin(const std::string& port, std::uint32_t uid, Device& device, runtime::Poller& poller) {
  note_given_up();
  drop_abandoned();
  const bool is_traced = std::any_of(running_.begin(), running_.end(), [&device](const Running& one) {
    return one.device == &device && !one.info.is_over;
  });
  if (is_traced) return refuse(ProblemKind::busy, "name", fmt::format("{} is traced already", port));
  if (running_.size() >= kMost)
    return refuse(ProblemKind::busy, "", fmt::format("{} traces are running, as many as there can be", kMost));
  auto made =
      std::make_unique<TraceRing>([&device] { device.set_tracer(nullptr); }, limits_.records, limits_.patience_ns);
  TraceRing* const ring = made.get();
  // It has its place before anything is written into it: whatever fails from here on, somebody owns it.
  const Running& running = running_.emplace_back(Running{{++last_id_, port, uid}, &device, &poller, std::move(made)});
  poller.call([&device, ring] { device.set_tracer(ring); });
  events_.write(EventType::trace_started, "port", port, uid);
  logf(LogLevel::info, "port {}: traced for user {}", port, uid);
  return running.info;
}

Outcome<Traces::Slice> Traces::read(std::uint64_t id, std::uint32_t uid, std::size_t most) {
  const auto running = find(id);
  if (running == running_.end())
    return refuse(ProblemKind::not_found, "trace", fmt::format("there is no trace {}", id));
  if (running->info.uid != uid)
    return refuse(ProblemKind::not_allowed, "trace", fmt::format("trace {} is of user {}", id, running->info.uid));
  running->ring->note_reader();
  note_given_up();
  Slice slice;
  for (TraceRecord record; slice.lines.size() < most && running->ring->take(record);)
    slice.lines.push_back({record, ""});
  if (running->device != nullptr) {
    for (TraceLine& line : slice.lines)
      line.name = running->device->trace_name(line.record);
  }
  running->info.records += slice.lines.size();
  running->info.missed = running->ring->missed();
  slice.info = running->info;
  return slice;
}

Outcome<TraceInfo> Traces::stop(std::uint64_t id) {
  const auto running = find(id);
  if (running == running_.end())
    return refuse(ProblemKind::not_found, "trace", fmt::format("there is no trace {}", id));
  take_off(*running);
  running->info.missed = running->ring->missed();
  TraceInfo info = running->info;
  running_.erase(running);
  return info;
}

std::vector<TraceInfo> Traces::list() {
  note_given_up();
  std::vector<TraceInfo> all;
  for (const Running& each : running_) {
    all.push_back(each.info);
    all.back().missed = each.ring->missed();
  }
  return all;
}

void Traces::leave(const std::string& port) {
  for (Running& each : running_) {
    if (each.info.port != port || each.device == nullptr) continue;
    take_off(each);
    each.device = nullptr;
  }
}

}  // namespace vmux::control

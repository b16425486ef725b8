// SPDX-License-Identifier: BSD-3-Clause
#include "control/live/captures.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "base/logf.hpp"
#include "base/text/format.hpp"

namespace vmux::control {
namespace {

/// Another kind could have the writer wait, as files on a slow file system do, or take only a part of what it is given.
bool is_stream_socket(const UniqueFd& file) noexcept {
  int domain = 0, type = 0;
  socklen_t size = sizeof domain;
  if (!file || ::getsockopt(file.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX) return false;
  size = sizeof type;
  return ::getsockopt(file.get(), SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

/// "in and out, 128 bytes"
std::string what_of(const CaptureRequest& request) {
  const auto& rules = request.rules;
  return fmt::format("{}{}, {}",
                     rules.in && rules.out ? "in and out"
                     : rules.in            ? "in"
                                           : "out",
                     rules.only_dropped ? ", dropped" : "",
                     request.is_whole ? "whole" : fmt::format("{} bytes", rules.snaplen));
}

std::string sentence_of(const CaptureInfo& info) {
  switch (info.end) {
    case CaptureEnd::count:
      return fmt::format("all {} frames that were asked for are there", info.request.count);
    case CaptureEnd::reader:
      return "its reader wanted no more";
    case CaptureEnd::gone:
      return "its reader is gone";
    case CaptureEnd::removed:
      return fmt::format("{} {} is gone", info.kind, info.request.name);
    default:
      return "it has ended";
  }
}

}  // namespace

Captures::~Captures() {
  end_all("the daemon ends");
  if (thread_) thread_->stop();
}

std::vector<switching::PollerTap> Captures::Running::poller_taps(const std::vector<runtime::Poller*>& pollers) const {
  std::vector<switching::PollerTap> all;
  for (std::size_t i = 0; i < taps.size(); ++i)
    all.push_back({pollers[i], taps[i].get()});
  return all;
}

/// It moves no frames, and looks for them often enough that a tap of 4 MiB does not fill up meanwhile: nothing wakes
/// it.
Outcome<> Captures::start_thread() {
  if (thread_) return {};
  auto made = runtime::Poller::create(
      {.name = "capture", .spin_ns = 0, .min_sleep_ns = 200'000, .max_sleep_ns = 5'000'000, .linger_ns = 0});
  if (!made) return refuse("", "make a thread for captures", made.error());
  if (auto started = (*made)->start(); !started) return refuse("", "start a thread for captures", started.error());
  thread_ = std::move(*made);
  return {};
}

std::optional<std::size_t> Captures::free_number() const {
  for (std::size_t number = 0; number < kMost; ++number) {
    const bool is_taken =
        std::any_of(running_.begin(), running_.end(), [number](const auto& one) { return one->number == number; });
    if (!is_taken) return number;
  }
  return std::nullopt;
}

Outcome<CaptureInfo> Captures::begin(CaptureRequest request, UniqueFd socket) {
  look_after();
  if (!is_stream_socket(socket)) {
    return refuse(ProblemKind::invalid, "", "a UNIX stream socket goes with this call, as vmuxctl capture sends one");
  }
  auto place = where_(request.name);
  if (!place) {
    return refuse(ProblemKind::not_found, "name",
                  fmt::format("no port, uplink or switch named {} has frames that could be captured", request.name));
  }
  const auto number = free_number();
  if (!number) {
    return refuse(ProblemKind::busy, "",
                  fmt::format("{} captures are running, and that is as many as there can be: `vmuxctl captures` "
                              "lists them, `vmuxctl capture-stop` ends one",
                              kMost));
  }
  if (auto started = start_thread(); !started) return tl::unexpected<Problem>(started.error());
  auto running = std::make_unique<Running>();
  running->info = {++last_id_, std::move(request), place->kind, {}, CaptureEnd::none, {}};
  const CaptureInfo& info = running->info;
  running->number = *number;
  std::vector<switching::Tap*> taps;
  for (std::size_t i = 0; i < pollers_.size(); ++i)
    taps.push_back(running->taps.emplace_back(std::make_unique<switching::Tap>(info.request.rules)).get());
  const auto on_change = [this, alive = std::weak_ptr(is_alive_)] {
    if (control_ == nullptr) return true;
    return control_
        ->post([this, alive] {
          if (!alive.expired()) look_after();
        })
        .has_value();
  };
  running->writer = std::make_unique<CaptureWriter>(
      *thread_, std::move(socket), std::move(taps),
      CaptureWriter::Options{info.request.filter, info.request.is_whole ? 0 : info.request.rules.snaplen,
                             info.request.count, on_change});
  if (auto started = thread_->call([&] { return running->writer->start(); }); !started) {
    thread_->call([&] { running->writer.reset(); });
    return refuse("", "watch the reader of a capture", started.error());
  }
  put_on(*running, std::move(*place));
  events_.write(EventType::capture_started, info.kind, info.request.name, info.request.uid, what_of(info.request));
  logf(LogLevel::info, "{} {}: captured for user {} ({})", info.kind, info.request.name, info.request.uid,
       what_of(info.request));
  return running_.emplace_back(std::move(running))->info;
}

/// The writer knows of a port before its first frame comes.
void Captures::put_on(Running& running, CapturePlace place) {
  if (running.place.on != nullptr && running.place.on != place.on)
    running.place.on->set_capture(running.number, {}, {});
  std::vector<std::pair<switching::PortId, std::string>> names;
  for (const switching::PortInfo& port : place.on->ports()) {
    const auto& before = running.place.ports;
    const bool is_wanted = std::find(place.ports.begin(), place.ports.end(), port.id) != place.ports.end();
    const bool is_known =
        running.place.on == place.on && std::find(before.begin(), before.end(), port.id) != before.end();
    if (is_wanted && !is_known) names.emplace_back(port.id, port.config.name);
  }
  thread_->call([&] {
    for (const auto& [id, name] : names)
      running.writer->add(id, name, fmt::format("{} on switch {}", name, place.on->name()));
  });
  place.on->set_capture(running.number, place.ports, running.poller_taps(pollers_));
  running.place = std::move(place);
}

void Captures::take_off(Running& running, CaptureEnd end, const std::string& why, bool at_once) {
  if (running.place.on == nullptr) return;
  running.place.on->set_capture(running.number, {}, {});
  running.place = {};
  CaptureInfo& info = running.info;
  info.end = end;
  info.why = why.empty() ? sentence_of(info) : why;
  info.totals = thread_->call([&] {
    running.writer->finish(end, info.why, at_once);
    return running.writer->totals();
  });
  events_.write(EventType::capture_stopped, info.kind, info.request.name, info.request.uid, info.why);
  logf(LogLevel::info, "{} {}: no longer captured for user {}: {}", info.kind, info.request.name, info.request.uid,
       info.why);
}

void Captures::look_at(Running& running) {
  const auto [end, totals] = thread_->call([&] { return std::pair{running.writer->end(), running.writer->totals()}; });
  running.info.totals = totals;
  if (end != CaptureEnd::none) take_off(running, end, "");
}

void Captures::look_after() {
  for (const auto& running : running_)
    look_at(*running);
  for (auto at = running_.begin(); at != running_.end();) {
    Running& running = **at;
    const bool is_over = thread_->call([&] {
      if (running.place.on != nullptr || !running.writer->is_closed()) return false;
      running.info.totals = running.writer->totals();
      running.writer.reset();
      return true;
    });
    if (!is_over) {
      ++at;
      continue;
    }
    past_.push_back(std::move(running.info));
    if (past_.size() > kPast) past_.pop_front();
    at = running_.erase(at);
  }
}

Outcome<CaptureInfo> Captures::stop(std::uint64_t id, std::uint32_t uid) {
  look_after();
  for (const auto& running : running_) {
    if (running->info.id != id || running->place.on == nullptr) continue;
    take_off(*running, CaptureEnd::stopped, fmt::format("user {} stopped it", uid));
    return running->info;
  }
  return refuse(ProblemKind::not_found, "capture", fmt::format("no capture {} is running", id));
}

std::vector<CaptureInfo> Captures::list() {
  look_after();
  std::vector<CaptureInfo> all{past_.begin(), past_.end()};
  for (const auto& running : running_)
    all.push_back(running->info);
  return all;
}

void Captures::settle() {
  if (running_.empty()) return;
  look_after();
  for (const auto& running : running_) {
    if (running->place.on == nullptr) continue;
    auto now = where_(running->info.request.name);
    if (!now || std::string_view{now->kind} != running->place.kind) {
      take_off(*running, CaptureEnd::removed, "");
    } else if (now->on != running->place.on || now->ports != running->place.ports) {
      put_on(*running, std::move(*now));
    }
  }
}

void Captures::leave(const switching::Switch& gone) {
  for (const auto& running : running_) {
    if (running->place.on == &gone) take_off(*running, CaptureEnd::removed, "");
  }
}

void Captures::end_all(const std::string& why) {
  for (const auto& running : running_) {
    take_off(*running, CaptureEnd::daemon, why, /*at_once=*/true);
    thread_->call([&] {
      running->writer->finish(CaptureEnd::daemon, why, /*at_once=*/true);  // of one that had ended, too
      running->writer.reset();
    });
    past_.push_back(std::move(running->info));
  }
  running_.clear();
}

}  // namespace vmux::control

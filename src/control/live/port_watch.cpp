// SPDX-License-Identifier: BSD-3-Clause
#include "control/live/port_watch.hpp"

#include <utility>

#include "control/log/log_context.hpp"

namespace vmux::control {
namespace {

constexpr const char* kPort = "port";
constexpr std::uint64_t kInterval_ns = 5'000'000;  // for what queues and mapped pages bring, without an event

}  // namespace

void PortWatch::add(std::string name, Device& device, Frontend& frontend) {
  LogBook::of_process().set_client(name, frontend.client().pid);
  ports_.push_back({std::move(name), &device, &frontend});
  ports_.back().faults = device.faults();
  ports_.back().is_ready = device.is_ready();
  ports_.back().serving = device.serving_mode();
}

void PortWatch::remove(const std::string& name) noexcept {
  std::erase_if(ports_, [&](Port& port) {
    if (port.name != name) return false;
    look(port);
    if (port.client.is_connected) events_.write(EventType::detached, kPort, port.name);
    LogBook::of_process().remove(port.name);
    return true;
  });
}

unsigned PortWatch::poll() noexcept {
  if (ports_.empty()) return 0;
  const std::uint64_t events = poller_.stats().events, now = poller_.now_ns();
  if (events == seen_events_ && now - looked_ns_ < kInterval_ns) return 0;
  seen_events_ = events;
  looked_ns_ = now;
  for (Port& port : ports_)
    look(port);
  return 0;
}

void PortWatch::look(Port& port) noexcept {
  const Frontend::State client = port.frontend->state();
  const bool has_come = client.connections != port.client.connections;
  const bool has_gone = port.client.is_connected && (has_come || !client.is_connected);
  const bool is_ready = port.device->is_ready();
  const std::uint64_t faults = port.device->faults();
  if (faults != port.faults) events_.write(EventType::fault, kPort, port.name, faults);
  if (port.is_ready && !is_ready) events_.write(EventType::not_ready, kPort, port.name);
  if (has_gone) events_.write(EventType::detached, kPort, port.name);
  if (has_come || has_gone) LogBook::of_process().set_client(port.name, port.frontend->client().pid);
  if (has_come) events_.write(EventType::attached, kPort, port.name, client.connections);
  if (has_come && !client.is_connected) events_.write(EventType::detached, kPort, port.name);  // and gone again
  if (!port.is_ready && is_ready) events_.write(EventType::ready, kPort, port.name);
  if (const char* const serving = port.device->serving_mode(); serving != port.serving) {
    port.serving = serving;
    events_.write(EventType::serving, kPort, port.name, 0, serving);
  }
  port.client = client;
  port.is_ready = is_ready;
  port.faults = faults;
}

}  // namespace vmux::control

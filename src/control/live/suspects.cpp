// SPDX-License-Identifier: BSD-3-Clause
// A burst of frames that kills whoever takes it, or delivers it, would kill the next process as well: at the second
// death its port is taken from its switch, and the others go on.
#include <algorithm>

#include "base/logf.hpp"
#include "control/live/attach.hpp"
#include "control/live/controller.hpp"

namespace vmux::control {
namespace {

constexpr std::uint32_t kMostDeaths = 2;  // in a row, of one burst

}  // namespace

/// The port as it is made: its link is down where it is stopped. Its mark stays the same from one process to the next.
PortSpec Controller::judged(const PortSpec& spec, Port& port) {
  PortSpec made = spec;
  if (predecessor_ != nullptr) {
    const Objects& before = predecessor_->objects();
    port.mark = predecessor_->mark_of(spec.name);
    for (const auto& [name, mark] : before.marks)
      last_mark_ = std::max(last_mark_, mark);
    port.is_stopped = std::ranges::count(before.stopped, spec.name) != 0;
  }
  if (port.mark == 0) port.mark = ++last_mark_;
  if (const std::uint32_t deaths = switching::suspicion_of(port.mark); deaths >= kMostDeaths) {
    const bool is_of_delivery = (port.mark & switching::kDeliveryMark) != 0;
    port.mark = switching::port_of_mark(port.mark);
    port.is_stopped = true;
    made.link = Link::down;
    inventory_.put(made);
    logf(LogLevel::error,
         "{}: {} processes in a row died in the first burst of frames that they {} it: it is stopped, and its link is "
         "down. `vmuxctl port set {} link=up` has it go on",
         spec.name, deaths, is_of_delivery ? "delivered to" : "took from", spec.name);
    events_.write(EventType::fault, "port", spec.name, deaths,
                  is_of_delivery ? "processes died of frames for it; its link is down"
                                 : "processes died of its frames; its link is down");
    return made;
  }
  return made;
}

/// Into its switch, unless it has none or is stopped.
Outcome<> Controller::plug_in(Port& port, const PortSpec& spec) {
  const auto lanes = zip(port.device->lanes(), port.pollers);
  if (lanes.empty() || port.plugged_into == nullptr || port.is_stopped) return {};
  switching::PortConfig config = port_config(spec);
  config.mark = port.mark;
  auto id = port.plugged_into->attach(lanes, std::move(config));
  if (!id) return refuse("switch", "attach to switch " + spec.switch_name, id.error());
  port.id = *id;
  port.is_plugged = true;
  return {};
}

}  // namespace vmux::control

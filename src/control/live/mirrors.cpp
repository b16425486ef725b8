// SPDX-License-Identifier: BSD-3-Clause
// Mirrors and captures as the switches have them: after every change what is asked for is held against what there is.
#include <unistd.h>

#include "base/logf.hpp"
#include "base/text/format.hpp"
#include "control/live/controller.hpp"

namespace vmux::control {

std::optional<Controller::Place> Controller::place_of(const std::string& name) const {
  if (const auto port = ports_.find(name); port != ports_.end()) {
    if (!port->second.is_plugged) return std::nullopt;
    return Place{port->second.plugged_into, port->second.id};
  }
  const auto uplink = uplinks_.find(name);
  if (uplink == uplinks_.end()) return std::nullopt;
  return Place{uplink->second.plugged_into, uplink->second.id};
}

std::uint32_t Controller::caller() const noexcept { return asked_by_.value_or(::geteuid()); }

std::optional<CapturePlace> Controller::capture_place(const std::string& name) const {
  if (const auto place = place_of(name)) {
    const bool is_port = ports_.find(name) != ports_.end();
    return CapturePlace{is_port ? kind_of<PortSpec>().name : kind_of<UplinkSpec>().name, place->on, {place->id}};
  }
  const auto found = switches_.find(name);
  if (found == switches_.end()) return std::nullopt;
  CapturePlace all{kind_of<SwitchSpec>().name, found->second.get(), {}};
  for (const switching::PortInfo& port : all.on->ports())
    all.ports.push_back(port.id);
  return all;
}

/// Those whose both ends are there.
std::map<std::string, Controller::LiveMirror> Controller::wanted_mirrors() const {
  std::map<std::string, LiveMirror> wanted;
  const auto add = [&](const auto& spec, const char* kind) {
    if (!spec.mirror) return;
    const auto from = place_of(spec.name), to = place_of(spec.mirror->name);
    if (from && to && from->on == to->on) wanted[spec.name] = {*from, *to, *spec.mirror, kind};
  };
  for (const PortSpec& port : inventory_.all<PortSpec>())
    add(port, kind_of<PortSpec>().name);
  for (const UplinkSpec& uplink : inventory_.all<UplinkSpec>())
    add(uplink, kind_of<UplinkSpec>().name);
  return wanted;
}

/// After changes of which some failed: whoever gets its destination back may ask for it again.
void Controller::drop_mirrors_to_nowhere() {
  while (const auto wrong = inventory_.mirror_problem()) {
    logf(LogLevel::warning, "{} is no longer mirrored: {}", wrong->name, text_of(wrong->problem));
    const auto drop = [&]<class Spec>(const Spec* found) {
      if (found == nullptr) return;
      Spec spec = *found;
      spec.mirror.reset();
      inventory_.put(spec);
      count_change<Spec>(spec.name);
    };
    drop(inventory_.find<PortSpec>(wrong->name));
    drop(inventory_.find<UplinkSpec>(wrong->name));
  }
}

/// What ends does so at once, also in the middle of changes that belong together: its switch may go next. What begins
/// waits for the last of them.
void Controller::settle_mirrors() {
  captures_.settle();
  const bool is_last = !inventory_.defers_mirrors();
  if (is_last) drop_mirrors_to_nowhere();
  const auto wanted = wanted_mirrors();
  const std::uint32_t by = caller();
  std::erase_if(mirrors_, [&](const auto& one) {
    const auto& [name, mirror] = one;
    const auto found = wanted.find(name);
    if (found != wanted.end() && found->second == mirror) return false;
    // With an end that is gone the switch has ended it.
    if (place_of(name) == mirror.from) static_cast<void>(mirror.from.on->set_mirror(mirror.from.id, std::nullopt));
    events_.write(EventType::mirror_ended, mirror.kind, name, by, to_text(mirror.what));
    logf(LogLevel::info, "{} is not mirrored to {} any more", name, mirror.what.name);
    return true;
  });
  if (!is_last) return;
  for (const auto& [name, mirror] : wanted) {
    if (mirrors_.find(name) != mirrors_.end()) continue;
    const auto set =
        mirror.from.on->set_mirror(mirror.from.id, switching::Mirror{mirror.to.id, mirror.what.in, mirror.what.out});
    if (!set) {
      logf(LogLevel::error, "{} cannot be mirrored to {}: {}", name, mirror.what.name, set.error().text());
      continue;
    }
    mirrors_[name] = mirror;
    events_.write(EventType::mirror_begun, mirror.kind, name, by, to_text(mirror.what));
    logf(LogLevel::info, "{} is mirrored to {}", name, to_text(mirror.what));
  }
}

}  // namespace vmux::control

// SPDX-License-Identifier: BSD-3-Clause
// Settings that change while the object is there.
#include <chrono>
#include <thread>
#include <utility>

#include "base/logf.hpp"
#include "base/text/format.hpp"
#include "control/live/attach.hpp"
#include "control/live/controller.hpp"

namespace vmux::control {

// The time of the start in the upper bits: somebody who has read a number of the run before finds that it is no longer
// the one, and numbers stay below 2^53, which is as far as JSON's readers count.
std::uint64_t Controller::first_generation() noexcept {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(now).count()) << 20;
}

template <ObjectSpec Spec>
Outcome<std::size_t> Controller::change(const Spec& wanted) {
  auto made = inventory_.changed(wanted);
  if (!made) return tl::unexpected<Problem>(made.error());
  const Spec is = *inventory_.find<Spec>(wanted.name);
  const auto differing = differing_options(is, *made);
  if (differing.empty()) return std::size_t{0};
  const OptionText* anew = nullptr;
  std::vector<const char*> names;
  for (const OptionText* option : differing) {
    if (option->change != Change::live && anew == nullptr) anew = option;
    names.push_back(option->name);
  }
  auto done = anew == nullptr ? apply(is, *made) : make_anew(is, *made, *anew);
  if (!done) return tl::unexpected<Problem>(done.error());
  inventory_.put(*made);
  count_change<Spec>(is.name);
  settle_mirrors();
  keep_objects();
  logf(LogLevel::info, "{} {}: changed: {}", kind_of<Spec>().name, is.name, fmt::join(names, ", "));
  events_.write(EventType::changed, kind_of<Spec>().name, is.name, differing.size());
  return differing.size();
}
template Outcome<std::size_t> Controller::change(const SwitchSpec&);
template Outcome<std::size_t> Controller::change(const RuleSpec&);
template Outcome<std::size_t> Controller::change(const UplinkSpec&);
template Outcome<std::size_t> Controller::change(const PortSpec&);

// --- made anew ---

/// A port that no VM uses is taken down. Whether one does is seen where one would come, so that none comes in between.
Outcome<> Controller::let_go(const PortSpec& spec, const OptionText& why) {
  Port& port = ports_.at(spec.name);
  const bool is_free = port.poller->call([&port] {
    if (port.frontend->state().is_connected) return false;
    port.watch->remove(port.name);
    port.frontend.reset();
    return true;
  });
  if (is_free) return {};
  return refuse(ProblemKind::busy, why.name,
                fmt::format("cannot change while a VM uses the port: detach it from {} first; or `port remove` and "
                            "`port add` give the VM another NIC",
                            spec.name));
}

template <ObjectSpec Spec>
Outcome<> Controller::make_anew(const Spec& is, const Spec& wanted, const OptionText& why) {
  if constexpr (std::is_same_v<Spec, PortSpec>) {
    if (auto free = let_go(is, why); !free) return free;
    close(ports_.at(is.name));
    ports_.erase(is.name);
  } else {
    static_cast<void>(why);
    close(is);
  }
  auto opened = open(wanted);
  if (opened) return {};
  if (auto back = open(is); !back) {  // somebody has taken its socket or device meanwhile
    inventory_.remove<Spec>(is.name);
    ++generation_;
    generations_.erase(key_of<Spec>(is.name));
    settle_mirrors();
    keep_objects();
    events_.write(EventType::removed, kind_of<Spec>().name, is.name);
    opened.error().text += fmt::format("; and {} is gone: {}", is.name, text_of(back.error()));
  }
  return opened;
}

// --- under whoever uses it ---

Outcome<> Controller::apply(const SwitchSpec& /*is*/, const SwitchSpec& wanted) {
  const switching::SwitchOptions options = options_of(wanted);
  auto done = switches_.at(wanted.name)->set_options(options.ageing_seconds, options.forwarded_groups);
  if (!done) return refuse("name", "change switch " + wanted.name, done.error());
  return {};
}

Outcome<> Controller::apply(const UplinkSpec& is, const UplinkSpec& wanted) {
  Plug& plug = uplinks_.at(is.name);
  const auto lanes = zip(plug.uplink->lanes(), plug.pollers);
  if (wanted.switch_name == is.switch_name) {
    static_cast<void>(plug.plugged_into->set_limits(plug.id, limits_of(wanted)));
    static_cast<void>(plug.plugged_into->set_filtered_groups(plug.id, groups_of(wanted)));
    if (wanted.vlan == is.vlan) return {};
    auto done = plug.plugged_into->set_vlan(plug.id, port_config(wanted).vlan);
    if (!done) return refuse("vlan", "change the VLANs of " + is.name, done.error());
    return {};
  }
  switching::Switch& to = *switches_.at(wanted.switch_name);
  static_cast<void>(plug.plugged_into->detach(plug.id));
  const auto id = to.attach(lanes, port_config(wanted));
  if (id) {
    plug.plugged_into = &to;
    plug.id = *id;
    return {};
  }
  plug.id = plug.plugged_into->attach(lanes, port_config(is)).value_or(switching::PortId{});  // its place is still free
  return refuse("switch", "attach to switch " + wanted.switch_name, id.error());
}

/// What may fail comes first.
Outcome<> Controller::apply(const PortSpec& is, const PortSpec& wanted) {
  Port& port = ports_.at(is.name);
  const auto set_mac = [&port](const MacAddress& mac) {
    return port.poller->call([&] { return port.device->set_mac(mac); });
  };
  const bool has_other_mac = wanted.mac != is.mac;
  if (has_other_mac && !set_mac(*wanted.mac)) {
    return refuse(
        ProblemKind::not_supported, "mac",
        fmt::format("a port of model {} keeps its address: `port remove` and `port add` give another", is.model));
  }
  if (wanted.switch_name != is.switch_name) {
    auto moved = move(port, is, wanted);
    if (!moved && has_other_mac) static_cast<void>(set_mac(*is.mac));
    if (!moved) return moved;
  } else if (port.is_plugged) {
    if (wanted.vlan != is.vlan) {
      auto done = port.plugged_into->set_vlan(port.id, port_config(wanted).vlan);
      if (!done && has_other_mac) static_cast<void>(set_mac(*is.mac));
      if (!done) return refuse("vlan", "change the VLANs of " + is.name, done.error());
    }
    if (auto now = stations_of(wanted); now != stations_of(is)) {
      static_cast<void>(port.plugged_into->set_stations(port.id, std::move(now)));
    }
    if (wanted.mtu != is.mtu) static_cast<void>(port.plugged_into->set_max_frame(port.id, max_frame_of(wanted)));
    static_cast<void>(port.plugged_into->set_limits(port.id, limits_of(wanted)));
    static_cast<void>(port.plugged_into->set_sources(port.id, sources_of(wanted)));
    static_cast<void>(port.plugged_into->set_filtered_groups(port.id, groups_of(wanted)));
    static_cast<void>(port.plugged_into->set_weight(port.id, wanted.weight.value_or(1)));
    static_cast<void>(port.plugged_into->set_isolation(port.id, wanted.isolation.value_or("")));
  }
  if (port.is_stopped && wanted.link != is.link && wanted.link != Link::down) {
    port.is_stopped = false;
    if (auto plugged = plug_in(port, wanted); !plugged) {
      port.is_stopped = true;  // so that the next try plugs it in
      return plugged;
    }
  }
  port.poller->call([&] {
    if (wanted.mtu != is.mtu) port.device->set_mtu(wanted.mtu);
    if (wanted.link != is.link) port.device->set_link(wanted.link.value_or(Link::up));
  });
  return {};
}

/// It is another network: a guest that sees its link go down and come up asks for its address again, and announces it.
Outcome<> Controller::move(Port& port, const PortSpec& is, const PortSpec& wanted) {
  if (!port.is_plugged) {
    port.plugged_into = switches_.at(wanted.switch_name).get();
    return {};
  }
  const bool is_up = is.link == Link::up;
  const auto set_link = [&](Link link) { port.poller->call([&] { port.device->set_link(link); }); };
  const auto lanes = zip(port.device->lanes(), port.pollers);
  switching::Switch& to = *switches_.at(wanted.switch_name);
  if (is_up) set_link(Link::down);
  static_cast<void>(port.plugged_into->detach(port.id));
  const auto config_of = [&port](const PortSpec& spec) {
    switching::PortConfig config = port_config(spec);
    config.mark = switching::port_of_mark(port.mark);
    return config;
  };
  const auto id = to.attach(lanes, config_of(wanted));
  if (id) {
    port.plugged_into = &to;
    port.id = *id;
  } else {
    port.id = port.plugged_into->attach(lanes, config_of(is)).value_or(switching::PortId{});  // its place is free
  }
  const bool is_seen = port.poller->call([&port] { return port.frontend->state().is_connected; });
  if (is_up && is_seen) std::this_thread::sleep_for(kNotice);
  if (is_up) set_link(Link::up);
  if (!id) return refuse("switch", "attach to switch " + wanted.switch_name, id.error());
  return {};
}

std::size_t Controller::flush(const std::string& switch_name, const std::optional<std::string>& member) {
  switching::Switch& from = *switches_.at(switch_name);
  if (!member) return from.flush();
  const auto port = ports_.find(*member);
  return from.flush(port != ports_.end() ? port->second.id : uplinks_.at(*member).id);
}

}  // namespace vmux::control

// SPDX-License-Identifier: BSD-3-Clause
#include "control/live/controller.hpp"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "base/logf.hpp"
#include "base/text/format.hpp"
#include "control/live/attach.hpp"

namespace vmux::control {
namespace {

runtime::PollerOptions poller_options(const PollersSpec& spec, unsigned index) {
  runtime::PollerOptions options;
  options.name = fmt::format("poller{}", index);
  if (!spec.cpus.empty()) options.cpu = spec.cpus[index];
  options.busy = spec.busy;
  options.spin_ns = spec.spin_us * 1000;
  options.min_sleep_ns = spec.min_sleep_us.value_or(spec.max_sleep_us) * 1000;
  options.max_sleep_ns = spec.max_sleep_us * 1000;
  options.linger_ns = spec.linger_us * 1000;
  options.keep_awake_ns = spec.keep_awake_us.value_or(0) * 1000;
  return options;
}

}  // namespace

Outcome<std::unique_ptr<Controller>> Controller::create(const Catalogue& catalogue, Hardware& hardware,
                                                        EventRing& events, const DaemonSpec& daemon,
                                                        keeper::Lifeline* lifeline) {
  std::unique_ptr<Controller> controller{new Controller(catalogue, hardware, events, daemon, lifeline)};
  if (auto started = controller->start_pollers(); !started) return tl::unexpected<Problem>(started.error());
  for (const SwitchSpec& spec : controller->inventory_.all<SwitchSpec>()) {
    if (auto opened = controller->open(spec); !opened) return tl::unexpected<Problem>(opened.error());
    controller->count_change<SwitchSpec>(spec.name);
  }
  return controller;
}

Controller::~Controller() {
  captures_.end_all("the daemon ends");
  // Not for good: after a restart, a VM that asked for its device back would have lost it for nothing.
  bool is_heard = false;
  for (auto& [name, port] : ports_)
    is_heard |= announce_departure(port, /*for_good=*/false);
  if (is_heard) std::this_thread::sleep_for(kNotice);
  for (auto& [name, port] : ports_)
    close(port);
  for (auto& [name, plug] : uplinks_)
    close(plug);
  ports_.clear();
  uplinks_.clear();
  switches_.clear();
  lasting_.clear();
}

Controller::Thread::~Thread() {
  if (!poller) return;
  poller->stop();
  poller->join();  // before its tasks go
}

Outcome<> Controller::start(Thread& thread, runtime::PollerOptions options, const char* field, Blocks blocks) {
  if (lifeline_ != nullptr) lifeline_->watch_over(options, blocks == Blocks::yes);
  auto poller = runtime::Poller::create(options);
  if (!poller) return refuse(field, "make a thread", poller.error());
  thread.poller = std::move(*poller);
  thread.watch = std::make_unique<PortWatch>(*thread.poller, events_);
  if (auto started = thread.poller->start(); !started) return refuse(field, "start a thread", started.error());
  return {};
}

Outcome<> Controller::start_pollers() {
  const unsigned count = std::max(1u, daemon_.pollers.count);
  for (unsigned i = 0; i < count; ++i) {
    Thread& thread = *threads_.emplace_back(std::make_unique<Thread>());
    if (auto started = start(thread, poller_options(daemon_.pollers, i), "count"); !started) return started;
    pollers_.push_back(thread.poller.get());
  }
  return {};
}

/// Where the queues of a port go: to its home and the pollers behind it, around the end of the list.
std::vector<runtime::Poller*> Controller::pollers_for(unsigned home, unsigned queues) const {
  std::vector<runtime::Poller*> out;
  for (std::size_t i = 0; i < std::min<std::size_t>(queues, pollers_.size()); ++i)
    out.push_back(pollers_.at((home + i) % pollers_.size()));
  return out;
}

// --- any kind of object ---

namespace {

std::string title_of(const SwitchSpec& spec) { return fmt::format("switch {}", spec.name); }
std::string title_of(const RuleSpec& spec) { return fmt::format("rule {} of switch {}", spec.name, spec.switch_name); }
std::string title_of(const UplinkSpec& spec) {
  return fmt::format("uplink {}: {} {} on switch {}", spec.name, spec.backend, spec.device.value_or(""),
                     spec.switch_name);
}
std::string title_of(const PortSpec& spec) {
  const std::string what =
      spec.switch_name.empty()
          ? spec.device.value_or("")
          : fmt::format("with MAC {} on switch {}", to_text(spec.mac.value_or(MacAddress{})), spec.switch_name);
  return fmt::format("port {}: {} {}, served over {} at {}", spec.name, spec.model, what, spec.transport.value_or(""),
                     spec.socket);
}

}  // namespace

template <ObjectSpec Spec>
Outcome<> Controller::add(const Spec& spec) {
  const bool was_there = inventory_.find<Spec>(spec.name) != nullptr;  // the default switch, which may be made anew
  auto added = inventory_.add(spec);
  if (!added) return tl::unexpected<Problem>(added.error());
  auto opened = open(*added);
  if (!opened && !was_there) inventory_.remove<Spec>(added->name);
  if (!opened) return opened;
  count_change<Spec>(added->name);
  logf(LogLevel::info, "{}", title_of(*added));
  settle_mirrors();
  keep_objects();
  events_.write(EventType::added, kind_of<Spec>().name, added->name);
  return {};
}

template <ObjectSpec Spec>
Outcome<> Controller::remove(const std::string& name) {
  if (auto may = inventory_.may_remove<Spec>(name); !may) return may;
  close(*inventory_.find<Spec>(name));
  inventory_.remove<Spec>(name);
  ++generation_;
  generations_.erase(key_of<Spec>(name));
  settle_mirrors();
  keep_objects();
  logf(LogLevel::info, "{} {}: removed", kind_of<Spec>().name, name);
  events_.write(EventType::removed, kind_of<Spec>().name, name);
  return {};
}

template Outcome<> Controller::add(const SwitchSpec&);
template Outcome<> Controller::add(const RuleSpec&);
template Outcome<> Controller::add(const UplinkSpec&);
template Outcome<> Controller::add(const PortSpec&);
template Outcome<> Controller::remove<SwitchSpec>(const std::string&);
template Outcome<> Controller::remove<RuleSpec>(const std::string&);
template Outcome<> Controller::remove<UplinkSpec>(const std::string&);
template Outcome<> Controller::remove<PortSpec>(const std::string&);

// --- switches ---

Outcome<> Controller::open(const SwitchSpec& spec) {
  auto made = switching::Switch::create(spec.name, options_of(spec));
  if (!made) return refuse("name", "make switch " + spec.name, made.error());
  switches_[spec.name] = std::move(*made);
  if (predecessor_ != nullptr) switches_[spec.name]->hold(true);
  return {};
}

void Controller::close(const SwitchSpec& spec) {
  captures_.leave(*switches_.at(spec.name));
  switches_.erase(spec.name);
}

// --- ports ---

Outcome<> Controller::open(const PortSpec& asked) {
  settle_rules();
  Port port;
  port.name = asked.name;
  const PortSpec spec = judged(asked, port);
  const ModelEntry& model = *catalogue_.model(spec.model);
  if (model.has_port) port.plugged_into = switches_.at(spec.switch_name).get();
  DeviceRequest request{spec.name,
                        spec.mac.value_or(MacAddress{}),
                        spec.doorbell.value_or(model.doorbell),
                        model.queues(spec.queues),
                        spec.device,
                        spec.variant.value_or(model.variants.empty() ? "" : std::string{model.variants.front()}),
                        pollers_for(spec.poller.value_or(0), model.queues(spec.queues)),
                        hardware_,
                        *spec.transport,
                        spec.mtu,
                        predecessor_ != nullptr};
  if (model.own_thread != nullptr) {
    auto thread = thread_named(model.own_thread(request));
    if (!thread) return tl::unexpected<Problem>(thread.error());
    port.own_thread = std::move(*thread);
    if (model.has_port) lasting_[model.own_thread(request)] = port.own_thread;
    request.pollers = {port.own_thread->poller.get()};
  }
  port.watch = port.own_thread ? port.own_thread->watch.get() : threads_.at(spec.poller.value_or(0))->watch.get();
  port.pollers = request.pollers;
  port.poller = port.pollers.front();
  auto device = port.poller->call([&] { return model.make(request, *port.poller); });
  if (!device) {
    auto problem = refuse(model.takes_device ? "device" : "model", "make port " + spec.name, device.error());
    std::string sentence = model.explain == nullptr ? "" : model.explain(request, device.error());
    if (!sentence.empty()) problem.value().text = std::move(sentence);
    return problem;
  }
  port.device = std::move(*device);
  if (spec.link == Link::down) port.poller->call([&port] { port.device->set_link(Link::down); });
  auto served = serve(port, spec);
  if (served) {
    ports_[spec.name] = std::move(port);
  } else {
    close(port);
  }
  return served;
}

Outcome<std::shared_ptr<Controller::Thread>> Controller::thread_named(const std::string& name) {
  std::weak_ptr<Thread>& known = own_threads_[name];
  if (auto thread = known.lock()) return thread;
  runtime::PollerOptions options;
  options.name = name.substr(0, 15);  // as long as a thread's name can be
  auto thread = std::make_shared<Thread>();
  if (auto started = start(*thread, options, "model", Blocks::yes); !started)
    return tl::unexpected<Problem>(started.error());
  known = thread;
  return thread;
}

/// Plugs the device in before its socket appears: the first client already finds the cable.
Outcome<> Controller::serve(Port& port, const PortSpec& spec) {
  if (auto plugged = plug_in(port, spec); !plugged) return plugged;
  const MakeFrontend make = catalogue_.transport(*spec.transport)->make;
  FrontendRequest request{spec.name, spec.socket, spec.access, spec.connect.value_or(false), lifeline_ != nullptr};
  state::FdBag left;
  if (predecessor_ != nullptr) {
    left = predecessor_->port(spec.name);
    request.left = &left;
    request.fetch = [this](const std::vector<int>& numbers) { return predecessor_->fetch(numbers); };
  }
  auto frontend = port.poller->call([&] { return make(request, *port.device, *port.poller); });
  if (!frontend) return refuse("socket", "listen on " + spec.socket, frontend.error());
  port.frontend = std::move(*frontend);
  port.poller->call([&] { port.watch->add(port.name, *port.device, *port.frontend); });
  return {};
}

bool Controller::announce_departure(Port& port, bool for_good) noexcept {
  return port.poller->call([&] { return port.frontend->announce_departure(for_good); });
}

Outcome<TraceInfo> Controller::begin_trace(const std::string& name) {
  const Port& port = ports_.at(name);
  return traces_.begin(name, caller(), *port.device, *port.poller);
}

void Controller::close(Port& port) noexcept {
  traces_.leave(port.name);
  port.poller->call([&] {
    port.watch->remove(port.name);
    port.frontend.reset();
  });
  if (std::exchange(port.is_plugged, false)) static_cast<void>(port.plugged_into->detach(port.id));
  port.poller->call([&] { port.device.reset(); });
}

void Controller::announce_removal(const std::vector<std::string>& ports) {
  bool is_heard = false;
  for (const std::string& name : ports) {
    const auto found = ports_.find(name);
    if (found == ports_.end() || std::exchange(found->second.is_announced, true)) continue;
    is_heard |= announce_departure(found->second, /*for_good=*/true);
  }
  if (is_heard) std::this_thread::sleep_for(kNotice);
}

void Controller::close(const PortSpec& spec) {
  announce_removal({spec.name});
  const auto found = ports_.find(spec.name);
  close(found->second);
  ports_.erase(found);
}

Controller::PortState Controller::state_of(const Port& port) {
  PortState state;
  state.is_ready = port.device->is_ready();
  state.is_connected = port.frontend->state().is_connected;
  port.device->report(state.model);
  state.serving_mode = port.device->serving_mode();
  state.serving = port.device->serving();
  port.frontend->report(state.client);
  return state;
}

Controller::PortState Controller::port_state(const std::string& name) const {
  const Port& port = ports_.at(name);
  return port.poller->call([&port] { return state_of(port); });
}

Controller::PortView Controller::look_at(const std::string& name) const {
  constexpr std::size_t kHeaderAndCapabilities = 256;  // of conventional PCI
  const Port& port = ports_.at(name);
  return port.poller->call([&port] {
    PortView view{state_of(port), port.frontend->client(), port.device->faults(), {}};
    if (pci::Endpoint* const endpoint = port.device->endpoint()) {
      view.config.resize(kHeaderAndCapabilities);
      if (!endpoint->read(pci::Region::config, RegionOffset{0}, view.config)) view.config.clear();
    }
    return view;
  });
}

// --- whoever comes after this daemon ---

namespace {

/// What a frontend or an uplink records.
template <class T>
FdNames names_in(const T& object) {
  auto numbers = state::FdBag::of_numbers();
  object.record(numbers);
  FdNames names;
  numbers.for_each([&names](const std::string& name, int fd) { names[name] = fd; });
  return names;
}

}  // namespace

void Controller::keep_objects() noexcept {
  if (lifeline_ == nullptr || predecessor_ != nullptr) return;
  Objects objects;
  objects.steps = steps_of(inventory_);
  for (const auto& [name, port] : ports_) {
    objects.ports[name] = names_in(*port.frontend);
    objects.marks[name] = switching::port_of_mark(port.mark);
    if (port.is_stopped) objects.stopped.push_back(name);
  }
  for (const auto& [name, plug] : uplinks_)
    objects.uplinks[name] = names_in(*plug.uplink);
  objects.rpc = rpc_socket_;
  if (auto kept = lifeline_->keep_objects(objects.to_text()); !kept) {
    logf(LogLevel::error, "another process could not go on with what there is now: {}", kept.error().text());
  }
}

void Controller::take_over_begins(const Predecessor& from) {
  predecessor_ = &from;
  for (const auto& [name, each] : switches_)
    each->hold(true);
}

/// No port's frames move before all ports can have them.
void Controller::take_over_ends() {
  predecessor_ = nullptr;
  keep_objects();  // from here on it is this one that the next goes on with
  for (auto& [name, port] : ports_) {
    const auto gone_on = port.poller->call([&port = port] { return port.frontend->go_on(); });
    if (!gone_on) logf(LogLevel::error, "{}: it does not go on: {}", name, gone_on.error().text());
  }
  for (const auto& [name, each] : switches_)
    each->hold(false);
}

std::vector<std::string> Controller::ports_that_stay_behind() const {
  std::vector<std::string> names;
  for (const auto& [name, port] : ports_) {
    if (port.frontend->state().is_connected && names_in(*port.frontend).empty()) names.push_back(name);
  }
  return names;
}

void Controller::freeze() noexcept {
  captures_.end_all("the daemon goes on with another program");
  const auto stop = [](Thread& thread) { thread.poller->stop(); };
  const auto join = [](Thread& thread) { thread.poller->join(); };
  for (const auto& visit : {std::function<void(Thread&)>{stop}, std::function<void(Thread&)>{join}}) {
    for (const auto& thread : threads_)
      visit(*thread);
    for (const auto& [name, weak] : own_threads_) {
      if (const auto thread = weak.lock()) visit(*thread);
    }
  }
}

namespace {

/// Whose state can be saved: a device behind vfio-user. The state of what a vhost-user front end has is in its VMM.
Outcome<pci::Endpoint*> endpoint_of(const std::string& port, Device& device) {
  if (pci::Endpoint* const endpoint = device.endpoint()) return endpoint;
  return refuse(ProblemKind::not_supported, "name",
                fmt::format("the card of {} belongs to its VMM, which saves its state itself (vhost-user)", port));
}

}  // namespace

Outcome<std::vector<std::byte>> Controller::save_state(const std::string& name) const {
  const Port& port = ports_.at(name);
  const auto endpoint = endpoint_of(name, *port.device);
  if (!endpoint) return tl::unexpected<Problem>(endpoint.error());
  auto saved = port.poller->call([&] { return (*endpoint)->save_state(); });
  if (!saved) return refuse(ProblemKind::not_supported, "name", saved.error());
  return std::move(*saved);
}

Outcome<> Controller::restore_state(const std::string& name, std::span<const std::byte> image) {
  const Port& port = ports_.at(name);
  const auto endpoint = endpoint_of(name, *port.device);
  if (!endpoint) return tl::unexpected<Problem>(endpoint.error());
  auto restored = port.poller->call([&] { return (*endpoint)->restore_state(image); });
  if (!restored) {
    return refuse(restored.error().is_busy ? ProblemKind::busy : ProblemKind::host, "", restored.error().text);
  }
  logf(LogLevel::info, "port {}: restored, and stopped until its client lets it run", name);
  return {};
}

// --- uplinks ---

Outcome<> Controller::open(const UplinkSpec& spec) {
  settle_rules();
  Plug plug;
  plug.pollers = pollers_for(spec.poller.value_or(0), spec.queues);
  plug.poller = plug.pollers.front();
  plug.plugged_into = switches_.at(spec.switch_name).get();
  const MakeUplink make = catalogue_.backend(spec.backend)->make;
  const keeper::Lifeline::HostCall may_take_long{lifeline_};
  const state::FdBag left = predecessor_ != nullptr ? predecessor_->uplink(spec.name) : state::FdBag{};
  auto made = make({spec.name, spec.device.value_or(""), spec.queues, plug.pollers, &left}, *plug.poller);
  if (!made) {
    return refuse("device", fmt::format("open {} {}", spec.backend, spec.device.value_or("")), made.error());
  }
  plug.uplink = std::move(*made);
  auto id = plug.plugged_into->attach(zip(plug.uplink->lanes(), plug.pollers), port_config(spec));
  if (!id) return refuse("switch", "attach to switch " + spec.switch_name, id.error());
  plug.id = *id;
  uplinks_[spec.name] = std::move(plug);
  return {};
}

void Controller::close(Plug& plug) noexcept {
  static_cast<void>(plug.plugged_into->detach(plug.id));
  plug.uplink.reset();
}

void Controller::close(const UplinkSpec& spec) {
  const auto found = uplinks_.find(spec.name);
  close(found->second);
  uplinks_.erase(found);
}

bool Controller::uplink_is_ready(const std::string& name) const {
  const Plug& plug = uplinks_.at(name);
  return plug.poller->call([&plug] { return plug.uplink->lanes().front()->is_ready(); });
}

std::vector<Controller::LaneState> Controller::lanes(const std::string& name) const {
  const auto port = ports_.find(name);
  const auto lanes = port != ports_.end() ? zip(port->second.device->lanes(), port->second.pollers)
                                          : zip(uplinks_.at(name).uplink->lanes(), uplinks_.at(name).pollers);
  std::vector<LaneState> out;
  for (const switching::Lane& lane : lanes) {
    const auto at = std::find_if(pollers_.begin(), pollers_.end(),
                                 [&lane](const runtime::Poller* poller) { return poller == &lane.poller; });
    LaneState& state = out.emplace_back();
    if (at != pollers_.end()) state.poller = static_cast<std::size_t>(at - pollers_.begin());
    state.counters = &lane.port.counters();
  }
  return out;
}

void Controller::set_log_level(LogLevel level) noexcept {
  daemon_.log_level = level;
  vmux::set_log_level(level);
}

std::vector<switching::MacEntry> Controller::mac_table(const std::string& switch_name) const {
  return switches_.at(switch_name)->mac_table();
}

switching::TurnReport Controller::turns(const std::string& switch_name) const {
  return switches_.at(switch_name)->turns();
}

}  // namespace vmux::control

// SPDX-License-Identifier: BSD-3-Clause
// The live object model: pollers, switches, ports and uplinks, made and removed at run time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "control/live/captures.hpp"
#include "control/live/event_ring.hpp"
#include "control/live/port_watch.hpp"
#include "control/live/predecessor.hpp"
#include "control/live/traces.hpp"
#include "control/model/hardware.hpp"
#include "control/model/inventory.hpp"
#include "control/model/spec/problem.hpp"
#include "switch/switch.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::control {

/// One control thread owns it and makes all calls; devices and their frontends live on their pollers and are reached
/// through Poller::call. Everything that `add` makes is undone when a later part of it fails.
class Controller {
 public:
  /// Starts the pollers and makes the default switch. `daemon` has been settled; the others must outlive it. With a
  /// `lifeline`, what there is is made so that another daemon can go on with it.
  [[nodiscard]] static Outcome<std::unique_ptr<Controller>> create(const Catalogue& catalogue, Hardware& hardware,
                                                                   EventRing& events, const DaemonSpec& daemon,
                                                                   keeper::Lifeline* lifeline = nullptr);
  /// Removes ports (guests see their links go down, all at the same time), uplinks, switches, then stops the pollers.
  ~Controller();
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;

  template <ObjectSpec Spec>
  Outcome<> add(const Spec& spec);
  /// A port's client, if there is one, sees its device go: the guest's link goes down first and the VMM is asked to
  /// unplug the device, and both have a fifth of a second to take that in.
  template <ObjectSpec Spec>
  Outcome<> remove(const std::string& name);
  /// Gives the object of that name the settings of `wanted`: how many were other ones. Those that can change under
  /// whoever uses it do (Change::live); for others it is made anew, which is refused where a VM uses it. When anything
  /// fails it is as it was.
  template <ObjectSpec Spec>
  Outcome<std::size_t> change(const Spec& wanted);
  /// Goes up with every change of any object, also from one run of the daemon to the next.
  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }
  /// What it was when the object was last changed; of one that is in the inventory.
  template <ObjectSpec Spec>
  [[nodiscard]] std::uint64_t generation_of(const std::string& name) const {
    return generations_.at(key_of<Spec>(name));
  }
  /// Forgets the addresses that a switch has learnt, or those of one port or uplink on it: how many there were.
  std::size_t flush(const std::string& switch_name, const std::optional<std::string>& member);
  /// While it lives, changes are made that belong together: mirrors may lead to what comes later. At its end one that
  /// still leads nowhere is taken away, with a word in the log.
  class Together {
   public:
    explicit Together(Controller& controller) noexcept : controller_(controller) {
      controller_.inventory_.defer_mirrors(true);
    }
    ~Together() {
      controller_.inventory_.defer_mirrors(false);
      controller_.settle_rules();
      controller_.settle_mirrors();
      controller_.keep_objects();
    }
    Together(const Together&) = delete;
    Together& operator=(const Together&) = delete;

   private:
    Controller& controller_;
  };
  [[nodiscard]] Together together() noexcept { return Together{*this}; }
  /// Whose wish the next changes are, for the events of them; nullopt: this process's own.
  void asked_by(std::optional<std::uint32_t> uid) noexcept { asked_by_ = uid; }
  /// For whoever is about to remove several: all of their clients have that fifth of a second at the same time. Names
  /// that no port has are passed over.
  void announce_removal(const std::vector<std::string>& ports);

  /// From here to take_over_ends(), objects that are added go on with what that daemon left of them, and serve nobody.
  void take_over_begins(const Predecessor& from);
  /// What was taken over is kept for the next daemon, and is served from here on. `rpc`: the socket of RPC clients.
  void take_over_ends();
  /// The next daemon finds the objects as they are now.
  void keep_objects() noexcept;
  void rpc_listens_at(int socket) noexcept { rpc_socket_ = socket; }
  [[nodiscard]] keeper::Lifeline* lifeline() const noexcept { return lifeline_; }
  /// The ports with a VM that the next daemon would not go on with.
  [[nodiscard]] std::vector<std::string> ports_that_stay_behind() const;
  /// All pollers come to the end of their rounds and stop. Nothing is said to anybody; the process is to end.
  void freeze() noexcept;

  [[nodiscard]] Captures& captures() noexcept { return captures_; }
  [[nodiscard]] Traces& traces() noexcept { return traces_; }
  /// Of a port that is in the inventory, for caller().
  Outcome<TraceInfo> begin_trace(const std::string& port);
  /// Whose wish the call is that is being made: this process's own, if nobody's else.
  [[nodiscard]] std::uint32_t caller() const noexcept;

  /// For the whole process.
  void set_log_level(LogLevel level) noexcept;

  struct PortState {
    bool is_ready = false;  ///< the guest's driver is up
    bool is_connected = false;
    CounterReport model, client;
    const char* serving_mode = nullptr;  ///< see Device::serving_mode()
    std::optional<Serving> serving;
  };
  /// Of a port that is in the inventory.
  [[nodiscard]] PortState port_state(const std::string& name) const;
  /// What is looked at when somebody asks why a port does not do what it should.
  struct PortView {
    PortState state;
    Frontend::Client client;
    std::uint64_t faults = 0;  ///< see Device::faults()
    /// The first bytes of its function's configuration space, as a guest sees them; empty: it has none, or it is not
    /// open.
    std::vector<std::byte> config;
  };
  /// Of a port that is in the inventory.
  [[nodiscard]] PortView look_at(const std::string& name) const;
  /// The state of a port's device as a file has it (state/format.hpp); its VM goes on meanwhile.
  [[nodiscard]] Outcome<std::vector<std::byte>> save_state(const std::string& port) const;
  /// Takes such a state. Refused, and nothing has changed, unless it is one of this device's, and nobody is attached or
  /// the client has stopped the device.
  Outcome<> restore_state(const std::string& port, std::span<const std::byte> image);
  struct LaneState {
    std::optional<std::size_t> poller;  ///< index; none: a thread of the port's own
    const port::PortCounters* counters = nullptr;
  };
  /// Of a port or uplink, its home first: one, unless its queues are spread over pollers. Empty: it has no side towards
  /// a switch.
  [[nodiscard]] std::vector<LaneState> lanes(const std::string& port_or_uplink) const;
  [[nodiscard]] bool uplink_is_ready(const std::string& name) const;
  /// Of a rule that is in the inventory.
  [[nodiscard]] switching::RuleHits rule_hits(const RuleSpec& rule) const;
  [[nodiscard]] std::vector<switching::MacEntry> mac_table(const std::string& switch_name) const;
  [[nodiscard]] switching::TurnReport turns(const std::string& switch_name) const;

  [[nodiscard]] const Inventory& inventory() const noexcept { return inventory_; }
  [[nodiscard]] const Catalogue& catalogue() const noexcept { return catalogue_; }
  [[nodiscard]] const DaemonSpec& daemon() const noexcept { return daemon_; }
  [[nodiscard]] EventRing& events() const noexcept { return events_; }
  /// Where the kernel's /sys is.
  [[nodiscard]] const std::string& system_files() const noexcept { return hardware_.files().sys; }
  [[nodiscard]] const std::vector<runtime::Poller*>& pollers() const noexcept { return pollers_; }

 private:
  /// A poller, and who looks after its ports.
  struct Thread {
    ~Thread();
    std::unique_ptr<runtime::Poller> poller;
    std::unique_ptr<PortWatch> watch;
  };
  struct Port {
    std::string name;
    std::shared_ptr<Thread> own_thread;  // of models that may block; else one of threads_ is used
    PortWatch* watch = nullptr;          // of poller
    runtime::Poller* poller = nullptr;
    std::vector<runtime::Poller*> pollers;  // of its lanes, that one first
    switching::Switch* plugged_into = nullptr;
    switching::PortId id{};
    bool is_plugged = false;
    bool is_stopped = false;    // two daemons died of its frames: not plugged in before its link is switched on again
    std::uint32_t mark = 0;     // switching::PortConfig
    bool is_announced = false;  // its client knows that it goes
    std::unique_ptr<Device> device;      // made, used and destroyed on `poller`
    std::unique_ptr<Frontend> frontend;  // the same; refers to device
  };
  struct Plug {
    runtime::Poller* poller = nullptr;
    std::vector<runtime::Poller*> pollers;  // as a Port's
    switching::Switch* plugged_into = nullptr;
    switching::PortId id{};
    std::unique_ptr<Uplink> uplink;  // made and destroyed here, used on `poller`
  };

  /// Where a port or an uplink is plugged in.
  struct Place {
    switching::Switch* on = nullptr;
    switching::PortId id{};
    friend bool operator==(const Place&, const Place&) = default;
  };
  struct LiveMirror {
    Place from, to;
    MirrorTo what;
    const char* kind;  // of whoever is mirrored
    friend bool operator==(const LiveMirror&, const LiveMirror&) = default;
  };

  Controller(const Catalogue& catalogue, Hardware& hardware, EventRing& events, const DaemonSpec& daemon,
             keeper::Lifeline* lifeline)
      : catalogue_(catalogue),
        hardware_(hardware),
        events_(events),
        daemon_(daemon),
        lifeline_(lifeline),
        inventory_(catalogue, daemon) {}
  [[nodiscard]] static std::uint64_t first_generation() noexcept;
  Outcome<> start_pollers();
  [[nodiscard]] std::vector<runtime::Poller*> pollers_for(unsigned home, unsigned queues) const;
  template <ObjectSpec Spec>
  [[nodiscard]] static std::string key_of(const std::string& name) {
    return std::string{kind_of<Spec>().name} + ' ' + name;
  }
  template <ObjectSpec Spec>
  void count_change(const std::string& name) {
    generations_[key_of<Spec>(name)] = ++generation_;
  }
  // What a kind of object is made of, alive: these for each.
  Outcome<> open(const SwitchSpec& spec);
  Outcome<> open(const RuleSpec& spec);
  Outcome<> open(const UplinkSpec& spec);
  Outcome<> open(const PortSpec& spec);
  void close(const SwitchSpec& spec);
  void close(const RuleSpec& spec);
  void close(const UplinkSpec& spec);
  void close(const PortSpec& spec);
  // changes.cpp: settings that change while the object is there
  Outcome<> apply(const SwitchSpec& is, const SwitchSpec& wanted);
  Outcome<> apply(const RuleSpec& is, const RuleSpec& wanted);
  Outcome<> apply(const UplinkSpec& is, const UplinkSpec& wanted);
  Outcome<> apply(const PortSpec& is, const PortSpec& wanted);
  Outcome<> move(Port& port, const PortSpec& is, const PortSpec& wanted);
  // what captures see
  [[nodiscard]] std::optional<CapturePlace> capture_place(const std::string& name) const;
  // rules.cpp
  [[nodiscard]] std::vector<switching::Rule> wanted_rules(const std::string& switch_name, const RuleSpec* one,
                                                          const std::string& gone) const;
  Outcome<> give_rules(const std::string& switch_name, const RuleSpec* one, const std::string& gone);
  void settle_rules();
  // mirrors.cpp
  [[nodiscard]] std::optional<Place> place_of(const std::string& port_or_uplink) const;
  [[nodiscard]] std::map<std::string, LiveMirror> wanted_mirrors() const;
  void settle_mirrors();
  void drop_mirrors_to_nowhere();
  template <ObjectSpec Spec>
  Outcome<> make_anew(const Spec& is, const Spec& wanted, const OptionText& why);
  [[nodiscard]] Outcome<> let_go(const PortSpec& spec, const OptionText& why);
  enum class Blocks : bool { no, yes };
  Outcome<> start(Thread& thread, runtime::PollerOptions options, const char* field, Blocks blocks = Blocks::no);
  Outcome<std::shared_ptr<Thread>> thread_named(const std::string& name);
  Outcome<> serve(Port& port, const PortSpec& spec);
  [[nodiscard]] static PortState state_of(const Port& port);  // on its poller
  static bool announce_departure(Port& port, bool for_good) noexcept;
  // suspects.cpp: ports of whose bursts daemons die
  [[nodiscard]] PortSpec judged(const PortSpec& spec, Port& port);
  Outcome<> plug_in(Port& port, const PortSpec& spec);
  void close(Port& port) noexcept;
  static void close(Plug& plug) noexcept;

  const Catalogue& catalogue_;
  Hardware& hardware_;
  EventRing& events_;
  DaemonSpec daemon_;
  keeper::Lifeline* lifeline_;
  const Predecessor* predecessor_ = nullptr;  // while its objects are made anew
  int rpc_socket_ = -1;
  std::uint32_t last_mark_ = 0;
  Inventory inventory_;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<runtime::Poller*> pollers_;  // of these
  std::map<std::string, std::unique_ptr<switching::Switch>> switches_;
  std::map<std::string, Plug> uplinks_;
  std::map<std::string, std::weak_ptr<Thread>> own_threads_;  // of the ports that have their own
  std::map<std::string, std::shared_ptr<Thread>> lasting_;    // of these, where a switch may have a shard for ever
  std::map<std::string, Port> ports_;
  std::set<std::string> unsettled_rules_;      // switches that have not been given their rules yet
  std::map<std::string, LiveMirror> mirrors_;  // by the name of whoever is mirrored
  Captures captures_{events_, [this](const std::string& name) { return capture_place(name); }, pollers_};
  Traces traces_{events_};
  std::optional<std::uint32_t> asked_by_;
  std::uint64_t generation_ = first_generation();
  std::map<std::string, std::uint64_t> generations_;  // by key_of()
};

}  // namespace vmux::control

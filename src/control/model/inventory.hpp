// SPDX-License-Identifier: BSD-3-Clause
// Which objects there are, as specifications, and the rules between them. Nothing live: the same rules check a whole
// configuration before anything is created, and each call afterwards.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "control/model/catalogue.hpp"
#include "control/model/spec/kinds.hpp"
#include "control/model/spec/problem.hpp"
#include "control/model/spec/spec.hpp"

namespace vmux::control {

class Inventory {
 public:
  /// `catalogue` must outlive the inventory. The switch `default` is there from the start.
  Inventory(const Catalogue& catalogue, const DaemonSpec& daemon);

  /// Each `add` checks everything that can be known without touching the machine, fills in what was left open (MAC,
  /// doorbell, poller, access to its socket, canonical model name) and answers with the result; on a problem nothing
  /// changed.
  Outcome<SwitchSpec> add(SwitchSpec spec);  ///< the default one too, as long as nothing belongs to it: it is made anew
  Outcome<UplinkSpec> add(UplinkSpec spec);
  Outcome<PortSpec> add(PortSpec spec);
  Outcome<RuleSpec> add(RuleSpec spec);  ///< ports that it names need not be there

  /// What the thing of that name would be with the settings of `wanted`, completed like one that is added: the rules
  /// between it and all others are looked at. not_found when there is none.
  template <ObjectSpec Spec>
  [[nodiscard]] Outcome<Spec> changed(Spec wanted) const;
  /// Makes it that.
  template <ObjectSpec Spec>
  void put(const Spec& changed) {
    for (Spec& spec : list<Spec>()) {
      if (spec.name == changed.name) spec = changed;
    }
  }

  /// A setting of which something has another value than what is asked for; null: it is not set.
  struct Difference {
    std::string key;
    Json is, wanted;
    [[nodiscard]] std::string text() const;  ///< "vlan is 10, not 20"
  };
  using Differences = std::vector<Difference>;
  /// How the thing of that name is other than what is asked for. Empty: it is not; a MAC or poller that was not asked
  /// for may be any. A problem: there is none, or it could not be made as it is asked for.
  [[nodiscard]] Outcome<Differences> differences(const SwitchSpec& wanted) const;
  [[nodiscard]] Outcome<Differences> differences(const RuleSpec& wanted) const;
  [[nodiscard]] Outcome<Differences> differences(const UplinkSpec& wanted) const;
  [[nodiscard]] Outcome<Differences> differences(const PortSpec& wanted) const;

  /// Says who still uses it; not_found when there is none.
  template <ObjectSpec Spec>
  [[nodiscard]] Outcome<> may_remove(std::string_view name) const;
  template <ObjectSpec Spec>
  void remove(std::string_view name) {
    std::erase_if(list<Spec>(), [name](const Spec& spec) { return spec.name == name; });
  }

  template <ObjectSpec Spec>
  [[nodiscard]] const Spec* find(std::string_view name) const noexcept {
    for (const Spec& spec : all<Spec>()) {
      if (spec.name == name) return &spec;
    }
    return nullptr;
  }
  template <ObjectSpec Spec>
  [[nodiscard]] const std::vector<Spec>& all() const noexcept {
    return std::get<std::vector<Spec>>(lists_);
  }
  /// The names of the ports and uplinks that are mirrored to it.
  [[nodiscard]] std::vector<std::string> mirrored_to(std::string_view name) const;
  /// While several changes are made that belong together, mirrors may lead nowhere; mirror_problem() says afterwards
  /// what is wrong, with the first that is mirrored and may not be so.
  void defer_mirrors(bool defers) noexcept { defers_mirrors_ = defers; }
  [[nodiscard]] bool defers_mirrors() const noexcept { return defers_mirrors_; }
  struct MirrorProblem {
    std::string name;
    Problem problem;
  };
  [[nodiscard]] std::optional<MirrorProblem> mirror_problem() const;
  /// The names of what belongs to a switch.
  [[nodiscard]] std::vector<std::string_view> users_of(std::string_view switch_name) const;
  /// Ports and uplinks that a rule names, and that are not on its switch.
  [[nodiscard]] std::vector<std::string> missing_of(const RuleSpec& rule) const;
  /// The names of its rules.
  [[nodiscard]] std::vector<std::string_view> rules_of(std::string_view switch_name) const;
  /// The uplink of any switch that uses `device` through `backend`, or nullptr.
  [[nodiscard]] const UplinkSpec* find_device(std::string_view backend, std::string_view device) const noexcept;

 private:
  template <class List>
  struct Lists;
  template <class... Specs>
  struct Lists<std::tuple<Specs...>> {
    using Type = std::tuple<std::vector<Specs>...>;
  };
  template <ObjectSpec Spec>
  [[nodiscard]] std::vector<Spec>& list() noexcept {
    return std::get<std::vector<Spec>>(lists_);
  }
  /// A port or an uplink.
  struct Joined {
    const std::string *name, *switch_name;
    const std::optional<MirrorTo>* mirror;
  };
  [[nodiscard]] std::vector<Joined> joined() const;
  Outcome<> check_destination(const Joined& from, const std::vector<Joined>& others) const;
  Outcome<> check_mirror(const Joined& one) const;
  Outcome<> check_no_mirror_to(std::string_view name) const;
  Outcome<> check_switch_exists(std::string_view switch_name) const;
  Outcome<> check_rule_mirror(const RuleSpec& rule) const;
  Outcome<> check_name_on_switch(std::string_view name, std::string_view switch_name) const;
  Outcome<> check_model(PortSpec& spec) const;
  Outcome<> check_transport(PortSpec& spec, const ModelEntry& model) const;
  Outcome<> check_device(PortSpec& spec) const;
  Outcome<> check_past_switch(const PortSpec& spec, const ModelEntry& model) const;
  Outcome<> take_off_switch(PortSpec& spec) const;
  Outcome<> check_socket(const PortSpec& spec) const;
  Outcome<> check_backend(const UplinkSpec& spec) const;
  Outcome<> give_mac(PortSpec& spec) const;
  Outcome<> check_static_macs(const PortSpec& spec) const;
  Outcome<> give_poller(std::optional<unsigned>& poller) const;
  [[nodiscard]] bool is_mac_used(const MacAddress& mac, std::string_view switch_name) const noexcept;

  const Catalogue& catalogue_;
  DaemonSpec daemon_;
  Lists<ObjectSpecs>::Type lists_;
  bool defers_mirrors_ = false;
};

/// "vlan is 10, not 20; mtu is not set, not 1400"
[[nodiscard]] std::string text_of(const Inventory::Differences& differences);

/// The base MAC of a daemon that was given none: locally administered, the same after each start on this machine.
[[nodiscard]] MacAddress machine_base_mac(std::string_view machine_id) noexcept;

}  // namespace vmux::control

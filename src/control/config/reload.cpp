// SPDX-License-Identifier: BSD-3-Clause
#include "control/config/reload.hpp"

#include <algorithm>

#include "base/text/format.hpp"
#include "control/model/inventory_kinds.hpp"
#include "control/model/spec/kinds.hpp"

namespace vmux::control {
namespace {

std::string name_of(const Step& step) { return step.params.value("name", std::string{}); }
/// Steps have been rehearsed, so that each is of some kind.
const InventoryKind& kind_of(const Step& step) { return *kind_of_method(step.method); }
std::string title_of(const Step& step) { return std::string{kind_of(step).name} + ' ' + name_of(step); }

bool has(const std::vector<Step>& steps, const Step& one) {
  return std::any_of(steps.begin(), steps.end(),
                     [&one](const Step& step) { return step.method == one.method && name_of(step) == name_of(one); });
}

bool has(const Inventory& inventory, const Step& step) { return kind_of(step).has(inventory, name_of(step)); }

class Planner {
 public:
  Planner(const Inventory& live, const std::function<bool(const std::string&)>& is_in_use)
      : live_(live), then_(live), is_in_use_(is_in_use) {}

  Outcome<ReloadPlan> plan(const std::vector<Step>& before, const std::vector<Step>& wanted);

 private:
  void remove(const Step& step);
  void keep(const Step& step, const char* why, const std::string& difference);
  void judge(const Step& step);
  void judge_switch(const Step& step, const std::string& difference);
  [[nodiscard]] std::string difference(const Step& step) const;

  const Inventory& live_;
  Inventory then_;  // what there will be
  const std::function<bool(const std::string&)>& is_in_use_;
  std::size_t as_they_are_ = 0;         // wanted in another way
  std::vector<std::string> made_anew_;  // switches that stay, and are set up again
  ReloadPlan plan_;
};

/// Why what there is cannot count as what is asked for; empty when it can.
std::string Planner::difference(const Step& step) const {
  const auto differences = kind_of(step).differences(live_, step.params);
  // What cannot be beside the things of now (it is to be on a switch that is yet to be made, say) is another.
  return differences ? fmt::format("{}", fmt::join(*differences, "; ")) : text_of(differences.error());
}

void Planner::remove(const Step& step) {
  const InventoryKind& kind = kind_of(step);
  const std::string name = name_of(step);
  plan_.removals.push_back({std::string{kind.name} + ".remove", Json{{"name", name}}, title_of(step)});
  kind.remove(then_, name);
}

void Planner::keep(const Step& step, const char* why, const std::string& difference) {
  ++as_they_are_;
  plan_.kept.push_back(fmt::format("{}: {} is kept as it is, for {}: {}", step.where, title_of(step), why, difference));
}

/// Of a port or uplink that is there and wanted.
void Planner::judge(const Step& step) {
  const std::string difference = this->difference(step);
  if (difference.empty()) return;
  if (kind_of(step).serves_vms && is_in_use_(name_of(step))) return keep(step, "a VM uses it", difference);
  remove(step);
}

/// After ports and uplinks that go have gone.
void Planner::judge_switch(const Step& step, const std::string& difference) {
  if (difference.empty()) return;
  const std::string name = name_of(step);
  if (!then_.users_of(name).empty()) {
    keep(step, "ports or uplinks belong to it", difference);
  } else if (name == kDefaultSwitch) {
    made_anew_.push_back(name);  // it cannot go, and may be added again
  } else {
    remove(step);
  }
}

Outcome<ReloadPlan> Planner::plan(const std::vector<Step>& before, const std::vector<Step>& wanted) {
  const auto is_switch = [](const Step& step) { return kind_of(step).is_used_by_others; };
  for (const Step& step : before) {
    if (!is_switch(step) && !has(wanted, step) && has(live_, step)) remove(step);
  }
  for (const Step& step : wanted) {
    if (!is_switch(step) && has(live_, step)) judge(step);
  }
  for (const Step& step : before) {
    if (!is_switch(step) || has(wanted, step) || !has(live_, step)) continue;
    if (auto may = kind_of(step).may_remove(then_, name_of(step)); may) {
      remove(step);
    } else {
      plan_.kept.push_back(
          fmt::format("{} is kept although the file no longer has it: {}", title_of(step), may.error().text));
    }
  }
  for (const Step& step : wanted) {
    if (is_switch(step) && has(live_, step)) judge_switch(step, difference(step));
  }
  for (const Step& step : wanted) {
    const bool is_anew =
        is_switch(step) && std::find(made_anew_.begin(), made_anew_.end(), name_of(step)) != made_anew_.end();
    if (has(then_, step) && !is_anew) {
      ++plan_.unchanged;
      continue;
    }
    if (auto may = rehearse(step, then_); !may) {
      return refuse(may.error().kind, "", fmt::format("{}: {}", place_of(step, may.error()), text_of(may.error())));
    }
    plan_.additions.push_back(step);
  }
  plan_.unchanged -= as_they_are_;
  return std::move(plan_);
}

}  // namespace

Outcome<ReloadPlan> plan_reload(const Inventory& live, const Configuration& before, const Configuration& wanted,
                                const std::function<bool(const std::string& port)>& is_in_use) {
  return Planner{live, is_in_use}.plan(before.steps, wanted.steps);
}

namespace {

template <class Spec>
void add_changed(std::vector<std::string>& changed, std::span<const Option<Spec>> options, const Spec& before,
                 const Spec& wanted) {
  for (const Option<Spec>& option : options) {
    const bool is_told = option.text.change == Change::anew && !is_same(option.get(before), option.get(wanted));
    if (is_told) changed.emplace_back(option.text.name);
  }
}

}  // namespace

std::vector<std::string> changed_values(const DaemonSpec& before, const DaemonSpec& wanted) {
  std::vector<std::string> changed;
  add_changed(changed, daemon_options(), before, wanted);
  add_changed(changed, poller_options(), before.pollers, wanted.pollers);
  return changed;
}

void take_changes(const DaemonSpec& wanted, DaemonSpec& into) {
  for (const Option<DaemonSpec>& option : daemon_options()) {
    if (option.text.change == Change::reload) option.copy(wanted, into);
  }
}

}  // namespace vmux::control

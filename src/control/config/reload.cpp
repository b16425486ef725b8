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
      : live_(live), then_(live), is_in_use_(is_in_use) {
    then_.defer_mirrors(true);
  }

  Outcome<ReloadPlan> plan(const std::vector<Step>& before, const std::vector<Step>& wanted);

 private:
  Outcome<> add(const Step& step);
  void remove(const Step& step);
  [[nodiscard]] bool set(const Step& step, const Inventory::Differences& settings);
  void keep(const Step& step, const char* why, const std::string& difference);
  void judge(const Step& step);

  const Inventory& live_;
  Inventory then_;  // what there will be
  const std::function<bool(const std::string&)>& is_in_use_;
  ReloadPlan plan_;
};

Outcome<> Planner::add(const Step& step) {
  if (auto may = rehearse(step, then_); !may) {
    return refuse(may.error().kind, "", fmt::format("{}: {}", place_of(step, may.error()), text_of(may.error())));
  }
  plan_.steps.push_back(step);
  return {};
}

void Planner::remove(const Step& step) {
  const InventoryKind& kind = kind_of(step);
  const std::string name = name_of(step);
  plan_.steps.push_back({std::string{kind.name} + ".remove", Json{{"name", name}}, title_of(step)});
  kind.remove(then_, name);
}

/// False: there cannot be such a thing beside the others (it is to have an address that another gives up later, say).
bool Planner::set(const Step& step, const Inventory::Differences& settings) {
  const InventoryKind& kind = kind_of(step);
  Json params{{"name", name_of(step)}};
  for (const Inventory::Difference& one : settings)
    params[one.key] = one.wanted;
  if (auto may = kind.set(then_, params); !may) return false;
  plan_.steps.push_back({std::string{kind.name} + ".set", std::move(params), step.where});
  return true;
}

void Planner::keep(const Step& step, const char* why, const std::string& difference) {
  plan_.kept.push_back(fmt::format("{}: {} is kept as it is, for {}: {}", step.where, title_of(step), why, difference));
}

/// Of a thing that is there and wanted: sets what can be set, and takes it down to be made anew for what cannot, or
/// leaves that if a VM is in the way.
void Planner::judge(const Step& step) {
  const InventoryKind& kind = kind_of(step);
  const auto differences = kind.differences(then_, step.params);
  Inventory::Differences live, anew;
  for (const Inventory::Difference& one : differences.value_or(Inventory::Differences{}))
    (kind.is_live(one.key) ? live : anew).push_back(one);
  const bool may_be_set = differences.has_value();
  if (may_be_set && live.empty() && anew.empty()) {
    ++plan_.unchanged;
    return;
  }
  if (may_be_set && anew.empty() && set(step, live)) return;
  if (!kind.serves_vms || !is_in_use_(name_of(step))) return remove(step);
  if (may_be_set && (live.empty() || set(step, live))) return keep(step, "a VM uses it", text_of(anew));
  keep(step, "a VM uses it", may_be_set ? text_of(*differences) : text_of(differences.error()));
}

// Switches come before what joins them, and go after what leaves them.
Outcome<ReloadPlan> Planner::plan(const std::vector<Step>& before, const std::vector<Step>& wanted) {
  const auto is_switch = [](const Step& step) { return kind_of(step).is_used_by_others; };
  for (const Step& step : before) {
    if (!is_switch(step) && !has(wanted, step) && has(live_, step)) remove(step);
  }
  for (const Step& step : wanted) {
    if (!is_switch(step)) continue;
    if (has(live_, step)) {
      judge(step);
    } else if (auto added = add(step); !added) {
      return tl::unexpected<Problem>(added.error());
    }
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
    if (has(then_, step)) continue;
    if (auto added = add(step); !added) return tl::unexpected<Problem>(added.error());
  }
  then_.defer_mirrors(false);
  if (auto good = check_mirrors(then_, wanted); !good) {
    const auto& [problem, step] = good.error();
    return refuse(
        problem.kind, "",
        step == nullptr ? text_of(problem) : fmt::format("{}: {}", place_of(*step, problem), text_of(problem)));
  }
  return std::move(plan_);
}

}  // namespace

std::size_t ReloadPlan::count(std::string_view what) const noexcept {
  return static_cast<std::size_t>(std::count_if(steps.begin(), steps.end(), [what](const Step& step) {
    return std::string_view{step.method}.substr(step.method.find('.') + 1) == what;
  }));
}

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

// SPDX-License-Identifier: BSD-3-Clause
#include "control/config/reload.hpp"

#include <algorithm>
#include <tuple>

#include "base/format.hpp"

namespace vmux::control {
namespace {

std::string name_of(const Step& step) { return step.params.value("name", std::string{}); }
std::string kind_of(const Step& step) { return step.method.substr(0, step.method.find('.')); }
std::string title_of(const Step& step) { return kind_of(step) + ' ' + name_of(step); }

bool has(const std::vector<Step>& steps, const Step& one) {
  return std::any_of(steps.begin(), steps.end(),
                     [&one](const Step& step) { return step.method == one.method && name_of(step) == name_of(one); });
}

bool has(const Inventory& inventory, const Step& step) {
  const std::string name = name_of(step);
  if (step.method == "port.add") return inventory.find_port(name) != nullptr;
  if (step.method == "uplink.add") return inventory.find_uplink(name) != nullptr;
  return inventory.find_switch(name) != nullptr;
}

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
  const auto differences = [&]() -> Outcome<Inventory::Differences> {
    if (step.method == "port.add") return live_.differences(*port_spec(step.params));
    if (step.method == "uplink.add") return live_.differences(*uplink_spec(step.params));
    return live_.differences(*switch_spec(step.params));
  }();
  // What cannot be beside the things of now (it is to be on a switch that is yet to be made, say) is another.
  return differences ? fmt::format("{}", fmt::join(*differences, "; ")) : text_of(differences.error());
}

void Planner::remove(const Step& step) {
  const std::string name = name_of(step);
  plan_.removals.push_back({kind_of(step) + ".remove", Json{{"name", name}}, title_of(step)});
  if (step.method == "port.add") then_.remove_port(name);
  if (step.method == "uplink.add") then_.remove_uplink(name);
  if (step.method == "switch.add") then_.remove_switch(name);
}

void Planner::keep(const Step& step, const char* why, const std::string& difference) {
  ++as_they_are_;
  plan_.kept.push_back(fmt::format("{}: {} is kept as it is, for {}: {}", step.where, title_of(step), why, difference));
}

/// Of a port or uplink that is there and wanted.
void Planner::judge(const Step& step) {
  const std::string difference = this->difference(step);
  if (difference.empty()) return;
  if (step.method == "port.add" && is_in_use_(name_of(step))) return keep(step, "a VM uses it", difference);
  remove(step);
}

/// After ports and uplinks that go have gone.
void Planner::judge_switch(const Step& step, const std::string& difference) {
  if (difference.empty()) return;
  const std::string name = name_of(step);
  const auto belongs = [&name](const auto& one) { return one.switch_name == name; };
  const bool is_used = std::any_of(then_.ports().begin(), then_.ports().end(), belongs) ||
                       std::any_of(then_.uplinks().begin(), then_.uplinks().end(), belongs);
  if (is_used) {
    keep(step, "ports or uplinks belong to it", difference);
  } else if (name == kDefaultSwitch) {
    made_anew_.push_back(name);  // it cannot go, and may be added again
  } else {
    remove(step);
  }
}

Outcome<ReloadPlan> Planner::plan(const std::vector<Step>& before, const std::vector<Step>& wanted) {
  const auto is_switch = [](const Step& step) { return step.method == "switch.add"; };
  for (const Step& step : before) {
    if (!is_switch(step) && !has(wanted, step) && has(live_, step)) remove(step);
  }
  for (const Step& step : wanted) {
    if (!is_switch(step) && has(live_, step)) judge(step);
  }
  for (const Step& step : before) {
    if (!is_switch(step) || has(wanted, step) || !has(live_, step)) continue;
    if (auto may = then_.may_remove_switch(name_of(step)); may) {
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

std::vector<std::string> changed_values(const DaemonSpec& before, const DaemonSpec& wanted) {
  std::vector<std::string> changed;
  const auto look = [&changed](const char* key, bool is_same) {
    if (!is_same) changed.emplace_back(key);
  };
  const auto look_at_access = [&look](const SocketAccess& a, const SocketAccess& b, const AccessKeys& keys) {
    look(keys.owner, id_of(a.owner) == id_of(b.owner));
    look(keys.group, id_of(a.group) == id_of(b.group));
    look(keys.mode, a.mode == b.mode);
  };
  look("rpc", before.rpc == wanted.rpc);
  look_at_access(before.rpc_access, wanted.rpc_access, kRpcAccess);
  look_at_access(before.port_access, wanted.port_access, kPortAccess);
  look("base_mac", before.base_mac == wanted.base_mac);
  look("doorbell", before.doorbell == wanted.doorbell);
  const PollersSpec &a = before.pollers, &b = wanted.pollers;
  look("count", a.count == b.count);
  look("cpus", a.cpus == b.cpus);
  look("busy", a.busy == b.busy);
  look("spin_us", a.spin_us == b.spin_us);
  look("min_sleep_us", a.min_sleep_us == b.min_sleep_us);
  look("max_sleep_us", a.max_sleep_us == b.max_sleep_us);
  look("linger_us", a.linger_us == b.linger_us);
  look("keep_awake_us", a.keep_awake_us == b.keep_awake_us);
  return changed;
}

}  // namespace vmux::control

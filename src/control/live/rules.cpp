// SPDX-License-Identifier: BSD-3-Clause
// Rules as the switches have them: all of a switch are given to it at once, in their order.
#include <utility>

#include "base/logf.hpp"
#include "base/text/format.hpp"
#include "control/live/attach.hpp"
#include "control/live/controller.hpp"

namespace vmux::control {

/// Those of the inventory; `one` in place of the rule of its name, or behind all if there is none; without that which
/// is called `gone`.
std::vector<switching::Rule> Controller::wanted_rules(const std::string& switch_name, const RuleSpec* one,
                                                      const std::string& gone) const {
  std::vector<switching::Rule> rules;
  bool is_placed = one == nullptr;
  for (const RuleSpec& spec : inventory_.all<RuleSpec>()) {
    if (spec.switch_name != switch_name || spec.name == gone) continue;
    const bool is_it = one != nullptr && spec.name == one->name;
    is_placed = is_placed || is_it;
    rules.push_back(rule_of(is_it ? *one : spec));
  }
  if (!is_placed) rules.push_back(rule_of(*one));
  return rules;
}

/// While changes are made that belong together they are only looked at: publishing each of a thousand rules alone takes
/// seconds. They are there before the next port is (open()), and at the end. Those of a predecessor are looked at one
/// by one, as it had them all: who takes over has no time for more.
Outcome<> Controller::give_rules(const std::string& switch_name, const RuleSpec* one, const std::string& gone) {
  switching::Switch& to = *switches_.at(switch_name);
  const bool waits = inventory_.defers_mirrors();
  const bool is_one_of_many = waits && predecessor_ != nullptr && one != nullptr;
  auto rules = is_one_of_many ? std::vector{rule_of(*one)} : wanted_rules(switch_name, one, gone);
  if (waits) unsettled_rules_.insert(switch_name);
  const auto given = waits ? to.may_have_rules(rules) : to.set_rules(std::move(rules));
  if (!given) return refuse("name", "have it on switch " + switch_name, given.error());
  return {};
}

void Controller::settle_rules() {
  for (const std::string& name : std::exchange(unsettled_rules_, {})) {
    const auto found = switches_.find(name);
    if (found == switches_.end()) continue;
    if (const auto given = found->second->set_rules(wanted_rules(name, nullptr, {})); !given)
      logf(LogLevel::error, "switch {} has the rules that it had before: {}", name, given.error().text());
  }
}

Outcome<> Controller::open(const RuleSpec& spec) { return give_rules(spec.switch_name, &spec, {}); }

void Controller::close(const RuleSpec& spec) {
  static_cast<void>(give_rules(spec.switch_name, nullptr, spec.name));  // fewer rules are none that a switch refuses
}

Outcome<> Controller::apply(const RuleSpec& /*is*/, const RuleSpec& wanted) {
  return give_rules(wanted.switch_name, &wanted, {});
}

switching::RuleHits Controller::rule_hits(const RuleSpec& rule) const {
  return switches_.at(rule.switch_name)->rule_hits(rule.name);
}

}  // namespace vmux::control

// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/rule_methods.hpp"

#include "base/text/format.hpp"
#include "control/rpc/params.hpp"

namespace vmux::control {
namespace {

Outcome<Json> flush_rules(Controller& controller, const Json& object) {
  Params params{object};
  const std::string name = params.name("switch").value_or(kDefaultSwitch);
  const auto port = params.name("port");
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  if (controller.inventory().find<SwitchSpec>(name) == nullptr)
    return refuse(ProblemKind::not_found, "switch", fmt::format("there is no switch named {}", name));
  std::vector<std::string> names;
  for (const RuleSpec& rule : controller.inventory().all<RuleSpec>()) {
    if (rule.switch_name == name && (!port || rule.port == port)) names.push_back(rule.name);
  }
  const auto together = controller.together();
  for (const std::string& rule : names) {
    if (auto removed = controller.remove<RuleSpec>(rule); !removed) return tl::unexpected<Problem>(removed.error());
  }
  return Json{{"switch", name}, {"flushed", names.size()}};
}

}  // namespace

void add_rule_methods(Methods& methods, Controller& controller) {
  methods.add("rule.flush", [&controller](const Json& params) { return flush_rules(controller, params); },
              {Role::operate});
}

}  // namespace vmux::control

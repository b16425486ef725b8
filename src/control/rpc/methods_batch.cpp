// SPDX-License-Identifier: BSD-3-Clause
// All are rehearsed on a copy of the inventory first. What then fails in the machine is undone by the opposite calls,
// in the opposite order; a NIC that was taken from a VM cannot be given back, so that such calls come last, where
// nothing can fail any more.
#include "control/rpc/methods_batch.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/logf.hpp"
#include "base/text/format.hpp"
#include "control/model/inventory_kinds.hpp"

namespace vmux::control {
namespace {

constexpr std::size_t kMostCalls = 4096;

struct BatchCall {
  std::string method;
  Json params;
  const InventoryKind* kind;

  [[nodiscard]] std::string_view verb() const { return std::string_view{method}.substr(method.find('.') + 1); }
  [[nodiscard]] std::string name() const {
    const auto found = params.find("name");
    return found != params.end() && found->is_string() ? found->get<std::string>() : "";
  }
};

struct Undo {
  std::string method;
  Json params;
};

tl::unexpected<Problem> wrong(std::size_t at, const BatchCall& call, const Problem& problem) {
  return refuse(problem.kind, "calls", fmt::format("[{}], {} {}: {}", at, call.method, call.name(), text_of(problem)));
}

Outcome<std::vector<BatchCall>> calls_of(const Json& object) {
  const auto list = object.is_object() ? object.find("calls") : object.end();
  if (list == object.end() || list->is_null()) return refuse(ProblemKind::invalid, "calls", "is missing");
  if (!list->is_array() || list->size() > kMostCalls) {
    return refuse(ProblemKind::invalid, "calls", fmt::format("expected a list of at most {} calls", kMostCalls));
  }
  std::vector<BatchCall> calls;
  for (const Json& one : *list) {
    const auto say = [&calls](const char* what) {
      return refuse(ProblemKind::invalid, "calls", fmt::format("[{}]: expected {}", calls.size(), what));
    };
    if (!one.is_object()) return say("an object of method and params");
    BatchCall call;
    for (const auto& item : one.items()) {
      if (item.key() == "method" && item.value().is_string()) {
        call.method = item.value().get<std::string>();
      } else if (item.key() == "params" && item.value().is_object()) {
        call.params = item.value();
      } else {
        return say("method, a text, and params, an object, alone");
      }
    }
    if (call.params.is_null()) call.params = Json::object();
    call.kind = kind_of_method(call.method);
    const std::string_view verb = call.verb();
    const bool is_change = call.kind != nullptr && call.method.find('.') != std::string::npos &&
                           (verb == "add" || verb == "set" || verb == "remove");
    if (!is_change) return say("a method that adds, sets or removes a port, switch or uplink");
    calls.push_back(std::move(call));
  }
  return calls;
}

/// One on an inventory, without touching the machine.
Outcome<> rehearse(const BatchCall& call, Inventory& inventory) {
  if (call.verb() == "add") return call.kind->add(inventory, call.params);
  if (call.verb() == "set") return call.kind->set(inventory, call.params);
  const auto name = name_only(call.params);
  if (!name) return tl::unexpected<Problem>(name.error());
  if (auto may = call.kind->may_remove(inventory, *name); !may) return may;
  call.kind->remove(inventory, *name);
  return {};
}

class Batch {
 public:
  Batch(const Methods& methods, Controller& controller, std::vector<BatchCall> calls)
      : methods_(methods), controller_(controller), calls_(std::move(calls)) {}

  [[nodiscard]] Outcome<> rehearse_all() const;
  /// The results; what was made of them is undone when one fails.
  Outcome<Json> make_all();

 private:
  [[nodiscard]] bool takes_a_nic(const BatchCall& call) const;
  [[nodiscard]] Undo opposite_of(const BatchCall& call) const;
  std::string undo(const std::vector<Undo>& made) const;

  const Methods& methods_;
  Controller& controller_;
  std::vector<BatchCall> calls_;
};

bool Batch::takes_a_nic(const BatchCall& call) const {
  return call.method == "port.remove" && controller_.inventory().find<PortSpec>(call.name()) != nullptr &&
         controller_.port_state(call.name()).is_connected;
}

Outcome<> Batch::rehearse_all() const {
  Inventory then = controller_.inventory();
  then.defer_mirrors(true);
  bool is_last = false;
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    if (auto may = rehearse(calls_[i], then); !may) return wrong(i, calls_[i], may.error());
    const bool takes = takes_a_nic(calls_[i]);
    if (is_last && !takes) {
      return refuse(ProblemKind::busy, "calls",
                    fmt::format("[{}], {} {}: comes behind the removal of a port that a VM uses, which cannot be "
                                "undone; such removals come last",
                                i, calls_[i].method, calls_[i].name()));
    }
    is_last = takes;
  }
  then.defer_mirrors(false);
  const auto wrong = then.mirror_problem();
  if (!wrong) return {};
  return refuse(wrong->problem.kind, "calls", fmt::format("{}: {}", wrong->name, text_of(wrong->problem)));
}

Undo Batch::opposite_of(const BatchCall& call) const {
  const std::string kind = call.kind->name;
  if (call.verb() == "add") return {kind + ".remove", Json{{"name", call.name()}}};
  Json settings = call.kind->settings(controller_.inventory(), call.name());
  return {kind + (call.verb() == "set" ? ".set" : ".add"), std::move(settings)};
}

std::string Batch::undo(const std::vector<Undo>& made) const {
  std::string failures;
  for (auto one = made.rbegin(); one != made.rend(); ++one) {
    const auto done = methods_.call(one->method, one->params);
    if (!done)
      failures += fmt::format("; {} {} failed: {}", one->method, one->params.value("name", std::string{}),
                              text_of(done.error()));
  }
  return failures;
}

Outcome<Json> Batch::make_all() {
  std::vector<std::string> leaving;
  for (const BatchCall& call : calls_) {
    if (takes_a_nic(call)) leaving.push_back(call.name());
  }
  const auto together = controller_.together();
  Json results = Json::array();
  std::vector<Undo> made;
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    const BatchCall& call = calls_[i];
    if (calls_.size() - i == leaving.size()) controller_.announce_removal(leaving);
    Undo opposite = opposite_of(call);
    auto result = methods_.call(call.method, call.params);
    if (!result) {
      const std::string failures = undo(made);
      Problem problem = wrong(i, call, result.error()).value();
      if (!failures.empty()) problem.text += "; and what was done before it could not all be undone" + failures;
      return tl::unexpected<Problem>(std::move(problem));
    }
    made.push_back(std::move(opposite));
    results.push_back(std::move(*result));
  }
  return results;
}

Outcome<Json> batch(const Methods& methods, Controller& controller, const Json& object) {
  Params params{object};
  params.ask("calls");
  const auto generation = params.number("if_generation", 0, ~0ull);
  const bool is_dry = params.flag("dry_run").value_or(false);
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  auto calls = calls_of(object);
  if (!calls) return tl::unexpected<Problem>(calls.error());
  if (generation && *generation != controller.generation()) {
    return refuse(
        ProblemKind::conflict, "if_generation",
        fmt::format("something has changed since: the generation is {}, not {}", controller.generation(), *generation));
  }
  Batch all{methods, controller, std::move(*calls)};
  if (auto may = all.rehearse_all(); !may) return tl::unexpected<Problem>(may.error());
  Json results = Json::array();
  if (!is_dry) {
    auto made = all.make_all();
    if (!made) return made;
    results = std::move(*made);
  }
  return Json{{"results", std::move(results)}, {"generation", controller.generation()}};
}

/// That of the call that takes most; what is no call is refused to admins, too.
Role role_of(const Methods& methods, const Json& params) {
  Role most = Role::operate;
  const auto list = params.is_object() ? params.find("calls") : params.end();
  if (list == params.end() || !list->is_array()) return most;
  for (const Json& one : *list) {
    const auto method = one.is_object() ? one.find("method") : one.end();
    const bool is_known = one.is_object() && method != one.end() && method->is_string() &&
                          methods.has(method->get<std::string>()) && *method != "batch";
    const auto given = one.is_object() ? one.find("params") : one.end();
    most = std::max(
        most, is_known ? methods.role_for(method->get<std::string>(), given == one.end() ? Json::object() : *given)
                       : Role::operate);
  }
  return most;
}

}  // namespace

void add_batch_method(Methods& methods, Controller& controller) {
  methods.add("batch", [&](const Json& params) { return batch(methods, controller, params); },
              {Role::operate, Role::operate, role_of});
}

}  // namespace vmux::control

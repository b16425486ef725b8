// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/methods_change.hpp"

#include "base/text/format.hpp"
#include "control/model/spec/kinds.hpp"
#include "control/rpc/shown.hpp"

namespace vmux::control {
namespace {

template <ObjectSpec Spec>
Outcome<const Spec*> find(const Controller& controller, const std::string& name) {
  const Spec* const spec = controller.inventory().find<Spec>(name);
  if (spec != nullptr) return spec;
  return refuse(ProblemKind::not_found, "name", fmt::format("there is no {} named {}", kind_of<Spec>().name, name));
}

/// The object as it is then, and how many of its settings were other ones.
template <ObjectSpec Spec>
Outcome<Json> set_object(Controller& controller, const Json& object) {
  Params first{object};
  const std::string name = first.required_name("name");
  if (auto named = first.problem(); !named) return tl::unexpected<Problem>(named.error());
  const auto is = find<Spec>(controller, name);
  const Spec none;  // so that a wrong parameter is told by its name, whatever there is
  std::optional<std::uint64_t> generation;
  const auto wanted = changed_spec_of(
      is ? **is : none, object, [&generation](Params& more) { generation = more.number("if_generation", 0, ~0ull); });
  if (!wanted) return tl::unexpected<Problem>(wanted.error());
  if (!is) return tl::unexpected<Problem>(is.error());
  if (auto same = check_generation<Spec>(controller, name, generation); !same) {
    return tl::unexpected<Problem>(same.error());
  }
  const auto changed = controller.change(*wanted);
  if (!changed) return tl::unexpected<Problem>(changed.error());
  Json result = shown(controller, *controller.inventory().find<Spec>(name));
  result["changed"] = *changed;
  return result;
}

Outcome<Json> flush_switch(Controller& controller, const Json& object) {
  Params params{object};
  const std::string name = params.required_name("name");
  const auto member = params.name("port");
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  if (auto found = find<SwitchSpec>(controller, name); !found) return tl::unexpected<Problem>(found.error());
  const auto users = controller.inventory().users_of(name);
  if (member && std::find(users.begin(), users.end(), *member) == users.end()) {
    return refuse(ProblemKind::not_found, "port",
                  fmt::format("switch {} has no port or uplink named {}", name, *member));
  }
  return Json{{"name", name}, {"flushed", controller.flush(name, member)}};
}

}  // namespace

void add_change_methods(Methods& methods, Controller& controller) {
  for_each_kind([&]<class Spec>() {
    methods.add(
        std::string{kind_of<Spec>().name} + ".set",
        [&controller](const Json& params) { return set_object<Spec>(controller, params); }, access_to_change<Spec>());
  });
  methods.add("switch.flush", [&controller](const Json& params) { return flush_switch(controller, params); },
              {Role::operate});
}

}  // namespace vmux::control

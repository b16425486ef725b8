// SPDX-License-Identifier: BSD-3-Clause
// The kinds of objects that can be added and removed, as rows; and the settings of the daemon itself, which are options
// too. A new option is a row in kinds.cpp and a member of the specification.
#pragma once

#include <algorithm>
#include <span>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

#include "control/model/spec/option.hpp"
#include "control/model/spec/problem.hpp"
#include "control/model/spec/spec.hpp"
#include "control/rpc/params.hpp"

namespace vmux::control {

template <class Spec>
struct Kind {
  const char* name;        ///< "port": of port.add, [[port]], vmuxctl port
  const char* what;        ///< "a port: one NIC for one VM"
  Role changes;            ///< the least role that may add and remove one
  bool is_used_by_others;  ///< objects of other kinds belong to it
  bool serves_vms;         ///< one that a VM uses is not taken from it to change it
  std::span<const Option<Spec>> options;
  Outcome<> (*check)(const Spec& spec);  ///< of the options together, without a look at anything else
};

namespace detail {

template <class Spec, class List>
inline constexpr bool kIsAmong = false;
template <class Spec, class... All>
inline constexpr bool kIsAmong<Spec, std::tuple<All...>> = (std::is_same_v<Spec, All> || ...);

}  // namespace detail

/// One of ObjectSpecs.
template <class Spec>
concept ObjectSpec = detail::kIsAmong<Spec, ObjectSpecs>;

/// Calls `visit.template operator()<Spec>()` for each kind, in their order.
template <class Visit>
void for_each_kind(Visit&& visit) {
  [&visit]<class... Specs>(const std::tuple<Specs...>*) {
    (visit.template operator()<Specs>(), ...);
  }(static_cast<ObjectSpecs*>(nullptr));
}

template <ObjectSpec Spec>
[[nodiscard]] const Kind<Spec>& kind_of() noexcept;
template <>
[[nodiscard]] const Kind<SwitchSpec>& kind_of() noexcept;
template <>
[[nodiscard]] const Kind<RuleSpec>& kind_of() noexcept;
template <>
[[nodiscard]] const Kind<UplinkSpec>& kind_of() noexcept;
template <>
[[nodiscard]] const Kind<PortSpec>& kind_of() noexcept;

/// [daemon] and [pollers].
[[nodiscard]] std::span<const Option<DaemonSpec>> daemon_options() noexcept;
[[nodiscard]] std::span<const Option<PollersSpec>> poller_options() noexcept;

/// Sets what the parameters have.
template <class Spec>
void read_options(Params& params, std::span<const Option<Spec>> options, Spec& into) {
  for (const Option<Spec>& option : options) {
    if (auto value = params.value(option.text)) option.set(into, std::move(*value));
  }
}

/// The least role for a call that gives an object these values.
template <ObjectSpec Spec>
[[nodiscard]] Role role_to_change(const Json& params) {
  Role most = kind_of<Spec>().changes;
  for (const Option<Spec>& option : kind_of<Spec>().options) {
    if (params.is_object() && params.contains(option.text.name)) most = std::max(most, option.text.role);
  }
  return most;
}

/// A specification out of the parameters of a call; `extra` reads what the call takes besides.
template <ObjectSpec Spec, class Extra>
[[nodiscard]] Outcome<Spec> spec_of(const Json& object, Extra&& extra) {
  Params params{object};
  Spec spec;
  read_options(params, kind_of<Spec>().options, spec);
  extra(params);
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  if (auto good = kind_of<Spec>().check(spec); !good) return tl::unexpected<Problem>(good.error());
  return spec;
}
template <ObjectSpec Spec>
[[nodiscard]] Outcome<Spec> spec_of(const Json& object) {
  return spec_of<Spec>(object, [](Params&) {});
}

/// `is` with the settings that the parameters of a call have; null puts one back to what holds when it is left out.
template <ObjectSpec Spec, class Extra>
[[nodiscard]] Outcome<Spec> changed_spec_of(const Spec& is, const Json& object, Extra&& extra) {
  Params params{object};
  Spec spec = is;
  static_cast<void>(params.name("name"));
  for (const Option<Spec>& option : kind_of<Spec>().options) {
    const char* const key = option.text.name;
    if (key == std::string_view{"name"}) continue;
    auto value = params.value_if_given(option.text);
    if (value) option.set(spec, std::move(*value));
    if (!params.is_null(key)) continue;
    if (option.text.fallback == nullptr) params.reject(ProblemKind::invalid, key, "may not be left out");
    option.copy(Spec{}, spec);
  }
  extra(params);
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  if (auto good = kind_of<Spec>().check(spec); !good) return tl::unexpected<Problem>(good.error());
  return spec;
}

/// The options of which two of a kind have different values.
template <ObjectSpec Spec>
[[nodiscard]] std::vector<const OptionText*> differing_options(const Spec& a, const Spec& b) {
  std::vector<const OptionText*> differing;
  for (const Option<Spec>& option : kind_of<Spec>().options) {
    if (!is_same(option.get(a), option.get(b))) differing.push_back(&option.text);
  }
  return differing;
}

/// The same members that spec_of() takes, with what was left out left out.
template <ObjectSpec Spec>
[[nodiscard]] Json to_json(const Spec& spec) {
  Json object = Json::object();
  for (const Option<Spec>& option : kind_of<Spec>().options) {
    if (const auto value = option.get(spec)) object[option.text.name] = to_json(option.text, *value);
  }
  return object;
}

/// A table of options without its type: for command lines, documentation, and tests of all of them.
struct KindText {
  const char* name;
  const char* what;
  std::vector<const OptionText*> options;
};
[[nodiscard]] std::vector<KindText> object_kinds();
/// [daemon] and [pollers].
[[nodiscard]] std::vector<KindText> setting_tables();

}  // namespace vmux::control

// SPDX-License-Identifier: BSD-3-Clause
// Settings as rows: an option is a member of a specification and a row of its kind's table (kinds.cpp). From the row
// come the key of the file and of calls, the option of command lines, their help, what is shown, and the reference
// pages.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/accounts.hpp"
#include "control/model/spec/rule_values.hpp"
#include "control/model/spec/spec.hpp"
#include "control/model/spec/values.hpp"
#include "control/rpc/roles.hpp"

namespace vmux::control {

/// What a value is and how it is written, wherever it is written.
enum class Form : unsigned char {
  text,
  name,  ///< of an object: kNameRule
  path,
  number,  ///< from min to max
  flag,    ///< true or false
  mac,
  doorbell,
  link,
  user,
  group,
  mode,  ///< permissions
  vlans,
  static_macs,
  mirror,
  limit,
  addresses,
  mac_match,
  prefix,
  l4_ports,
  ethertype,
  protocol,
  rule_action,
  way,
  translations,
  services,
  cpus,
  members,  ///< of a role
  log_level,
  calls,  ///< of a batch; a parameter only
};

/// When another value takes effect.
enum class Change : unsigned char {
  anew,    ///< when the object is removed and added (`set` does that if no VM uses it), or the daemon started, again
  reload,  ///< when the configuration file is read again
  live,    ///< at once, by `set`: whoever uses the object goes on
};

/// What people and programs are told of an option.
struct OptionText {
  const char* name;  ///< key in files, calls and results: "mac_age_s"
  Form form;
  const char* type;                    ///< in --help: "SECONDS"; empty: on command lines it takes no value
  const char* help;                    ///< half a sentence
  const char* fallback;                ///< what holds when it is left out; nullptr: it may not be
  const char* flags = nullptr;         ///< on command lines: "-p,--pollers"; nullptr: that of its name, see flags_of()
  std::uint64_t min = 0, max = ~0ull;  ///< of a number
  Change change = Change::anew;
  Role role = Role::none;  ///< the least that may give it a value, where that is more than a change of its object takes
};
/// The same for an option that `set` changes at once.
[[nodiscard]] constexpr OptionText live(OptionText text) noexcept {
  text.change = Change::live;
  return text;
}
/// The same for one that is for admins.
[[nodiscard]] constexpr OptionText for_admins(OptionText text) noexcept {
  text.role = Role::admin;
  return text;
}
/// "--mac-age"
[[nodiscard]] std::string flags_of(const OptionText& option);
/// Its help with what holds when it is left out.
[[nodiscard]] std::string help_of(const OptionText& option);

/// A value of any form.
using Value = std::variant<std::string, std::uint64_t, bool, MacAddress, Doorbell, Link, Account,
                           std::vector<VlanRange>, std::vector<StaticMac>, MirrorTo, switching::Limit,
                           std::vector<IpAddress>, MacMatch, IpPrefix, switching::L4Ports, EtherType, IpProtocol,
                           RuleActionWord, switching::RuleWay, std::vector<switching::VlanTranslation>,
                           std::vector<switching::ServiceVlan>, std::vector<unsigned>, Members, LogLevel>;
/// Whether both mean the same: an account has one number and may be written in two ways.
[[nodiscard]] bool is_same(const std::optional<Value>& a, const std::optional<Value>& b);

/// A row of the table of the options of `Spec`.
template <class Spec>
struct Option {
  OptionText text;
  std::optional<Value> (*get)(const Spec& spec);  ///< nullopt: left out
  void (*set)(Spec& spec, Value value);           ///< one of the row's form
  void (*copy)(const Spec& from, Spec& to);
};

namespace detail {

/// The alternative of Value that carries a member of type T.
template <class T>
struct Carrier {
  using Plain = T;
  using Type = T;
};
template <std::unsigned_integral T>
requires(!std::same_as<T, bool>) struct Carrier<T> {
  using Plain = T;
  using Type = std::uint64_t;
};
template <class T>
struct Carrier<std::optional<T>> : Carrier<T> {};

template <class T>
[[nodiscard]] std::optional<Value> to_value(const T& member) {
  if constexpr (requires { member.empty(); }) {
    if (member.empty()) return std::nullopt;
  }
  return Value{static_cast<typename Carrier<T>::Type>(member)};
}
template <class T>
[[nodiscard]] std::optional<Value> to_value(const std::optional<T>& member) {
  return member ? to_value(*member) : std::nullopt;
}

template <class>
struct OwnerOf;
template <class Class, class Type>
struct OwnerOf<Type Class::*> {
  using ClassType = Class;
};

template <auto First, auto... Rest, class Object>
[[nodiscard]] constexpr auto& member_of(Object& object) noexcept {
  if constexpr (sizeof...(Rest) == 0) {
    return object.*First;
  } else {
    return member_of<Rest...>(object.*First);
  }
}

template <class Spec, auto... Path>
[[nodiscard]] std::optional<Value> get(const Spec& spec) {
  return to_value(member_of<Path...>(spec));
}
template <class Spec, auto... Path>
void set(Spec& spec, Value value) {
  auto& member = member_of<Path...>(spec);
  using Carried = Carrier<std::remove_reference_t<decltype(member)>>;
  member = static_cast<typename Carried::Plain>(std::get<typename Carried::Type>(std::move(value)));
}

template <class Spec, auto... Path>
void copy(const Spec& from, Spec& to) {
  member_of<Path...>(to) = member_of<Path...>(from);
}

}  // namespace detail

/// The row of a member: option<&PortSpec::mac>({...}), or of a member's member: option<&PortSpec::vlan,
/// &VlanSpec::access>({...}).
template <auto First, auto... Rest>
[[nodiscard]] constexpr auto option(OptionText text) noexcept {
  using Spec = typename detail::OwnerOf<decltype(First)>::ClassType;
  return Option<Spec>{text, detail::get<Spec, First, Rest...>, detail::set<Spec, First, Rest...>,
                      detail::copy<Spec, First, Rest...>};
}

}  // namespace vmux::control

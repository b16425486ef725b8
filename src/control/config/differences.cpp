// SPDX-License-Identifier: BSD-3-Clause
// What is asked for against what there is, setting by setting.
#include <algorithm>
#include <filesystem>

#include "base/text/format.hpp"
#include "control/model/inventory.hpp"
#include "control/rpc/params.hpp"

namespace vmux::control {
namespace {

std::string written(const Json& value) {
  if (value.is_null()) return "not set";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

Json value_of(const Json& object, const std::string& key) {
  const auto found = object.find(key);
  return found == object.end() ? Json() : *found;
}

Inventory::Differences compare(const Json& is, const Json& wanted) {
  Json keys = is;
  keys.update(wanted);
  Inventory::Differences list;
  for (const auto& item : keys.items()) {
    Inventory::Difference one{item.key(), value_of(is, item.key()), value_of(wanted, item.key())};
    if (one.is != one.wanted) list.push_back(std::move(one));
  }
  return list;
}

/// An account has one number and maybe two names.
void name_alike(const std::optional<Account>& is, std::optional<Account>& wanted) {
  if (is && wanted && is->id == wanted->id) wanted->name = is->name;
}

/// What is left out of a specification, and how it is written, is no difference.
void spell_out(PortSpec& spec, const ModelEntry& model) {
  spec.queues = model.queues(spec.queues);
  if (!spec.variant && !model.variants.empty()) spec.variant = std::string{model.variants.front()};
  std::error_code ignored;
  spec.socket = std::filesystem::absolute(spec.socket, ignored).lexically_normal();
}

template <ObjectSpec Spec>
tl::unexpected<Problem> none(const std::string& name) {
  return refuse(ProblemKind::not_found, "name", fmt::format("there is no {} named {}", kind_of<Spec>().name, name));
}

}  // namespace

std::string Inventory::Difference::text() const {
  return fmt::format("{} is {}, not {}", key, written(is), written(wanted));
}

std::string text_of(const Inventory::Differences& differences) {
  std::string text;
  for (const Inventory::Difference& one : differences)
    text += (text.empty() ? "" : "; ") + one.text();
  return text;
}

Outcome<Inventory::Differences> Inventory::differences(const SwitchSpec& wanted) const {
  const SwitchSpec* const is = find<SwitchSpec>(wanted.name);
  if (is == nullptr) return none<SwitchSpec>(wanted.name);
  return compare(to_json(*is), to_json(wanted));
}

Outcome<Inventory::Differences> Inventory::differences(const RuleSpec& wanted) const {
  const RuleSpec* const is = find<RuleSpec>(wanted.name);
  if (is == nullptr) return none<RuleSpec>(wanted.name);
  return compare(to_json(*is), to_json(wanted));  // nothing of it is filled in
}

Outcome<Inventory::Differences> Inventory::differences(const UplinkSpec& wanted) const {
  const UplinkSpec* const is = find<UplinkSpec>(wanted.name);
  if (is == nullptr) return none<UplinkSpec>(wanted.name);
  Inventory others = *this;
  others.remove<UplinkSpec>(wanted.name);
  auto made = others.add(wanted);
  if (!made) return tl::unexpected<Problem>(made.error());
  if (!wanted.poller) made->poller = is->poller;
  return compare(to_json(*is), to_json(*made));
}

Outcome<Inventory::Differences> Inventory::differences(const PortSpec& wanted) const {
  const PortSpec* const found = find<PortSpec>(wanted.name);
  if (found == nullptr) return none<PortSpec>(wanted.name);
  PortSpec is = *found;
  Inventory others = *this;
  others.remove<PortSpec>(wanted.name);
  auto made = others.add(wanted);
  if (!made) return tl::unexpected<Problem>(made.error());
  if (!wanted.mac) made->mac = is.mac;
  if (!wanted.poller) made->poller = is.poller;
  name_alike(is.access.owner, made->access.owner);
  name_alike(is.access.group, made->access.group);
  spell_out(is, *catalogue_.model(is.model));
  spell_out(*made, *catalogue_.model(made->model));
  return compare(to_json(is), to_json(*made));
}

}  // namespace vmux::control

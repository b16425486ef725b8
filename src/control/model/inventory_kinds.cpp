// SPDX-License-Identifier: BSD-3-Clause
#include "control/model/inventory_kinds.hpp"

#include <algorithm>
#include <array>

#include "control/model/spec/kinds.hpp"

namespace vmux::control {
namespace {

template <ObjectSpec Spec>
Outcome<> add_to(Inventory& inventory, const Json& params) {
  auto spec = spec_of<Spec>(params);
  if (!spec) return tl::unexpected<Problem>(spec.error());
  auto added = inventory.add(std::move(*spec));
  if (!added) return tl::unexpected<Problem>(added.error());
  return {};
}

template <ObjectSpec Spec>
Outcome<Inventory::Differences> differences_of(const Inventory& inventory, const Json& params) {
  const auto spec = spec_of<Spec>(params);
  if (!spec) return tl::unexpected<Problem>(spec.error());
  return inventory.differences(*spec);
}

template <ObjectSpec Spec>
bool is_live(const std::string& key) {
  const auto options = control::kind_of<Spec>().options;
  return std::any_of(options.begin(), options.end(), [&key](const Option<Spec>& option) {
    return key == option.text.name && option.text.change == Change::live;
  });
}

template <ObjectSpec Spec>
Outcome<> set_in(Inventory& inventory, const Json& params) {
  Params first{params};
  const std::string name = first.required_name("name");
  if (auto named = first.problem(); !named) return named;
  const Spec* const is = inventory.find<Spec>(name);
  if (is == nullptr) {
    return refuse(ProblemKind::not_found, "name",
                  std::string{"there is no "} + control::kind_of<Spec>().name + " named " + name);
  }
  auto wanted = changed_spec_of(*is, params, [](Params&) {});
  if (!wanted) return tl::unexpected<Problem>(wanted.error());
  const auto changed = inventory.changed(std::move(*wanted));
  if (!changed) return tl::unexpected<Problem>(changed.error());
  inventory.put(*changed);
  return {};
}

template <ObjectSpec Spec>
Json settings_of(const Inventory& inventory, const std::string& name) {
  const Spec* const spec = inventory.find<Spec>(name);
  if (spec == nullptr) return {};
  Json settings = to_json(*spec);
  for (const Option<Spec>& option : control::kind_of<Spec>().options)
    settings.emplace(option.text.name, nullptr);
  return settings;
}

template <ObjectSpec Spec>
InventoryKind row_of() {
  const Kind<Spec>& kind = control::kind_of<Spec>();
  return {kind.name,
          kind.is_used_by_others,
          kind.serves_vms,
          add_to<Spec>,
          [](const Inventory& inventory, const std::string& name) { return inventory.find<Spec>(name) != nullptr; },
          [](const Inventory& inventory, const std::string& name) { return inventory.may_remove<Spec>(name); },
          [](Inventory& inventory, const std::string& name) { inventory.remove<Spec>(name); },
          differences_of<Spec>,
          is_live<Spec>,
          set_in<Spec>,
          settings_of<Spec>};
}

}  // namespace

const InventoryKind* kind_of_method(std::string_view method) noexcept {
  static const std::vector<InventoryKind> kRows = [] {
    std::vector<InventoryKind> rows;
    for_each_kind([&rows]<class Spec>() { rows.push_back(row_of<Spec>()); });
    return rows;
  }();
  const std::string_view name = method.substr(0, method.find('.'));
  for (const InventoryKind& row : kRows) {
    if (name == row.name) return &row;
  }
  return nullptr;
}

}  // namespace vmux::control

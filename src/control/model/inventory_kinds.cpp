// SPDX-License-Identifier: BSD-3-Clause
#include "control/model/inventory_kinds.hpp"

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
InventoryKind row_of() {
  const Kind<Spec>& kind = control::kind_of<Spec>();
  return {kind.name,
          kind.is_used_by_others,
          kind.serves_vms,
          add_to<Spec>,
          [](const Inventory& inventory, const std::string& name) { return inventory.find<Spec>(name) != nullptr; },
          [](const Inventory& inventory, const std::string& name) { return inventory.may_remove<Spec>(name); },
          [](Inventory& inventory, const std::string& name) { inventory.remove<Spec>(name); },
          differences_of<Spec>};
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

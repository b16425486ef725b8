// SPDX-License-Identifier: BSD-3-Clause
// What can be done on an inventory to an object of any kind, by the words of a call: for whoever reads calls out of a
// file. The rows follow from ObjectSpecs.
#pragma once

#include <string>
#include <string_view>

#include "control/model/inventory.hpp"
#include "control/rpc/params.hpp"

namespace vmux::control {

struct InventoryKind {
  const char* name;
  bool is_used_by_others, serves_vms;  ///< as Kind has them
  Outcome<> (*add)(Inventory& inventory, const Json& params);
  bool (*has)(const Inventory& inventory, const std::string& name);
  Outcome<> (*may_remove)(const Inventory& inventory, const std::string& name);
  void (*remove)(Inventory& inventory, const std::string& name);
  Outcome<Inventory::Differences> (*differences)(const Inventory& inventory, const Json& params);
  /// Whether a setting can change under whoever uses the object.
  bool (*is_live)(const std::string& key);
  /// The parameters are a name and settings, as those of NAME.set.
  Outcome<> (*set)(Inventory& inventory, const Json& params);
  /// All of an object that there is, null where it has none; null if there is no such object.
  Json (*settings)(const Inventory& inventory, const std::string& name);
};

/// That of "port.add"; nullptr: there is none.
[[nodiscard]] const InventoryKind* kind_of_method(std::string_view method) noexcept;

}  // namespace vmux::control

// SPDX-License-Identifier: BSD-3-Clause
// Methods that change what is there: port.set, switch.set, uplink.set, switch.flush.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "control/live/controller.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::control {

/// `controller` must outlive them.
void add_change_methods(Methods& methods, Controller& controller);

/// Of a call that makes or changes an object: some of its options take more than others.
template <ObjectSpec Spec>
[[nodiscard]] Access access_to_change() {
  const Role least = kind_of<Spec>().changes;
  return {least, least, [](const Methods&, const Json& params) { return role_to_change<Spec>(params); }};
}

/// A conflict when the object is there and has changed since it had the generation that the caller knows of.
template <ObjectSpec Spec>
[[nodiscard]] Outcome<> check_generation(const Controller& controller, const std::string& name,
                                         std::optional<std::uint64_t> known) {
  if (!known || controller.inventory().find<Spec>(name) == nullptr) return {};
  const std::uint64_t is = controller.generation_of<Spec>(name);
  if (is == *known) return {};
  return refuse(
      ProblemKind::conflict, "if_generation",
      name + " has changed since: its generation is " + std::to_string(is) + ", not " + std::to_string(*known));
}

}  // namespace vmux::control

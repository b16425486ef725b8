// SPDX-License-Identifier: BSD-3-Clause
// A configuration that was read again, against the one before and what there is: what has to be done. Nothing live.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "control/config/configuration.hpp"

namespace vmux::control {

struct ReloadPlan {
  std::vector<Step> steps;        ///< calls, in their order: KIND.remove, KIND.add, KIND.set
  std::vector<std::string> kept;  ///< what stays as it is although the file says otherwise, each by name, and why
  std::size_t unchanged = 0;      ///< things that are as asked for
  /// How many steps are calls of KIND.`what`, of any kind.
  [[nodiscard]] std::size_t count(std::string_view what) const noexcept;
};

/// Makes `live` what `wanted` says, as far as that takes nothing from a VM: of a port that a VMM uses (`is_in_use`)
/// those settings change that can under it, and it goes when the file no longer has it. Other things that take it are
/// removed and added. What neither configuration names, because it was added by a call, is left alone. `wanted` has
/// been rehearsed by itself; a problem here (its step's place first) is one with what there is, and then nothing of it
/// may be done.
[[nodiscard]] Outcome<ReloadPlan> plan_reload(const Inventory& live, const Configuration& before,
                                              const Configuration& wanted,
                                              const std::function<bool(const std::string& port)>& is_in_use);

/// The keys of [daemon] and [pollers] that differ and take a restart.
[[nodiscard]] std::vector<std::string> changed_values(const DaemonSpec& before, const DaemonSpec& wanted);
/// Those that do not (Change::reload), as they are wanted.
void take_changes(const DaemonSpec& wanted, DaemonSpec& into);

}  // namespace vmux::control

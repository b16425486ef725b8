// SPDX-License-Identifier: BSD-3-Clause
// What a daemon starts with: values for the whole, and the first calls, whether they come from flags or from a file.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/model/inventory.hpp"
#include "control/rpc/params.hpp"

namespace vmux::control {

/// A call that the daemon makes on itself while it starts.
struct Step {
  std::string method;  ///< switch.add, uplink.add or port.add
  Json params;
  std::string where;  ///< what to call it in messages: "vmux.toml:12: [[port]]"
  bool from_flags = false;
  /// Where its keys stand in the file: "vmux.toml:14: [[port]]", each.
  std::vector<std::pair<std::string, std::string>> where_keys = {};
};
/// What to call the place of a problem with `step`: that of the key at fault, if it stands there.
[[nodiscard]] const std::string& place_of(const Step& step, const Problem& problem);

struct Configuration {
  DaemonSpec daemon;
  std::vector<Step> steps;
};

/// Reads a file of the form in docs/configuration.md over `into`. Problems begin with "FILE:LINE:COLUMN".
Outcome<> load_configuration(const std::string& path, Configuration& into);
/// The same for text; `name` stands for the file in messages.
Outcome<> parse_configuration(std::string_view text, const std::string& name, Configuration& into);

/// Members of the tables [daemon] and [pollers], over what `spec` says already.
Outcome<> apply_daemon(const Json& values, DaemonSpec& spec);
Outcome<> apply_pollers(const Json& values, PollersSpec& spec);

/// The rules of the daemon's own values: the number of CPUs and pollers, sleeps in order, CPUs that exist.
Outcome<> settle(DaemonSpec& daemon);

/// A problem with the step that caused it.
struct StepProblem {
  Problem problem;
  const Step* step;
};
/// Makes every step on an inventory, without touching the machine. The problem of the first step that cannot be.
[[nodiscard]] tl::expected<void, StepProblem> rehearse(const Configuration& configuration, const Catalogue& catalogue);
/// What is wrong with the mirrors of an inventory on which `steps` were made, and which of them asks for it; nullptr:
/// none of them, but something that was there before.
[[nodiscard]] tl::expected<void, StepProblem> check_mirrors(const Inventory& inventory, const std::vector<Step>& steps);
/// One step on an inventory.
[[nodiscard]] Outcome<> rehearse(const Step& step, Inventory& inventory);

}  // namespace vmux::control

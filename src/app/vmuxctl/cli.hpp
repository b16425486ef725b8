// SPDX-License-Identifier: BSD-3-Clause
// The command line of vmuxctl, as one call or several.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "app/console/exit.hpp"
#include "app/vmuxctl/commands.hpp"
#include "app/vmuxctl/view.hpp"
#include "control/model/spec/problem.hpp"

namespace vmux::app {

struct Call {
  const Command* command = nullptr;
  control::Json params = control::Json::object();
  std::vector<std::string> names;  ///< of a command that takes several: one call for each, or one without
  std::string rpc;
  unsigned timeout_s = 30;
  unsigned wait_s = 0;  ///< for a daemon that is not there yet
  std::string file;     ///< of a command that uses one
  bool as_json = false;
  bool follows = false;
  bool runs = false;                         ///< by command->run
  std::map<std::string, std::string> local;  ///< arguments of Take::local, by their option
  View view;
  Screen screen;
};

/// `arguments` without the program's name.
[[nodiscard]] tl::expected<Call, Exit> parse_call(const std::vector<std::string>& arguments, const Screen& screen = {});

/// The words of the first level: groups, commands and "host".
[[nodiscard]] std::vector<std::string> first_words();
/// Options before a command whose value is a word of its own.
[[nodiscard]] bool takes_value(const std::string& option);

/// Makes the calls by `ask`, which knows the daemon, and tells what came of them. What fails for one name is told by
/// that name, and the others are done.
using Ask = std::function<control::Outcome<control::Json>(const control::Json& params)>;
[[nodiscard]] Exit perform(const Call& call, const Ask& ask);

/// The same for a call that follows: what comes is handed to `out` as it comes, an event a line. Ends with a problem,
/// or when `out` is false, as nobody reads any more.
[[nodiscard]] Exit follow(const Call& call, const Ask& ask, const Out& out);

/// What the program prints and its status, for a problem that the daemon told.
[[nodiscard]] Exit explain(const Call& call, const control::Problem& problem);

}  // namespace vmux::app

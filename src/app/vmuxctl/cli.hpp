// SPDX-License-Identifier: BSD-3-Clause
// The command line of vmuxctl, as one call.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "app/vmuxctl/commands.hpp"

namespace vmux::app {

struct Call {
  const Command* command = nullptr;
  control::Json params = control::Json::object();
  std::string rpc;
  unsigned timeout_s = 30;
  bool as_json = false;
};

struct Exit {
  int status = 0;
  std::string out;
  std::string err;
};
inline constexpr int kFailure = 1;
inline constexpr int kUsageError = 2;

/// `arguments` without the program's name.
[[nodiscard]] tl::expected<Call, Exit> parse_call(const std::vector<std::string>& arguments);

/// What the program prints and its status, for a problem that the daemon told.
[[nodiscard]] Exit explain(const Call& call, const control::Problem& problem);

}  // namespace vmux::app

// SPDX-License-Identifier: BSD-3-Clause
// Which -m, -d and -t belong to which -s. Pure.
#pragma once

#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

namespace vmux::app {

/// One option as it stood on the command line: 's', 'm', 'd' or 't', and its value.
struct Occurrence {
  char option;
  std::string value;
};

/// What the flags say about one VM.
struct VmSet {
  std::string socket;
  std::optional<std::string> mode, device, tap;
};

/// An option that is given as often as -s is matched by order: the n-th with the n-th. One that is given less often
/// belongs to the -s before it, or to the first when it stands before all. "none" for -d and -t stands for nothing.
/// The error is a message that begins with the option.
[[nodiscard]] tl::expected<std::vector<VmSet>, std::string> match_sets(const std::vector<Occurrence>& given);

}  // namespace vmux::app

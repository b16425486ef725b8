// SPDX-License-Identifier: BSD-3-Clause
// Filters as they travel in calls. Pure.
#pragma once

#include <string_view>

#include "base/text/text.hpp"
#include "packet/filter.hpp"

namespace vmux::control {

/// As xt_bpf, tc-bpf(8) and `tcpdump -ddd` with commas have it: how many instructions, then "CODE IF_TRUE IF_FALSE K"
/// for each, decimal: `1,6 0 0 262144`. A comma may stand behind the last. The error is a sentence.
[[nodiscard]] Parsed<packet::Filter> parse_filter(std::string_view text);

}  // namespace vmux::control

// SPDX-License-Identifier: BSD-3-Clause
// Options that take one of some words.
#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>
#include <vector>

#include "base/text/format.hpp"
#include "base/text/words.hpp"

namespace vmux::app {

/// For an option's check().
[[nodiscard]] inline CLI::Validator one_of(const std::vector<std::string>& words) {
  const auto check = [words](const std::string& text) -> std::string {
    if (std::find(words.begin(), words.end(), text) != words.end()) return "";
    return fmt::format("expected one of {}, got '{}'{}", fmt::join(words, ", "), text, did_you_mean(text, words));
  };
  return CLI::Validator{[check](std::string& text) { return check(text); }, ""};
}

}  // namespace vmux::app

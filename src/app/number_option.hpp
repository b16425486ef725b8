// SPDX-License-Identifier: BSD-3-Clause
// Numbers on command lines, by the one rule of base/text/text.hpp. CLI11 alone reads 010 as eight, and what it reads
// depends on its version.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "base/text/format.hpp"
#include "base/text/text.hpp"

namespace vmux::app {

/// For an option's transform(): what was written becomes the form that CLI11 cannot misread, or a usage error.
[[nodiscard]] inline CLI::Validator number(std::uint64_t min, std::uint64_t max) {
  const auto take = [min, max](std::string& text) -> std::string {
    const auto value = parse_number(text, max);
    if (!value || *value < min) return fmt::format("expected a number from {} to {}, got '{}'", min, max, text);
    text = std::to_string(*value);
    return "";
  };
  return CLI::Validator{take, fmt::format("{} to {}", min, max)};
}

}  // namespace vmux::app

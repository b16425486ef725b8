// SPDX-License-Identifier: BSD-3-Clause
// What walks over trees of directories have in common.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace vmux::preload {

/// Can a walk from there come to what we show? True for /sys, /dev, what lies in them and what they lie in.
[[nodiscard]] bool may_walk_into_ours(const char* path);
/// Names in a directory but "." and ".."; nothing, and errno, when it cannot be read.
[[nodiscard]] std::optional<std::vector<std::string>> names_in(const std::string& directory);

}  // namespace vmux::preload

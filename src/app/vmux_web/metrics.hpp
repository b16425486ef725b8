// SPDX-License-Identifier: BSD-3-Clause
// A snapshot in Prometheus' text format.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "app/vmux_web/snapshot.hpp"

namespace vmux::app {

/// vMux's families, by name, in version 0.0.4 of the format. `answered`: how many requests this process has answered,
/// by status.
[[nodiscard]] std::string metrics_text(const Snapshot& snapshot, const std::map<unsigned, std::uint64_t>& answered);
inline constexpr const char* kMetricsType = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace vmux::app

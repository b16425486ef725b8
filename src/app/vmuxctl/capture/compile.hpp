// SPDX-License-Identifier: BSD-3-Clause
// Filters in the words of pcap-filter(7), as programs that a daemon takes.
#pragma once

#include <string>

#include "base/text/text.hpp"

namespace vmux::app {

/// "tcp port 80" as the program that capture.start takes as `filter`, or what is wrong with it as a sentence. Names of
/// hosts and of ports are looked up, which may take time.
[[nodiscard]] Parsed<std::string> compile_filter(const std::string& expression);

}  // namespace vmux::app

// SPDX-License-Identifier: BSD-3-Clause
// What Wireshark asks of a program in its extcap directory (extcap(4)): ports, uplinks and switches as interfaces.
#pragma once

#include <string>
#include <vector>

#include "app/vmuxctl/capture/capture.hpp"

namespace vmux::app {

/// `connect` gives the way to the daemon at a socket's path.
using Connect = std::function<AskWithFile(const std::string& rpc)>;

/// `arguments` without the program's name.
[[nodiscard]] Exit extcap(const std::vector<std::string>& arguments, const Connect& connect);

}  // namespace vmux::app

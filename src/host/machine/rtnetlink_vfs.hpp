// SPDX-License-Identifier: BSD-3-Clause
// What a physical function is told about its virtual ones: IFLA_VFINFO_LIST of rtnetlink(7).
#pragma once

#include <string>
#include <vector>

#include "host/machine/network.hpp"

struct nlmsghdr;

namespace vmux::host {

/// By number: what an answer to RTM_GETLINK with RTEXT_FILTER_VF says. Empty: the driver tells nothing.
[[nodiscard]] std::vector<VfSettings> parse_vfs(const nlmsghdr* message);

/// Of an interface by its index.
[[nodiscard]] Result<std::vector<VfSettings>> read_vfs(unsigned interface);
[[nodiscard]] Result<> write_vf(unsigned interface, unsigned vf, const VfSettings& wanted);

}  // namespace vmux::host

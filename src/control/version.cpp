// SPDX-License-Identifier: BSD-3-Clause
#include "control/version.hpp"

namespace vmux::control {

const char* version() noexcept { return VMUX_VERSION; }

}  // namespace vmux::control

// SPDX-License-Identifier: BSD-3-Clause
#include "control/version.hpp"

#include "base/build_id.hpp"
#include "base/text/format.hpp"

namespace vmux::control {

const char* version() noexcept { return VMUX_VERSION; }

std::string build() {
  const std::string id = build_id();
  return id.empty() ? version() : fmt::format("{} build {}", version(), id);
}

}  // namespace vmux::control

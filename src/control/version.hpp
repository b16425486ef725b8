// SPDX-License-Identifier: BSD-3-Clause
#pragma once

namespace vmux::control {

/// Of this build: "0.1.0".
[[nodiscard]] const char* version() noexcept;

}  // namespace vmux::control

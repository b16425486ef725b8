// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <string>

namespace vmux::control {

/// Of this build: "0.1.0".
[[nodiscard]] const char* version() noexcept;
/// That and what tells two builds of it apart: "0.1.0 build 0123456789abcdef".
[[nodiscard]] std::string build();

}  // namespace vmux::control

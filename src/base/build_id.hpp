// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <string>

namespace vmux {

/// The build ID of the program that runs (the linker's note NT_GNU_BUILD_ID), the first 8 bytes of it in hexadecimal;
/// empty when it has none.
[[nodiscard]] std::string build_id();

}  // namespace vmux

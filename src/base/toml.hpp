// SPDX-License-Identifier: BSD-3-Clause
// toml++, for text that people write. Version 3.3 (Debian 12) asserts that a key begins as keys do, a few lines before
// it would say where one does not: in builds with assertions a mistyped file ended the program instead of being
// refused.
#pragma once

#define TOML_ASSERT(expr) static_assert(true)
#include <toml++/toml.h>

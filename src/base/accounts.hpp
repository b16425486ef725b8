// SPDX-License-Identifier: BSD-3-Clause
// Users and groups of this machine, as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/text/text.hpp"

namespace vmux {

/// A user or a group.
struct Account {
  std::string name;      ///< as it was written: a name, or a number
  std::uint32_t id = 0;  ///< uid_t or gid_t
};

/// By name (getpwnam(3), getgrnam(3): the machine is asked, and may ask a directory service), or a number, which need
/// belong to nobody. The error stands behind "expected": "a user of this machine".
[[nodiscard]] Parsed<Account> find_user(std::string_view written);
[[nodiscard]] Parsed<Account> find_group(std::string_view written);

}  // namespace vmux

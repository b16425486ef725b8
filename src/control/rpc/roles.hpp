// SPDX-License-Identifier: BSD-3-Clause
// Who may call what: a caller's role follows from its user and its groups, each method names the least that it takes.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/accounts.hpp"
#include "base/text/text.hpp"

namespace vmux::control {

/// Each may do what those before it may.
enum class Role : unsigned char {
  none,     ///< nothing
  read,     ///< look: lists, statistics, what to paste into a VMM
  operate,  ///< ports and switches: what a VM's owner needs
  admin,    ///< uplinks, which reach the host's interfaces and devices, and the daemon itself
};
[[nodiscard]] const char* to_text(Role role) noexcept;

/// Those who have a role, or all who may connect.
struct Members {
  std::vector<Account> users, groups;
  bool is_everyone = false;
};

/// As written: "user:NAME", "group:NAME", numbers in place of names, several by commas; or "all". The error stands
/// behind "expected".
[[nodiscard]] Parsed<Members> parse_members(std::string_view written);
[[nodiscard]] std::string to_text(const Members& members);

/// Without any of them, whoever may connect is an admin: the socket's owner, group and mode are all there is.
struct RolesSpec {
  std::optional<Members> read, operate, admin;
};

/// Who is at the other end of a socket, as the kernel knew it when it connected (SO_PEERCRED, SO_PEERGROUPS: unix(7)).
struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
  std::vector<gid_t> groups;  ///< further ones
};
/// nullopt: the kernel does not say; whoever it is has no role then.
[[nodiscard]] std::optional<Caller> caller_of(int socket);

/// Root and the user that this process runs as are admins always.
[[nodiscard]] Role role_of(const RolesSpec& roles, const Caller& caller) noexcept;

}  // namespace vmux::control

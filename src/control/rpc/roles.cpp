// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/roles.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/text/format.hpp"

namespace vmux::control {
namespace {

constexpr std::size_t kMostGroups = 65'536;  // NGROUPS_MAX of Linux

bool has(const std::vector<Account>& accounts, std::uint32_t id) noexcept {
  return std::any_of(accounts.begin(), accounts.end(), [id](const Account& one) { return one.id == id; });
}

bool has(const std::optional<Members>& members, const Caller& caller) noexcept {
  if (!members) return false;
  return members->is_everyone || has(members->users, caller.uid) || has(members->groups, caller.gid) ||
         std::any_of(caller.groups.begin(), caller.groups.end(),
                     [&members](gid_t group) { return has(members->groups, group); });
}

Parsed<void> take_member(Members& members, std::string_view written) {
  const std::size_t colon = written.find(':');
  const std::string_view kind = written.substr(0, colon);
  if (colon == std::string_view::npos || (kind != "user" && kind != "group"))
    return tl::unexpected<std::string>("user:NAME, group:NAME, several of them by commas, or all");
  auto found = kind == "user" ? find_user(written.substr(colon + 1)) : find_group(written.substr(colon + 1));
  if (!found) return tl::unexpected<std::string>(found.error());
  (kind == "user" ? members.users : members.groups).push_back(std::move(*found));
  return {};
}

}  // namespace

const char* to_text(Role role) noexcept {
  constexpr std::array kTexts{"none", "read", "operate", "admin"};
  return kTexts[static_cast<std::size_t>(role)];
}

Parsed<Members> parse_members(std::string_view written) {
  Members members;
  if (written == "all") {
    members.is_everyone = true;
    return members;
  }
  for (const std::string_view one : split(written, ',')) {
    if (auto taken = take_member(members, trim(one)); !taken) return tl::unexpected<std::string>(taken.error());
  }
  return members;
}

std::string to_text(const Members& members) {
  if (members.is_everyone) return "all";
  std::string text;
  const auto add = [&text](const char* kind, const std::vector<Account>& accounts) {
    for (const Account& one : accounts)
      text += fmt::format("{}{}:{}", text.empty() ? "" : ", ", kind, one.name);
  };
  add("user", members.users);
  add("group", members.groups);
  return text;
}

std::optional<Caller> caller_of(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return std::nullopt;
  Caller caller{credentials.uid, credentials.gid, credentials.pid, std::vector<gid_t>(64)};
  for (;;) {
    size = static_cast<socklen_t>(caller.groups.size() * sizeof(gid_t));
    const bool is_told = ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, caller.groups.data(), &size) == 0;
    const std::size_t count = size / sizeof(gid_t);
    if (is_told || errno != ERANGE || count > kMostGroups) {
      caller.groups.resize(is_told ? count : 0);  // not told: no member of any
      return caller;
    }
    caller.groups.resize(count);
  }
}

Role role_of(const RolesSpec& roles, const Caller& caller) noexcept {
  const bool is_open = !roles.read && !roles.operate && !roles.admin;
  if (is_open || caller.uid == 0 || caller.uid == ::geteuid() || has(roles.admin, caller)) return Role::admin;
  if (has(roles.operate, caller)) return Role::operate;
  return has(roles.read, caller) ? Role::read : Role::none;
}

}  // namespace vmux::control

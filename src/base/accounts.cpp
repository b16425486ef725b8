// SPDX-License-Identifier: BSD-3-Clause
#include "base/accounts.hpp"

#include <grp.h>
#include <pwd.h>

#include <cerrno>
#include <vector>

namespace vmux {
namespace {

constexpr std::uint64_t kMostId = 0xffff'fffe;            // the one above means "as it is" to chown(2)
constexpr std::size_t kMostBytes = std::size_t{1} << 24;  // of a group's entry, which has all of its members

/// `ask(buffer, size)` answers as getpwnam_r(3) does: 0 or an errno, ERANGE for a buffer that is too small.
template <class Ask>
int with_buffer(Ask ask) {
  std::vector<char> buffer(1024);
  for (;;) {
    const int error = ask(buffer.data(), buffer.size());
    if (error == EINTR) continue;
    if (error != ERANGE || buffer.size() >= kMostBytes) return error;
    buffer.resize(buffer.size() * 4);
  }
}

}  // namespace

Parsed<Account> find_user(std::string_view written) {
  Account account{std::string{written}, 0};
  if (const auto number = parse_number(written, kMostId)) {
    account.id = static_cast<std::uint32_t>(*number);
    return account;
  }
  passwd entry{};
  passwd* found = nullptr;
  with_buffer(
      [&](char* buffer, std::size_t size) { return ::getpwnam_r(account.name.c_str(), &entry, buffer, size, &found); });
  if (found == nullptr) return tl::unexpected<std::string>("a user of this machine, by name or number");
  account.id = entry.pw_uid;
  return account;
}

Parsed<Account> find_group(std::string_view written) {
  Account account{std::string{written}, 0};
  if (const auto number = parse_number(written, kMostId)) {
    account.id = static_cast<std::uint32_t>(*number);
    return account;
  }
  group entry{};
  group* found = nullptr;
  with_buffer(
      [&](char* buffer, std::size_t size) { return ::getgrnam_r(account.name.c_str(), &entry, buffer, size, &found); });
  if (found == nullptr) return tl::unexpected<std::string>("a group of this machine, by name or number");
  account.id = entry.gr_gid;
  return account;
}

}  // namespace vmux

// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux/notify.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace vmux::app {

namespace {

/// sd_notify(3)'s protocol: a datagram, with one descriptor at most here.
void tell(std::string_view text, int fd) noexcept {
  const char* const path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';  // the abstract name space, unix(7)
  const UniqueFd socket{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  iovec bytes{const_cast<char*>(text.data()), text.size()};
  msghdr message{};
  message.msg_name = &address;
  message.msg_namelen = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof fd)> control{};
  if (fd >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  ::sendmsg(socket.get(), &message, MSG_NOSIGNAL);
}

}  // namespace

void notify_manager(const char* state) noexcept { tell(state, -1); }

void store_at_manager(const char* name, int fd) noexcept {
  char text[128];
  std::snprintf(text, sizeof text, "%s\nFDNAME=%s", fd < 0 ? "FDSTOREREMOVE=1" : "FDSTORE=1", name);
  tell(text, fd);
}

std::map<std::string, UniqueFd> stored_at_manager() {
  constexpr int kFirst = 3;  // SD_LISTEN_FDS_START
  const auto number_in = [](const char* name) {
    const char* const text = std::getenv(name);
    return text == nullptr ? 0L : std::strtol(text, nullptr, 10);
  };
  std::map<std::string, UniqueFd> found;
  const long count = number_in("LISTEN_PID") == ::getpid() ? std::min(number_in("LISTEN_FDS"), 1024L) : 0;
  std::string names = std::getenv("LISTEN_FDNAMES") == nullptr ? "" : std::getenv("LISTEN_FDNAMES");
  for (const char* each : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"})
    ::unsetenv(each);
  std::size_t at = 0;
  for (int fd = kFirst; fd < kFirst + count; ++fd) {
    const std::size_t end = std::min(names.find(':', at), names.size());
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    found.insert_or_assign(names.substr(at, end - at), UniqueFd{fd});
    at = std::min(end + 1, names.size());
  }
  return found;
}

}  // namespace vmux::app

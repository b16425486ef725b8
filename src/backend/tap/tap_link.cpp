// SPDX-License-Identifier: BSD-3-Clause
#include "backend/tap/tap_link.hpp"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace vmux::backend {
namespace {

// Of the message that is told when a link changes the first bytes say whose it is (rtnetlink(7)).
struct LinkMessage {
  nlmsghdr header;
  ifinfomsg link;
};
static_assert(sizeof(LinkMessage) == NLMSG_LENGTH(sizeof(ifinfomsg)));

}  // namespace

Result<TapLink> TapLink::open(const std::string& name) {
  TapLink link;
  link.fd_ = UniqueFd{::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE)};
  if (!link.fd_) return fail_errno("cannot open a socket to follow the tap interface");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK;
  if (::bind(link.fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno("cannot follow the tap interface");
  }
  link.index_ = static_cast<int>(::if_nametoindex(name.c_str()));
  link.ask();
  return link;
}

bool TapLink::read_news() noexcept {
  bool is_ours = false;
  for (;;) {
    LinkMessage message{};
    const ssize_t size = ::recv(fd_.get(), &message, sizeof message, 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno != ENOBUFS) break;  // ENOBUFS: too much news for the socket, some of it may have been ours
    is_ours = is_ours || size < static_cast<ssize_t>(sizeof message) || message.link.ifi_index == index_;
  }
  if (is_ours) ask();
  return is_ours;
}

// By its number: it may have got another name.
void TapLink::ask() noexcept {
  ifreq request{};
  request.ifr_ifindex = index_;
  if (::ioctl(fd_.get(), SIOCGIFNAME, &request) != 0) {
    is_up_ = true;
    return;
  }
  ifreq flags = request;
  if (::ioctl(fd_.get(), SIOCGIFFLAGS, &flags) == 0) is_up_ = (flags.ifr_flags & IFF_UP) != 0;
  if (::ioctl(fd_.get(), SIOCGIFMTU, &request) == 0) mtu_ = static_cast<std::uint32_t>(request.ifr_mtu);
}

}  // namespace vmux::backend

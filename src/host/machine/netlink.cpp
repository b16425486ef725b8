// SPDX-License-Identifier: BSD-3-Clause
#include "host/machine/netlink.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace vmux::host::netlink {
Result<> receive(int socket, std::vector<char>& into) {
  into.resize(std::max<std::size_t>(into.capacity(), 32768));
  for (int flags = MSG_PEEK | MSG_TRUNC;;) {
    iovec place{into.data(), into.size()};
    msghdr message{};
    message.msg_iov = &place;
    message.msg_iovlen = 1;
    const ssize_t got = ::recvmsg(socket, &message, flags);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("netlink receive");
    if ((message.msg_flags & MSG_TRUNC) != 0) {
      into.resize(std::max(static_cast<std::size_t>(got), into.size() * 2));
    } else if (flags != 0) {
      flags = 0;
    } else {
      into.resize(static_cast<std::size_t>(got));
      return {};
    }
  }
}

Request::Request(std::uint16_t type, std::uint16_t flags) : header_(::mnl_nlmsg_put_header(buffer_.data())) {
  header_->nlmsg_type = type;
  header_->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  header_->nlmsg_seq = 1;
}

Result<> Request::exchange(mnl_cb_t take, void* data, int bus) {
  mnl_socket* const socket = ::mnl_socket_open2(bus, SOCK_CLOEXEC);
  if (socket == nullptr) return fail_errno("netlink socket");
  const Result<> done = converse(socket, take, data);
  ::mnl_socket_close(socket);
  return done;
}

Result<> Request::converse(mnl_socket* socket, mnl_cb_t take, void* data) {
  if (::mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) return fail_errno("netlink bind");
  if (::mnl_socket_sendto(socket, header_, header_->nlmsg_len) < 0) return fail_errno("netlink send");
  std::vector<char> answer;
  while (true) {
    if (auto done = receive(::mnl_socket_get_fd(socket), answer); !done) return done;
    const int next =
        ::mnl_cb_run(answer.data(), answer.size(), header_->nlmsg_seq, ::mnl_socket_get_portid(socket), take, data);
    if (next < 0) return fail_errno("rtnetlink");
    if (next == MNL_CB_STOP) return {};
  }
}

}  // namespace vmux::host::netlink

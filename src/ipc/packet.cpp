// SPDX-License-Identifier: BSD-3-Clause
#include "ipc/packet.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "ipc/fds.hpp"
#include "vmux/base/assert.hpp"

namespace vmux::ipc {

Result<PacketPair> packet_pair() noexcept {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return fail_errno("cannot make a socket pair");
  return PacketPair{UniqueFd{ends[0]}, UniqueFd{ends[1]}};
}

Result<void> send_packet(int socket, std::span<const std::byte> bytes, std::span<const int> fds) noexcept {
  VMUX_ASSERT(!bytes.empty() && fds.size() <= kMaxPacketFds);
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxPacketFds * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  while (::sendmsg(socket, &message, MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return fail_errno("cannot send a message to a process of ours");
  }
  return {};
}

Result<Packet> receive_packet(int socket, std::span<std::byte> buffer, bool may_wait) {
  iovec part{buffer.data(), buffer.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxPacketFds * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got = -1;
  do {
    got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | (may_wait ? 0 : MSG_DONTWAIT));
  } while (got < 0 && errno == EINTR);
  if (got < 0) return fail_errno("cannot receive a message from a process of ours");
  Packet packet;
  packet.size = static_cast<std::size_t>(got);
  packet.fds = fds_of(message);
  if ((message.msg_flags & MSG_TRUNC) != 0) return fail(Errc::protocol, "a message from a process of ours is too long");
  if ((message.msg_flags & MSG_CTRUNC) != 0) return fail(Errc::protocol, "descriptors were lost on their way", EMFILE);
  return packet;
}

}  // namespace vmux::ipc

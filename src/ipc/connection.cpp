// SPDX-License-Identifier: BSD-3-Clause
#include "ipc/connection.hpp"

#include <sys/socket.h>

#include <cerrno>

namespace vmux::ipc {

Connection& Connection::operator=(Connection&& other) noexcept {
  if (this == &other) return *this;
  hang_up();
  socket_ = std::move(other.socket_);
  return *this;
}

void Connection::hang_up() noexcept {
  if (!socket_) return;
  ::shutdown(socket_.get(), SHUT_RDWR);
  // What is there now is all that there will be: a send() that comes later fails with EPIPE under the same lock of the
  // kernel's. So this ends, after as much as the peer's send buffer holds. Descriptors that lie in between are closed
  // by the kernel, for want of a control buffer.
  char rest[16 << 10];
  for (;;) {
    const ssize_t got = ::recv(socket_.get(), rest, sizeof rest, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EINTR)) break;
  }
  socket_.reset();
}

pid_t peer_of(int socket) noexcept {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0 ? credentials.pid : 0;
}

}  // namespace vmux::ipc

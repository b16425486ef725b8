// SPDX-License-Identifier: BSD-3-Clause
// One end of a connected UNIX stream socket, and how it is closed without harm to whoever has the other end.
#pragma once

#include <sys/types.h>

#include <utility>

#include "vmux/base/unique_fd.hpp"

namespace vmux::ipc {

/// Owns a connected stream socket. A UNIX socket that is closed with unread bytes in it gives its peer ECONNRESET, also
/// for what the peer has yet to read, and QEMU aborts then, and its VM with it. So this one is shut down first (from
/// then on the kernel takes no more bytes from the peer), read until it is empty, and then closed: the peer reads what
/// we sent, and then the end of the stream.
class Connection {
 public:
  Connection() noexcept = default;
  explicit Connection(UniqueFd socket) noexcept : socket_(std::move(socket)) {}
  Connection(Connection&&) noexcept = default;
  Connection& operator=(Connection&& other) noexcept;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { hang_up(); }

  [[nodiscard]] int get() const noexcept { return socket_.get(); }
  explicit operator bool() const noexcept { return static_cast<bool>(socket_); }
  void hang_up() noexcept;
  /// Closes this descriptor only: another process has the socket too, after a fork(), and goes on using it.
  void let_go() noexcept { socket_.reset(); }

 private:
  UniqueFd socket_;
};

/// The process that connected, or listened, at the other end of a socket, as the kernel knew it then (SO_PEERCRED:
/// unix(7)); 0: it is not told.
[[nodiscard]] pid_t peer_of(int socket) noexcept;

}  // namespace vmux::ipc

// SPDX-License-Identifier: BSD-3-Clause
// A connected socket as vhost-user messages with descriptors, both ways.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ipc/connection.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"
#include "wire/vhost_user.hpp"

namespace vmux::state {
class FdBag;
}  // namespace vmux::state

namespace vmux::vhost_user {

struct SavedStream;
using Header = wire::vhost_user::Header;
using wire::vhost_user::Request;

/// A message that has arrived completely. Its payload is valid until the next receive(); descriptors that are not moved
/// out of `fds` are closed when the message goes.
struct Incoming {
  Header header;
  std::span<const std::byte> payload;
  std::vector<UniqueFd> fds;
  bool lost_fds = false;  ///< the kernel could not give us all of them
};

/// Reads in pieces of any size, since the socket cuts where it likes. What it keeps is bounded: no message of the
/// protocol is long, and a peer that does not read its answers is not read from (see queued()). It owns the socket and
/// hangs up politely. Its user says when to read and write.
class MessageStream {
 public:
  enum class Io : std::uint8_t { progress, would_block, closed };
  static constexpr std::size_t kMaxPayload = 4096;  ///< the longest defined is a configuration space, of 268 bytes
  static constexpr std::size_t kMaxFds = 8;         ///< with one message

  explicit MessageStream(ipc::Connection socket) : socket_(std::move(socket)) {}

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }

  /// One recvmsg(), which does not wait.
  [[nodiscard]] Io receive();
  /// The next complete message, or nothing when more bytes are needed. An error: no message can be made out any more.
  [[nodiscard]] Result<std::optional<Incoming>> next();

  /// Queues a reply to `to`, with a payload that the caller fills before anything else is queued.
  [[nodiscard]] std::span<std::byte> append_reply(const Header& to, std::size_t payload_size);
  /// Bytes that wait to be sent.
  [[nodiscard]] std::size_t queued() const noexcept { return out_.size() - sent_; }
  /// Sends what is queued, as far as the socket takes it.
  [[nodiscard]] Io flush() noexcept;

  /// Between two calls, perhaps in the middle of a message. Nothing changes here.
  [[nodiscard]] Result<void> save(SavedStream& into, state::FdBag& fds) const;
  /// Goes on where that one was. Before any other call; the error is for people.
  [[nodiscard]] tl::expected<void, std::string> load(const SavedStream& from, const state::FdBag& fds);
  /// Closes this descriptor only: somebody else has the socket.
  void let_go() noexcept { socket_.let_go(); }

 private:
  struct Arrived {
    std::uint64_t position;  // of the owning message's first byte in the stream
    std::vector<UniqueFd> fds;
    bool lost;
  };
  static constexpr std::size_t kMaxHeldFds = 64;  // of a message that has not been taken yet
  static constexpr std::size_t kRoom = 4 * (sizeof(Header) + kMaxPayload);

  void make_room() noexcept;
  void take_fds(const msghdr& message);
  [[nodiscard]] std::size_t start_of_last_message() const noexcept;

  ipc::Connection socket_;
  std::array<std::byte, kRoom> in_{};
  std::size_t begin_ = 0, end_ = 0;
  std::uint64_t base_ = 0;  // stream position of in_[0]
  std::deque<Arrived> arrived_;
  std::vector<std::byte> out_;
  std::size_t sent_ = 0;
};

/// A descriptor that the front end wants to be signalled by, or that it signals: an eventfd, which is made non-blocking
/// (the front end can undo that: see signal_peer_eventfd()). Anything else could keep a poller busy or waiting for
/// ever.
[[nodiscard]] Result<void> check_eventfd(const UniqueFd& fd) noexcept;

}  // namespace vmux::vhost_user

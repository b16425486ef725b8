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
#include "ipc/stream_record.hpp"
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
  static constexpr std::size_t kLongestMessage = sizeof(Header) + kMaxPayload;
  static constexpr std::size_t kLongestStream = 64 << 10;  ///< bytes received and not served, or queued and not sent

  /// `record`, if any, keeps what is under way for whoever goes on when this process dies. It outlives this object.
  explicit MessageStream(ipc::Connection socket, ipc::StreamRecord* record = nullptr);

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }

  /// One recvmsg(), which does not wait.
  [[nodiscard]] Io receive();
  /// What was received and is part of no message that next() has returned, until the next receive().
  [[nodiscard]] std::span<const std::byte> rest() const noexcept {
    return std::span{in_}.subspan(begin_, end_ - begin_);
  }
  /// The next complete message, or nothing when more bytes are needed. An error: no message can be made out any more.
  [[nodiscard]] Result<std::optional<Incoming>> next();

  /// Queues a reply to `to`, with a payload that the caller fills before anything else is queued.
  [[nodiscard]] std::span<std::byte> append_reply(const Header& to, std::size_t payload_size);
  /// Bytes that wait to be sent.
  [[nodiscard]] std::size_t queued() const noexcept { return out_.size() - sent_; }
  /// What next() has returned so far is done, and what was queued is to be sent; `image` of the control slots belongs
  /// to it. Of a stream with a record: before flush(), and never in the middle of a message.
  void commit(std::uint64_t image) noexcept;
  /// Where the next message begins: what next() has returned lies before.
  [[nodiscard]] std::uint64_t position() const noexcept { return base_ + begin_; }
  /// See ipc::StreamRecord::OwnerOf.
  [[nodiscard]] static std::size_t owner_of_last_byte(std::span<const std::byte> bytes,
                                                      std::size_t max_message) noexcept;
  /// Sends what is queued, as far as the socket takes it.
  [[nodiscard]] Io flush() noexcept;

  /// Between two calls, perhaps in the middle of a message. Nothing changes here.
  [[nodiscard]] Result<void> save(SavedStream& into, state::FdBag& fds) const;
  /// Of a stream with a record, which has the rest.
  [[nodiscard]] Result<void> save_socket(state::FdBag& fds) const;
  /// Goes on where that one was. Before any other call; the error is for people.
  [[nodiscard]] tl::expected<void, std::string> load(const SavedStream& from, const state::FdBag& fds,
                                                     std::uint32_t deaths = 0);
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
  [[nodiscard]] ssize_t read_some(iovec& part, msghdr& message, int flags) noexcept;
  [[nodiscard]] ssize_t send_some() noexcept;
  void note_received(std::size_t bytes, bool has_fds) noexcept;
  [[nodiscard]] static ipc::StreamFds numbers_of(const Arrived& from) noexcept;

  ipc::Connection socket_;
  ipc::StreamRecord* record_;
  std::array<std::byte, kRoom> in_{};
  std::size_t begin_ = 0, end_ = 0;
  std::uint64_t base_ = 0;  // stream position of in_[0]
  std::deque<Arrived> arrived_;
  std::vector<std::byte> out_;
  std::size_t sent_ = 0;
  std::size_t committed_ = 0;  // of out_: the record has so much
};

/// A descriptor that the front end wants to be signalled by, or that it signals: an eventfd, which is made non-blocking
/// (the front end can undo that: see signal_peer_eventfd()). Anything else could keep a poller busy or waiting for
/// ever.
[[nodiscard]] Result<void> check_eventfd(const UniqueFd& fd) noexcept;

}  // namespace vmux::vhost_user

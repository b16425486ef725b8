// SPDX-License-Identifier: BSD-3-Clause
// One connected UNIX stream socket as a sequence of messages with descriptors. Used by the server and the client.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/connection.hpp"
#include "ipc/stream_record.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/state/fd_bag.hpp"
#include "wire/vfio_user.hpp"

namespace vmux::ipc {
struct SavedStream;
}  // namespace vmux::ipc

namespace vmux::vfio_user {

using Header = wire::vfio_user::Header;
using ipc::StreamFds;
using ipc::StreamRecord;

/// A message that has arrived completely. Its bytes are valid until the next receive(); descriptors that are not moved
/// out of `fds` are closed when the message goes.
struct Incoming {
  Header header;
  std::span<const std::byte> payload;
  std::vector<UniqueFd> fds;
  bool lost_fds = false;  ///< the kernel could not give us all of them
};

/// Buffers both directions of a socket that it owns, and hangs up politely (see Connection). No thread of its own: its
/// user says when to read and write.
class Transport {
 public:
  enum class Io : std::uint8_t { progress, would_block, closed };
  static constexpr std::size_t kMaxFds = StreamFds::kMost;

  /// `max_message`: longer messages from the peer break the stream. `record`, if there is one, outlives the transport:
  /// what is received and sent is kept there, and what is served and queued with each commit().
  Transport(ipc::Connection socket, std::size_t max_message, StreamRecord* record = nullptr);

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  /// See Connection: nothing can be sent or received any more.
  void let_go() noexcept { socket_.let_go(); }

  static constexpr std::size_t kNoLimit = static_cast<std::size_t>(-1);
  /// One recvmsg(), which sleeps only if told to (then as long as the socket's SO_RCVTIMEO). At most `limit` bytes: for
  /// whoever has to leave what is not served yet in the socket, where poll() finds it.
  [[nodiscard]] Io receive(bool may_sleep = false, std::size_t limit = kNoLimit);
  /// Bytes that were received and are part of no message that next() has returned.
  [[nodiscard]] std::size_t buffered() const noexcept { return in_end_ - in_begin_; }
  /// Those bytes, until the next receive().
  [[nodiscard]] std::span<const std::byte> rest() const noexcept {
    return std::span{in_}.subspan(in_begin_, buffered());
  }
  /// Bytes of the next message that have not been received; 0 when it is complete, or when its length is not known.
  [[nodiscard]] std::size_t missing() const noexcept;
  /// The descriptors that are this object's, by number: of messages that next() has not returned, and, after load(), of
  /// those that are not sent.
  template <class F>
  void for_each_fd(F&& visit) const {
    for (const Arrived& each : arrived_) {
      for (const UniqueFd& fd : each.fds)
        visit(fd.get());
    }
    for (const Departing& each : departing_) {
      for (const UniqueFd& fd : each.owned)
        visit(fd.get());
    }
  }
  /// The next complete message, or nothing when more bytes are needed, or a broken stream.
  [[nodiscard]] Result<std::optional<Incoming>> next();
  /// Header of the message that broke the stream; valid after next() failed.
  [[nodiscard]] Header broken_header() const noexcept;

  /// Room for `size` bytes at the end of the output queue; the caller fills them before anything else is queued.
  [[nodiscard]] std::span<std::byte> append(std::size_t size);
  /// The last `size` bytes that were appended.
  [[nodiscard]] std::span<std::byte> last(std::size_t size) noexcept { return std::span{out_}.last(size); }
  /// The message that is appended next goes out together with these descriptors (kMaxFds at most), which must live
  /// until then.
  void attach_fds(std::span<const int> fds);
  /// Forgets what was appended after `mark`, a value of queued_end() since the last flush().
  void rollback(std::uint64_t mark) noexcept;
  [[nodiscard]] std::uint64_t queued_end() const noexcept { return out_base_ + out_.size(); }
  [[nodiscard]] std::size_t queued() const noexcept { return out_.size() - out_sent_; }
  /// What was served so far is done, and what was queued is to be sent; `image` of the control slots belongs to it. Of
  /// a transport with a record: before flush(), and never in the middle of a message.
  void commit(std::uint64_t image) noexcept;
  /// Where the next message begins: what next() has returned lies before.
  [[nodiscard]] std::uint64_t position() const noexcept { return in_base_ + in_begin_; }
  /// Messages with descriptors that wait to be sent: a record has room for so many.
  static constexpr std::size_t kMostDepartures = StreamRecord::kDepartures;
  [[nodiscard]] std::size_t departures() const noexcept { return departing_.size(); }
  /// See StreamRecord::OwnerOf.
  [[nodiscard]] static std::size_t owner_of_last_byte(std::span<const std::byte> bytes,
                                                      std::size_t max_message) noexcept;
  /// Sends what is queued: one sendmsg() unless descriptors part it or the socket is full. What cannot be sent for any
  /// other reason is the end of the connection, which is an event of the socket too.
  [[nodiscard]] Io flush() noexcept;

  /// What has been read and not served, what has been queued and not sent, and the socket itself as `name`. Nothing
  /// changes here; let_go() is what makes it somebody else's.
  [[nodiscard]] Result<void> save(ipc::SavedStream& into, state::FdBag& fds, const std::string& name) const;
  /// Of a transport that has received and queued nothing: goes on where that one was. The error is for people.
  [[nodiscard]] tl::expected<void, std::string> load(const ipc::SavedStream& from, const state::FdBag& fds,
                                                     const std::string& name);

 private:
  struct Arrived {
    std::uint64_t position;  // of the owning message's first byte in the stream
    std::vector<UniqueFd> fds;
    bool lost;
  };
  struct Departing {
    std::uint64_t position;
    std::vector<int> fds;
    std::vector<UniqueFd> owned;  // of fds those that nobody else keeps
  };
  void make_room();
  void forget_sent() noexcept;
  void take_fds(const msghdr& message, std::uint64_t got);
  [[nodiscard]] std::size_t add_fds(msghdr& message, std::span<char> control, std::uint64_t position,
                                    std::size_t length) const noexcept;
  [[nodiscard]] ssize_t read_some(iovec& part, msghdr& message, int flags);  // a thread may be cancelled in it
  [[nodiscard]] ssize_t send_some(msghdr& message, int flags) noexcept;
  void note_received(std::size_t bytes, bool has_fds) noexcept;
  [[nodiscard]] static StreamFds numbers_of(std::uint64_t position, std::span<const UniqueFd> fds, bool lost) noexcept;

  ipc::Connection socket_;
  std::size_t max_message_;
  StreamRecord* record_;
  std::vector<std::byte> in_;
  std::size_t in_begin_ = 0, in_end_ = 0;
  std::uint64_t in_base_ = 0;  // stream position of in_[0]
  std::deque<Arrived> arrived_;
  std::vector<std::byte> out_;
  std::size_t out_sent_ = 0;
  std::uint64_t out_base_ = 0;  // stream position of out_[0]
  std::deque<Departing> departing_;
  std::uint64_t committed_ = 0;           // position up to which the record has the output
  std::size_t committed_departures_ = 0;  // how many of departing_ it has
};

/// True when `fd` is an eventfd, or when that cannot be found out.
[[nodiscard]] bool is_eventfd(int fd) noexcept;

}  // namespace vmux::vfio_user

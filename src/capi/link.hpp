// SPDX-License-Identifier: BSD-3-Clause
// The way to the client: a listening socket and one connection, or a pair of pipes.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "capi/async_dma.hpp"
#include "vfio-user/libvfio-user.h"
#include "vfio_user/dma_channel.hpp"
#include "vfio_user/saved_session.hpp"
#include "vfio_user/transport.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/state/fd_bag.hpp"

namespace vmux::capi {

class Record;

inline constexpr std::size_t kMaxTransfer = 1 << 20;                // max_data_xfer_size that is offered
inline constexpr std::size_t kMaxMessage = kMaxTransfer + 16 + 16;  // with both headers of an access
inline constexpr std::size_t kMaxFds = vfio_user::Transport::kMaxFds;

/// A message with its bytes: callbacks may receive others while it is served.
struct Message {
  vfio_user::Header header;
  std::vector<std::byte> payload;
  std::vector<UniqueFd> fds;
  bool lost_fds = false;
  std::uint64_t request = 0;  ///< its number, where there is a record: see vmux_request_id()
};

/// What a handler answers; the descriptors are borrowed.
struct Reply {
  std::vector<std::byte> payload;
  std::vector<int> fds;
};

/// Moves what comes in on standard input to a socket, and what goes out on that to standard output: everything else
/// then has to do with sockets only.
class PipeBridge {
 public:
  /// The other end, for a Transport; none: errno.
  [[nodiscard]] UniqueFd open() noexcept;
  /// Waits for input if told to. False: a signal came instead.
  [[nodiscard]] bool pull(bool may_sleep);
  void push() noexcept;
  void close() noexcept { inner_.reset(); }

 private:
  UniqueFd inner_;
};

/// For the thread that serves the context, except dma_transfer().
class Link {
 public:
  enum class Got : std::uint8_t { message, nothing, broken, gone, interrupted };

  /// 0 or an errno.
  [[nodiscard]] int open(vfu_trans_t transport, const char* path, bool is_nonblocking);
  /// In place of open(): somebody else listens at `path` until adopt_listener().
  void wait_for_listener(const char* path, bool is_nonblocking);
  /// `listener` is closed where there is one already.
  void adopt_listener(UniqueFd listener) noexcept;
  ~Link();

  [[nodiscard]] bool is_pipe() const noexcept { return is_pipe_; }
  [[nodiscard]] bool has_client() const noexcept { return transport_.has_value(); }
  /// Takes the next client: 0, or an errno.
  [[nodiscard]] int accept();
  /// The client is gone: whoever waits in dma_transfer(), on another thread, waits no longer.
  void hang_up() noexcept;
  void drop_client() noexcept;
  [[nodiscard]] int poll_fd() const noexcept;
  [[nodiscard]] int listener() const noexcept { return listener_.get(); }
  [[nodiscard]] int connection() const noexcept { return transport_ ? transport_->fd() : -1; }
  [[nodiscard]] int twin() const noexcept { return twin_ ? twin_->fd() : -1; }

  // link_record.cpp: what is left when the process dies
  /// Before there is a client. `record` outlives this.
  void record_in(Record& record) noexcept { record_ = &record; }
  /// What was served so far is done.
  void commit();
  /// Nothing is under way that a record has no room for: a DMA request on the only socket, and requests that it met.
  [[nodiscard]] bool can_be_left() const noexcept { return dma_.has_value() && !has_question() && backlog_.empty(); }
  [[nodiscard]] bool may_be_qemu() const noexcept { return may_be_qemu_; }
  /// The number of the request that begins at the stream's first byte, or, if nothing is to come of that any more, of
  /// the next one.
  [[nodiscard]] std::uint64_t first_request(bool is_over) const noexcept {
    return is_over && transport_ ? first_request_ + transport_->position() + 1 : first_request_;
  }
  void set_first_request(std::uint64_t number) noexcept { first_request_ = number; }
  /// Descriptors of messages that wait, by number.
  template <class F>
  void for_each_waiting(F&& visit) const {
    if (transport_) transport_->for_each_fd(visit);
  }
  /// What another process has left of its streams; a twin that is none was none. The error is for people. Nothing is
  /// sent before the first read().
  struct LeftStream {
    UniqueFd socket;
    vfio_user::SavedStream bytes;
    state::FdBag fds;  ///< `in/N` and `out/N`
  };
  [[nodiscard]] tl::expected<void, std::string> adopt(LeftStream main, std::optional<LeftStream> twin,
                                                      std::uint64_t max_transfer, bool may_be_qemu,
                                                      std::uint16_t last_dma_id);
  /// The client stays, and is somebody else's.
  void let_go() noexcept;

  /// Whether the thread may be cancelled where it sleeps: as pthread_setcancelstate() has it.
  void set_cancel_state(int state) noexcept { cancel_state_ = state; }

  /// The next message. `broken`: `into` has the header that makes no sense, and nothing can be received any more.
  [[nodiscard]] Got read(Message& into, bool may_receive);
  /// Waits while the socket is full. False: the client is gone.
  [[nodiscard]] bool reply(const vfio_user::Header& to, const Reply& reply, int error);
  /// A message was received and not read: poll() does not tell.
  [[nodiscard]] bool has_buffered() const noexcept;

  /// VERSION was agreed on: `twin`, our end of a second socket for dma_transfer(), if there is one.
  void agreed(UniqueFd twin, std::uint64_t max_transfer, bool may_be_qemu);
  /// Reads or writes guest memory by message, and waits for the answer: 0 or an errno. Any thread if the client has
  /// twin sockets.
  [[nodiscard]] int dma_transfer(bool is_write, std::uint64_t address, std::span<std::byte> data);

  /// Transfers that nobody waits for; not open: the program wants none.
  [[nodiscard]] AsyncDma& async() noexcept { return async_; }
  /// Any thread: answers will not come any more.
  [[nodiscard]] bool is_dead() const noexcept { return is_dead_; }
  /// Sends and receives what can be without waiting, and calls back. Requests that it meets are kept for read(); of a
  /// client that sends more of them than may be kept while none may be served, nothing more is heard.
  void progress(vfu_ctx_t* context, bool may_serve);
  /// Which of all clients this is. Any thread.
  [[nodiscard]] std::uint64_t client_number() const noexcept { return client_number_; }
  /// The client is gone: what has begun ends with ENOTCONN.
  void end_async(vfu_ctx_t* context);

 private:
  [[nodiscard]] Got take_buffered(Message& into);
  [[nodiscard]] vfio_user::Transport::Io receive(vfio_user::Transport& from, bool may_sleep, int cancel_state);
  [[nodiscard]] bool flush(vfio_user::Transport& to) noexcept;
  [[nodiscard]] int transfer_and_wait(bool is_write, std::uint64_t address, std::span<std::byte> data);
  [[nodiscard]] int wait_for_reply(const bool& is_done);
  [[nodiscard]] bool take_crossing(vfio_user::Incoming& message);
  [[nodiscard]] bool take_answer(const vfio_user::Incoming& message);
  [[nodiscard]] bool exchange(bool may_serve);
  [[nodiscard]] bool has_hung_up() const noexcept;
  [[nodiscard]] bool is_backlog_full() const noexcept;
  [[nodiscard]] Got wait_for_either();
  [[nodiscard]] bool has_question() const noexcept;  // on the only socket
  void commit_question();
  [[nodiscard]] bool resume();

  bool is_pipe_ = false, is_nonblocking_ = false;
  int cancel_state_ = PTHREAD_CANCEL_DISABLE;
  std::string path_;
  bool is_path_others_ = false;
  UniqueFd listener_;
  std::optional<vfio_user::Transport> transport_;
  PipeBridge bridge_;
  std::mutex dma_mutex_;
  std::optional<vfio_user::Transport> twin_;
  std::optional<vfio_user::DmaChannel> dma_;
  AsyncDma async_;
  std::deque<Message> backlog_;  // received while waiting for an answer
  std::size_t backlog_bytes_ = 0;
  std::atomic<std::uint64_t> client_number_{0};
  bool is_broken_ = false;           // nothing that comes now can be understood
  std::atomic<bool> is_dead_{true};  // an answer from a client will never come
  Record* record_ = nullptr;
  bool may_be_qemu_ = false;
  bool was_left_out_ = false;        // of the last image
  bool has_old_answers_ = false;     // to what another process has asked
  bool has_to_resume_ = false;       // it may have left something to send
  std::uint64_t first_request_ = 1;  // see first_request()
};

}  // namespace vmux::capi

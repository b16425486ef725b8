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

#include "vfio-user/libvfio-user.h"
#include "vfio_user/dma_channel.hpp"
#include "vfio_user/transport.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::capi {

inline constexpr std::size_t kMaxTransfer = 1 << 20;                // max_data_xfer_size that is offered
inline constexpr std::size_t kMaxMessage = kMaxTransfer + 16 + 16;  // with both headers of an access
inline constexpr std::size_t kMaxFds = vfio_user::Transport::kMaxFds;

/// A message with its bytes: callbacks may receive others while it is served.
struct Message {
  vfio_user::Header header;
  std::vector<std::byte> payload;
  std::vector<UniqueFd> fds;
  bool lost_fds = false;
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
  ~Link();

  [[nodiscard]] bool is_pipe() const noexcept { return is_pipe_; }
  [[nodiscard]] bool has_client() const noexcept { return transport_.has_value(); }
  /// Takes the next client: 0, or an errno.
  [[nodiscard]] int accept();
  /// The client is gone: whoever waits in dma_transfer(), on another thread, waits no longer.
  void hang_up() noexcept;
  void drop_client() noexcept;
  [[nodiscard]] int poll_fd() const noexcept;

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

 private:
  [[nodiscard]] Got take_buffered(Message& into);
  [[nodiscard]] vfio_user::Transport::Io receive(vfio_user::Transport& from, bool may_sleep, int cancel_state);
  [[nodiscard]] bool flush(vfio_user::Transport& to) noexcept;
  [[nodiscard]] int wait_for_reply(const bool& is_done);

  bool is_pipe_ = false, is_nonblocking_ = false;
  int cancel_state_ = PTHREAD_CANCEL_DISABLE;
  std::string path_;
  UniqueFd listener_;
  std::optional<vfio_user::Transport> transport_;
  PipeBridge bridge_;
  std::mutex dma_mutex_;
  std::optional<vfio_user::Transport> twin_;
  std::optional<vfio_user::DmaChannel> dma_;
  std::deque<Message> backlog_;       // received while waiting for an answer
  bool is_broken_ = false;            // nothing that comes now can be understood
  std::atomic<bool> is_dead_{false};  // an answer to dma_transfer() will never come
};

}  // namespace vmux::capi

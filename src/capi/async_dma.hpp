// SPDX-License-Identifier: BSD-3-Clause
// Transfers of guest memory by message that nobody waits for: see vmux_setup_async_dma().
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "vfio-user/vmux-extensions.h"
#include "vfio_user/dma_channel.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::capi {

/// What vmux_sgl_read_async() or vmux_sgl_write_async() was asked for; it ends when all of its pieces have.
struct AsyncOperation {
  vmux_dma_done_cb_t* done;
  void* arg;
  std::size_t pieces_left = 0;
  int error = 0;  // the first one
};

/// A piece of one, for the client.
struct AsyncPiece {
  std::uint64_t client;  // Link::client_number()
  bool is_write;
  std::uint64_t address;
  std::span<std::byte> data;  // the program's, until its operation has ended
  std::shared_ptr<AsyncOperation> of;
};

/// From submit(), on any thread, by a DmaChannel to deliver(), on the thread that serves. What the channel calls back
/// comes from whoever has it at the moment.
class AsyncDma {
 public:
  /// 0 or an errno.
  [[nodiscard]] int open() noexcept;
  [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(epoll_); }
  /// Readable: the thread that serves is to come.
  [[nodiscard]] int fd() const noexcept { return epoll_.get(); }
  /// An operation has begun and was not delivered. Any thread.
  [[nodiscard]] bool is_busy() const noexcept { return busy_.load(std::memory_order_acquire) != 0; }

  /// Something has begun or called: progress() is due. For the thread that serves.
  [[nodiscard]] bool has_work() const noexcept { return is_busy() || is_called_.load(std::memory_order_acquire); }

  /// Any thread.
  void submit(std::vector<AsyncPiece> pieces);
  /// Any thread: makes fd() readable until answer_call().
  void call_server() noexcept;
  void answer_call() noexcept;

  /// Gives the channel what was submitted for this client; for one that is gone it ends. Whoever holds the channel.
  void start(vfio_user::DmaChannel& channel, std::uint64_t client);
  /// What was submitted and not started ends with that.
  void fail_submitted(int error);
  /// Calls back for what has ended: no lock is held, and callbacks may submit.
  void deliver(vfu_ctx_t* context);

  /// fd() becomes readable too as `socket` has input or, if the client is slow, room. -1: nothing of the kind.
  void watch(int socket, bool for_input, bool for_room) noexcept;

 private:
  void ended(const std::shared_ptr<AsyncOperation>& operation, int error);

  UniqueFd epoll_, calls_;
  std::atomic<std::size_t> busy_{0};
  std::atomic<bool> is_called_{false};  // written under the lock
  std::mutex mutex_;                    // of what follows
  std::deque<AsyncPiece> submitted_;
  std::vector<std::shared_ptr<AsyncOperation>> ended_;
  // Of the thread that serves:
  int watched_ = -1;
  std::uint32_t watched_events_ = 0;
};

/// vmux_sgl_read_async(), vmux_sgl_write_async(): 1: done; 0: `done` will be called; -1 with errno.
[[nodiscard]] int begin_transfer(vfu_ctx& context, std::span<const dma_sg> pieces, std::byte* data, bool is_write,
                                 vmux_dma_done_cb_t* done, void* arg);

}  // namespace vmux::capi

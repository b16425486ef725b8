// SPDX-License-Identifier: BSD-3-Clause
// Questions to the client: guest memory that is reached by message.
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "capi/cancel.hpp"
#include "capi/link.hpp"
#include "capi/record.hpp"

namespace vmux::capi {
namespace {

using Io = vfio_user::Transport::Io;
namespace flags = wire::vfio_user::header_flags;

constexpr std::size_t kMaxBacklog = 1024, kMaxBacklogBytes = 16 << 20;

bool is_reply(const vfio_user::Incoming& message) noexcept {
  return (message.header.flags & flags::kTypeMask) == flags::kReply;
}

}  // namespace

int Link::dma_transfer(bool is_write, std::uint64_t address, std::span<std::byte> data) {
  const int error = transfer_and_wait(is_write, address, data);
  std::atomic_thread_fence(std::memory_order_seq_cst);  // the channel is free: with the one in progress()
  if (async_.is_busy()) async_.call_server();           // it may have found the channel taken, or be owed a callback
  return error;
}

int Link::transfer_and_wait(bool is_write, std::uint64_t address, std::span<std::byte> data) {
  const NoCancel guard{true};  // the answer goes to this thread's stack
  const std::scoped_lock lock{dma_mutex_};
  if (!dma_ || is_dead_) return ENOTCONN;
  bool is_done = false;
  int error = 0;
  const auto done = [&](const Result<void>& result) {
    is_done = true;
    if (!result) error = result.error().as_errno();
  };
  if (is_write) {
    dma_->write(Iova{address}, data, done);
  } else {
    dma_->read(Iova{address}, data, done);
  }
  if (wait_for_reply(is_done) == 0) return error;
  is_dead_ = true;  // whoever serves the context finds out, and resets the device: not from in here
  dma_->abort();
  return ENOTCONN;
}

// Without twin sockets, requests that cross ours are kept for later: a client that waits for one of them serves ours
// all the same, or it could not be asked at all.
int Link::wait_for_reply(const bool& is_done) {
  vfio_user::Transport& transport = twin_ ? *twin_ : *transport_;
  while (!is_done) {
    dma_->pump();
    if (record_ != nullptr) commit_question();
    if (!flush(transport)) return ENOTCONN;
    auto next = transport.next();
    if (!next) return EPROTO;
    if (!*next) {
      if (receive(transport, /*may_sleep=*/true, PTHREAD_CANCEL_DISABLE) == Io::closed) return ENOTCONN;
      continue;
    }
    if (!take_crossing(**next)) return EPROTO;
  }
  return 0;
}

// False: it makes no sense there, or the client sends requests without end.
bool Link::take_crossing(vfio_user::Incoming& message) {
  if (take_answer(message)) return true;
  if (is_reply(message) || twin_ || is_backlog_full()) return false;
  const std::uint64_t request =
      record_ != nullptr ? first_request_ + transport_->position() - message.header.size : std::uint64_t{0};
  backlog_.push_back({message.header,
                      {message.payload.begin(), message.payload.end()},
                      std::move(message.fds),
                      message.lost_fds,
                      request});
  backlog_bytes_ += backlog_.back().payload.size();
  if (record_ != nullptr) record_->lend(backlog_.back());
  return true;
}

bool Link::take_answer(const vfio_user::Incoming& message) {
  if (!is_reply(message)) return false;
  if (!dma_->take_reply(message.header, message.payload)) return has_old_answers_;
  has_old_answers_ = false;  // they came before
  return true;
}

// --- without waiting ---

bool Link::has_question() const noexcept { return dma_.has_value() && !twin_ && !dma_->is_idle(); }

bool Link::is_backlog_full() const noexcept {
  return backlog_.size() >= kMaxBacklog || backlog_bytes_ >= kMaxBacklogBytes;
}

bool Link::has_hung_up() const noexcept {
  pollfd one{transport_->fd(), POLLRDHUP, 0};
  return ::poll(&one, 1, 0) > 0;
}

// Another thread's dma_transfer() has the channel as long as it waits: that one takes the answers meanwhile, and calls
// as it has ended.
void Link::progress(vfu_ctx_t* context, bool may_serve) {
  async_.answer_call();
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (const std::unique_lock lock{dma_mutex_, std::try_to_lock}; !lock) {
    async_.watch(-1, false, false);
  } else {
    if (dma_ && !is_dead_) {
      async_.start(*dma_, client_number_);
      // While the device quiesces, nobody else looks whether the client is there.
      if (!exchange(may_serve) || (!may_serve && twin_ && has_hung_up())) is_dead_ = true;
    }
    if (!dma_ || is_dead_) {
      async_.watch(-1, false, false);
      if (dma_) dma_->abort();
      async_.fail_submitted(ENOTCONN);
    }
  }
  async_.deliver(context);
}

// False: the client is gone. Requests that cross ours are kept, as many as there is room for.
bool Link::exchange(bool may_serve) {
  vfio_user::Transport& transport = twin_ ? *twin_ : *transport_;
  bool has_room = true;
  for (bool may_read = true; may_read && !dma_->is_idle();) {
    dma_->pump();
    if (record_ != nullptr) commit_question();
    const Io sent = transport.flush();
    if (is_pipe_) bridge_.push();
    if (sent == Io::closed) return false;
    has_room = sent == Io::progress;
    if (is_backlog_full()) {
      if (!may_serve) return false;
      break;
    }
    auto next = transport.next();
    if (!next) return false;
    if (*next) {
      if (!take_crossing(**next)) return false;
    } else {
      const Io got = receive(transport, /*may_sleep=*/false, PTHREAD_CANCEL_DISABLE);
      if (got == Io::closed) return false;
      may_read = got == Io::progress;
    }
  }
  async_.watch(transport.fd(), /*for_input=*/twin_ && !dma_->is_idle(), /*for_room=*/!has_room);
  return true;
}

void Link::end_async(vfu_ctx_t* context) {
  if (!async_.is_open()) return;
  {
    const std::scoped_lock lock{dma_mutex_};
    async_.watch(-1, false, false);
    if (dma_) dma_->abort();
    async_.fail_submitted(ENOTCONN);
  }
  async_.deliver(context);
}

}  // namespace vmux::capi

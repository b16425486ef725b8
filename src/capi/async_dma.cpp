// SPDX-License-Identifier: BSD-3-Clause
#include "capi/async_dma.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "capi/context.hpp"

namespace vmux::capi {
namespace {

/// As programs know it of this interface.
int error_of(const Result<void>& result) noexcept {
  if (result) return 0;
  return result.error().code == Errc::disconnected ? ENOTCONN : result.error().as_errno();
}

}  // namespace

int AsyncDma::open() noexcept {
  if (epoll_) return 0;
  UniqueFd calls{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)}, epoll{::epoll_create1(EPOLL_CLOEXEC)};
  if (!calls || !epoll) return errno;
  epoll_event event{};
  event.events = EPOLLIN;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, calls.get(), &event) != 0) return errno;
  calls_ = std::move(calls);
  epoll_ = std::move(epoll);
  return 0;
}

void AsyncDma::submit(std::vector<AsyncPiece> pieces) {
  {
    const std::scoped_lock lock{mutex_};
    busy_.fetch_add(1, std::memory_order_release);
    for (AsyncPiece& piece : pieces)
      submitted_.push_back(std::move(piece));
  }
  call_server();
}

void AsyncDma::call_server() noexcept {
  const std::scoped_lock lock{mutex_};
  if (is_called_.exchange(true)) return;
  static_cast<void>(::eventfd_write(calls_.get(), 1));
}

void AsyncDma::answer_call() noexcept {
  const std::scoped_lock lock{mutex_};
  eventfd_t count = 0;
  if (is_called_.exchange(false)) static_cast<void>(::eventfd_read(calls_.get(), &count));
}

void AsyncDma::start(vfio_user::DmaChannel& channel, std::uint64_t client) {
  std::deque<AsyncPiece> pieces;
  {
    const std::scoped_lock lock{mutex_};
    pieces.swap(submitted_);
  }
  for (AsyncPiece& piece : pieces) {
    if (piece.client != client) {
      ended(piece.of, ENOTCONN);
      continue;
    }
    auto done = [this, operation = std::move(piece.of)](const Result<void>& result) {
      ended(operation, error_of(result));
    };
    if (piece.is_write) {
      channel.write(Iova{piece.address}, piece.data, std::move(done));
    } else {
      channel.read(Iova{piece.address}, piece.data, std::move(done));
    }
  }
}

void AsyncDma::fail_submitted(int error) {
  std::deque<AsyncPiece> pieces;
  {
    const std::scoped_lock lock{mutex_};
    pieces.swap(submitted_);
  }
  for (const AsyncPiece& piece : pieces)
    ended(piece.of, error);
}

void AsyncDma::ended(const std::shared_ptr<AsyncOperation>& operation, int error) {
  const std::scoped_lock lock{mutex_};
  if (operation->error == 0) operation->error = error;
  if (--operation->pieces_left == 0) ended_.push_back(operation);
}

void AsyncDma::deliver(vfu_ctx_t* context) {
  std::vector<std::shared_ptr<AsyncOperation>> operations;
  {
    const std::scoped_lock lock{mutex_};
    operations.swap(ended_);
  }
  for (const auto& operation : operations) {
    busy_.fetch_sub(1, std::memory_order_release);
    operation->done(context, operation->arg, operation->error);
  }
}

void AsyncDma::watch(int socket, bool for_input, bool for_room) noexcept {
  epoll_event event{};
  event.events = (for_input ? std::uint32_t{EPOLLIN} : 0u) | (for_room ? std::uint32_t{EPOLLOUT} : 0u);
  if (event.events == 0) socket = -1;
  if (socket == watched_ && event.events == watched_events_) return;
  if (watched_ >= 0 && watched_ != socket) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, watched_, nullptr);
  if (socket >= 0) ::epoll_ctl(epoll_.get(), socket == watched_ ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, socket, &event);
  watched_ = socket;
  watched_events_ = event.events;
}

int begin_transfer(vfu_ctx& context, std::span<const dma_sg> pieces, std::byte* data, bool is_write,
                   vmux_dma_done_cb_t* done, void* arg) {
  const auto failed = [](int error) { return errno = error, -1; };
  if (context.dma == nullptr || !context.link.async().is_open() || done == nullptr) return failed(EINVAL);
  const std::uint64_t client = context.link.client_number();  // before it is looked at what the client has given
  for (const dma_sg& piece : pieces) {
    if (is_write && !piece.writeable) return failed(EPERM);
    if (const int error = context.dma->check(piece); error != 0) return failed(error);
  }
  if (context.link.is_dead()) return failed(ENOTCONN);
  std::vector<AsyncPiece> by_message;
  const auto operation = std::make_shared<AsyncOperation>(AsyncOperation{done, arg, 0, 0});
  for (const dma_sg& piece : pieces) {
    const int error = is_write ? context.dma->write(piece, data) : context.dma->read(piece, data);
    if (error > 0) return failed(error);
    if (error < 0 && piece.length != 0) {
      const auto address = reinterpret_cast<std::uint64_t>(piece.dma_addr) + piece.offset;
      by_message.push_back({client, is_write, address, {data, piece.length}, operation});
    }
    data += piece.length;
  }
  if (by_message.empty()) return 1;
  operation->pieces_left = by_message.size();
  context.link.async().submit(std::move(by_message));
  return 0;
}

}  // namespace vmux::capi

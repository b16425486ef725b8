// SPDX-License-Identifier: BSD-3-Clause
// Clients come and go; messages are received and answered.
#include "capi/link.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "capi/cancel.hpp"

namespace vmux::capi {
namespace {

using Io = vfio_user::Transport::Io;
namespace flags = wire::vfio_user::header_flags;

constexpr std::size_t kOutputLimit = 256 << 10;  // unsent replies beyond which nothing is read

/// Sleeps until `fd` has room, or its peer is gone.
void wait_for_room(int fd) noexcept {
  pollfd one{fd, POLLOUT, 0};
  static_cast<void>(::poll(&one, 1, -1));
}

}  // namespace

int Link::open(vfu_trans_t transport, const char* path, bool is_nonblocking) {
  is_pipe_ = transport == VFU_TRANS_PIPE;
  is_nonblocking_ = is_nonblocking;
  if (is_pipe_) return 0;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path) return ENAMETOOLONG;
  std::memcpy(address.sun_path, path, length);
  UniqueFd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (is_nonblocking ? SOCK_NONBLOCK : 0), 0)};
  if (!fd) return errno;
  // A path that exists is an error, also when nobody listens there: programs know that of this interface.
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return errno;
  path_ = path;
  if (::listen(fd.get(), 0) != 0) return errno;
  listener_ = std::move(fd);
  return 0;
}

Link::~Link() {
  drop_client();
  if (!path_.empty()) ::unlink(path_.c_str());
}

int Link::accept() {
  UniqueFd socket;
  if (is_pipe_) {
    socket = bridge_.open();
  } else {
    const SleepsHere window{cancel_state_};
    socket.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  if (!socket) return errno;
  poll_set_.reset(::epoll_create1(EPOLL_CLOEXEC));
  more_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!poll_set_ || !more_) return errno;
  transport_.emplace(ipc::Connection{std::move(socket)}, kMaxMessage);
  epoll_event event{EPOLLIN, {}};
  static_cast<void>(::epoll_ctl(poll_set_.get(), EPOLL_CTL_ADD, more_.get(), &event));
  static_cast<void>(::epoll_ctl(poll_set_.get(), EPOLL_CTL_ADD, transport_->fd(), &event));
  watched_ = EPOLLIN;
  return 0;
}

void Link::drop_client() noexcept {
  const std::scoped_lock lock{dma_mutex_};
  dma_.reset();
  twin_.reset();
  transport_.reset();
  bridge_.close();
  backlog_.clear();
  poll_set_.reset();
  more_.reset();
  is_dead_ = is_broken_ = has_buffered_ = is_more_set_ = false;
}

int Link::poll_fd() const noexcept {
  if (is_pipe_) return has_client() ? STDIN_FILENO : -1;
  return has_client() ? poll_set_.get() : listener_.get();
}

Link::Got Link::take_buffered(Message& into) {
  if (!backlog_.empty()) {
    into = std::move(backlog_.front());
    backlog_.pop_front();
    return Got::message;
  }
  auto next = transport_->next();
  if (!next) {
    into = {transport_->broken_header(), {}, {}, false};
    is_broken_ = true;
    return Got::broken;
  }
  has_buffered_ = next->has_value();
  if (!*next) return Got::nothing;
  vfio_user::Incoming& message = **next;
  into.header = message.header;
  into.payload.assign(message.payload.begin(), message.payload.end());
  into.fds = std::move(message.fds);
  into.lost_fds = message.lost_fds;
  return Got::message;
}

Link::Got Link::read(Message& into, bool may_receive) {
  for (;;) {
    if (is_dead_ || is_broken_) return Got::gone;
    if (const Got got = take_buffered(into); got != Got::nothing) return got;
    if (!may_receive) return Got::nothing;
    if (transport_->queued() > kOutputLimit) return flush() ? Got::nothing : Got::gone;
    const Io io = receive(*transport_, !is_nonblocking_);
    if (io == Io::closed) return Got::gone;
    if (io == Io::would_block) return errno == EINTR ? Got::interrupted : Got::nothing;
    has_buffered_ = true;
  }
}

// With would_block, errno says whether a signal was the reason.
Io Link::receive(vfio_user::Transport& from, bool may_sleep) {
  errno = 0;
  const SleepsHere window{may_sleep ? cancel_state_ : PTHREAD_CANCEL_DISABLE};
  if (!is_pipe_) return from.receive(may_sleep);
  const Io io = from.receive();
  if (io != Io::would_block) return io;
  if (!bridge_.pull(may_sleep)) return errno = EINTR, Io::would_block;
  return from.receive();
}

bool Link::reply(const vfio_user::Header& to, const Reply& reply, int error) {
  vfio_user::Header header = to;
  const std::span<const std::byte> payload = error == 0 ? std::span{reply.payload} : std::span<const std::byte>{};
  header.size = static_cast<std::uint32_t>(sizeof header + payload.size());
  header.flags = flags::kReply | (error != 0 ? flags::kError : 0);
  header.error = static_cast<std::uint32_t>(error);
  if (error == 0 && !reply.fds.empty()) transport_->attach_fds(reply.fds);
  const auto into = wire::vfio_user::put(transport_->append(header.size), header);
  std::copy(payload.begin(), payload.end(), into.begin());
  return flush();
}

bool Link::flush() noexcept {
  for (;;) {
    const Io io = transport_->flush();
    if (is_pipe_) bridge_.push();
    if (io == Io::closed) return false;
    if (io == Io::progress || is_nonblocking_) break;
    wait_for_room(transport_->fd());
  }
  watch();
  return true;
}

// What poll() has to find out: there is something to read or room to write, or something was read that is not served.
void Link::watch() noexcept {
  const std::uint32_t wanted = EPOLLIN | (transport_->queued() != 0 ? static_cast<std::uint32_t>(EPOLLOUT) : 0u);
  if (wanted != watched_) {
    epoll_event event{wanted, {}};
    static_cast<void>(::epoll_ctl(poll_set_.get(), EPOLL_CTL_MOD, transport_->fd(), &event));
    watched_ = wanted;
  }
  const bool is_more = has_buffered_ || !backlog_.empty() || is_broken_ || is_dead_;
  if (is_more == is_more_set_) return;
  is_more_set_ = is_more;
  if (is_more) {
    signal_eventfd(more_.get());
  } else {
    static_cast<void>(drain_eventfd(more_.get()));
  }
}

void Link::agreed(UniqueFd twin, std::uint64_t max_transfer, bool may_be_qemu) {
  using Layout = vfio_user::DmaChannel::Layout;
  const std::scoped_lock lock{dma_mutex_};
  dma_.emplace(*transport_, [] {});
  if (twin) {
    twin_.emplace(ipc::Connection{std::move(twin)}, kMaxMessage);
    dma_->go_over(*twin_);
  }
  dma_->negotiated(may_be_qemu && !twin_ ? Layout::unknown : Layout::specified,
                   static_cast<std::size_t>(std::min<std::uint64_t>(max_transfer, kMaxTransfer)));
}

int Link::dma_transfer(bool is_write, std::uint64_t address, std::span<std::byte> data) {
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
    for (Io io = Io::would_block; io != Io::progress;) {
      io = transport.flush();
      if (is_pipe_) bridge_.push();
      if (io == Io::closed) return ENOTCONN;
      if (io == Io::would_block) wait_for_room(transport.fd());
    }
    auto next = transport.next();
    if (!next) return EPROTO;
    if (!*next) {
      if (receive(transport, /*may_sleep=*/true) == Io::closed) return ENOTCONN;
      continue;
    }
    vfio_user::Incoming& message = **next;
    const bool is_reply = (message.header.flags & flags::kTypeMask) == flags::kReply;
    if (is_reply && dma_->take_reply(message.header, message.payload)) continue;
    constexpr std::size_t kMaxBacklog = 1024;
    if (is_reply || twin_ || backlog_.size() >= kMaxBacklog) return EPROTO;
    backlog_.push_back(
        {message.header, {message.payload.begin(), message.payload.end()}, std::move(message.fds), message.lost_fds});
  }
  return 0;
}

// --- pipes ---

UniqueFd PipeBridge::open() noexcept {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return {};
  inner_.reset(ends[0]);
  return UniqueFd{ends[1]};
}

bool PipeBridge::pull(bool may_sleep) {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  const int ready = ::poll(&input, 1, may_sleep ? -1 : 0);
  if (ready <= 0) return ready == 0;
  std::byte bytes[32 << 10];
  const ssize_t got = ::read(STDIN_FILENO, bytes, sizeof bytes);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return errno == EAGAIN;
  if (got > 0) {
    static_cast<void>(::send(inner_.get(), bytes, static_cast<std::size_t>(got), MSG_NOSIGNAL));
  } else {
    ::shutdown(inner_.get(), SHUT_WR);
  }
  return true;
}

void PipeBridge::push() noexcept {
  std::byte bytes[32 << 10];
  for (;;) {
    ssize_t left = ::recv(inner_.get(), bytes, sizeof bytes, MSG_DONTWAIT);
    if (left <= 0) return;
    for (const std::byte* at = bytes; left > 0;) {
      const ssize_t put = ::write(STDOUT_FILENO, at, static_cast<std::size_t>(left));
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) return;
      at += put;
      left -= put;
    }
  }
}

}  // namespace vmux::capi

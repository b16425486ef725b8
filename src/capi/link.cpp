// SPDX-License-Identifier: BSD-3-Clause
// Clients come and go; messages are received and answered.
#include "capi/link.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "capi/cancel.hpp"
#include "capi/record.hpp"

namespace vmux::capi {
namespace {

using Io = vfio_user::Transport::Io;
namespace flags = wire::vfio_user::header_flags;

// What is read before the length of a message is known: all of a DMA_MAP, or of an access of up to 16 bytes. Programs
// wait for the socket itself (and look up who its peer is), so what is not served yet has to stay in there, a part of
// it at least. That fails for what is shorter than this together with the request before it: see has_buffered().
constexpr std::size_t kFirstRead = 48;

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
  if (!path_.empty() && !is_path_others_) ::unlink(path_.c_str());
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
  transport_.emplace(ipc::Connection{std::move(socket)}, kMaxMessage,
                     record_ != nullptr ? &record_->stream() : nullptr);
  is_dead_ = false;
  return 0;
}

// `twin_` comes and goes on this thread only.
void Link::hang_up() noexcept {
  is_dead_ = true;
  if (twin_) ::shutdown(twin_->fd(), SHUT_RDWR);
}

void Link::drop_client() noexcept {
  hang_up();
  const std::scoped_lock lock{dma_mutex_};
  first_request_ = first_request(/*is_over=*/true);
  dma_.reset();
  twin_.reset();
  transport_.reset();
  bridge_.close();
  backlog_.clear();
  backlog_bytes_ = 0;
  ++client_number_;
  is_broken_ = has_old_answers_ = has_to_resume_ = false;
  if (record_ != nullptr) record_->settle();
}

int Link::poll_fd() const noexcept {
  if (is_pipe_) return has_client() ? STDIN_FILENO : -1;
  return has_client() ? transport_->fd() : listener_.get();
}

Link::Got Link::take_buffered(Message& into) {
  if (!backlog_.empty()) {
    into = std::move(backlog_.front());
    backlog_.pop_front();
    backlog_bytes_ -= into.payload.size();
    return Got::message;
  }
  auto next = transport_->next();
  while (next && *next && has_question() && take_answer(**next)) {
    async_.call_server();  // for progress()
    next = transport_->next();
  }
  if (!next) {
    into = {transport_->broken_header(), {}, {}, false};
    is_broken_ = true;
    return Got::broken;
  }
  if (!*next) return Got::nothing;
  vfio_user::Incoming& message = **next;
  into.header = message.header;
  into.payload.assign(message.payload.begin(), message.payload.end());
  into.fds = std::move(message.fds);
  into.lost_fds = message.lost_fds;
  if (record_ == nullptr) return Got::message;
  into.request = first_request_ + transport_->position() - message.header.size;
  record_->lend(into);
  return Got::message;
}

Link::Got Link::read(Message& into, bool may_receive) {
  if (has_to_resume_ && !resume()) return Got::gone;
  for (;;) {
    if (is_dead_ || is_broken_) return Got::gone;
    if (const Got got = take_buffered(into); got != Got::nothing) return got;
    if (!may_receive) return Got::nothing;
    if (async_.is_open() && !is_nonblocking_) {
      if (const Got got = wait_for_either(); got != Got::message) return got;
    }
    const Io io = receive(*transport_, !is_nonblocking_, cancel_state_);
    if (io == Io::closed) return Got::gone;
    if (io == Io::would_block) return errno == EINTR ? Got::interrupted : Got::nothing;
  }
}

// `message`: the client has sent something; `nothing`: progress() has something to do.
Link::Got Link::wait_for_either() {
  pollfd ends[] = {{transport_->fd(), POLLIN, 0}, {async_.fd(), POLLIN, 0}, {is_pipe_ ? STDIN_FILENO : -1, POLLIN, 0}};
  const SleepsHere window{record_ == nullptr ? cancel_state_ : PTHREAD_CANCEL_DISABLE};
  if (::poll(ends, std::size(ends), -1) < 0) return Got::interrupted;
  return ends[1].revents != 0 ? Got::nothing : Got::message;
}

// With would_block, errno says whether a signal was the reason.
Io Link::receive(vfio_user::Transport& from, bool may_sleep, int cancel_state) {
  errno = 0;
  const SleepsHere window{may_sleep && record_ == nullptr ? cancel_state : PTHREAD_CANCEL_DISABLE};
  if (!is_pipe_) {
    const Io io = from.receive(may_sleep, from.missing() != 0 ? from.missing() : kFirstRead);
    const int error = errno;
    // The second socket brings none, and may be another thread's.
    if (record_ != nullptr && io == Io::progress && &from == &*transport_)
      from.for_each_fd([this](int fd) { record_->keep(fd); });
    errno = error;
    return io;
  }
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
  if (record_ == nullptr) return flush(*transport_);
  for (const int fd : error == 0 ? reply.fds : std::vector<int>{})
    record_->keep(fd);
  commit();
  const bool is_sent = flush(*transport_);
  record_->settle();
  return is_sent;
}

bool Link::flush(vfio_user::Transport& to) noexcept {
  for (;;) {
    const Io io = to.flush();
    if (is_pipe_) bridge_.push();
    if (io != Io::would_block) return io == Io::progress;
    wait_for_room(to.fd());
  }
}

bool Link::has_buffered() const noexcept {
  const bool is_whole = transport_ && transport_->buffered() >= sizeof(vfio_user::Header) && transport_->missing() == 0;
  return is_whole || !backlog_.empty();
}

void Link::agreed(UniqueFd twin, std::uint64_t max_transfer, bool may_be_qemu) {
  using Layout = vfio_user::DmaChannel::Layout;
  const std::scoped_lock lock{dma_mutex_};
  dma_.emplace(*transport_, [] {});
  may_be_qemu_ = may_be_qemu;
  if (twin) {
    twin_.emplace(ipc::Connection{std::move(twin)}, kMaxMessage, record_ != nullptr ? &record_->twin() : nullptr);
    dma_->go_over(*twin_);
  }
  dma_->negotiated(may_be_qemu && !twin_ ? Layout::unknown : Layout::specified,
                   static_cast<std::size_t>(std::min<std::uint64_t>(max_transfer, kMaxTransfer)));
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

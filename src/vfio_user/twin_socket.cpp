// SPDX-License-Identifier: BSD-3-Clause
#include "vfio_user/twin_socket.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace vmux::vfio_user {
namespace {

constexpr std::size_t kOverhead = sizeof(Header) + sizeof(wire::vfio_user::DmaAccess);

}  // namespace

TwinSocket::TwinSocket(ipc::Connection ours, UniqueFd theirs, std::size_t max_message)
    : transport_(std::make_unique<Transport>(std::move(ours), max_message)), peer_(std::move(theirs)) {}

Result<TwinSocket> TwinSocket::create(runtime::Poller& poller, std::size_t max_transfer, std::function<void()> ready) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return fail(Errc::system, "cannot make a pair of sockets", errno);
  }
  TwinSocket twin{ipc::Connection{UniqueFd{ends[0]}}, UniqueFd{ends[1]}, kOverhead + max_transfer};
  twin.watched_ = EPOLLIN;
  if (auto watched = twin.begin_watch(poller, std::move(ready)); !watched) return tl::unexpected(watched.error());
  return twin;
}

TwinSocket TwinSocket::adopt(UniqueFd ours, std::size_t max_transfer) {
  return TwinSocket{ipc::Connection{std::move(ours)}, UniqueFd{}, kOverhead + max_transfer};
}

Result<void> TwinSocket::watch(runtime::Poller& poller, std::function<void()> ready) {
  watched_ = EPOLLIN | EPOLLOUT;
  return begin_watch(poller, std::move(ready));
}

Result<void> TwinSocket::begin_watch(runtime::Poller& poller, std::function<void()> ready) {
  auto watch = poller.watch(transport_->fd(), watched_, [ready = std::move(ready)](std::uint32_t) { ready(); });
  if (!watch) return tl::unexpected(watch.error());
  watch_ = std::move(*watch);
  return {};
}

bool TwinSocket::settle() {
  if (transport_->queued() != 0 && transport_->flush() == Transport::Io::closed) return true;  // an event will tell
  const std::uint32_t wanted = EPOLLIN | (transport_->queued() != 0 ? static_cast<std::uint32_t>(EPOLLOUT) : 0u);
  if (wanted == watched_) return true;
  watched_ = wanted;
  return watch_.modify(wanted).has_value();
}

}  // namespace vmux::vfio_user

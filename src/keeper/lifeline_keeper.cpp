// SPDX-License-Identifier: BSD-3-Clause
// A daemon whose keeper has died lets the next one in.
#include <sys/socket.h>
#include <unistd.h>

#include "base/logf.hpp"
#include "ipc/packet.hpp"
#include "keeper/lifeline.hpp"

namespace vmux::keeper {

Result<void> Lifeline::listen_for_keeper(const std::string& path) {
  auto listener = ipc::Listener::open(path, {0600, {}, {}});
  if (!listener) return tl::unexpected(listener.error());
  listener_.emplace(std::move(*listener));
  return {};
}

Result<void> Lifeline::accept_keeper() {
  auto connection = listener_->accept();
  if (!connection) return tl::unexpected(connection.error());
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(connection->get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != ::geteuid()) {
    return fail(Errc::permission, "whoever wants to be the keeper is of another user");
  }
  return {};
}

}  // namespace vmux::keeper

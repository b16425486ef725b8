// SPDX-License-Identifier: BSD-3-Clause
// A daemon whose keeper has gone lets the next one in.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "ipc/packet.hpp"
#include "keeper/lifeline.hpp"
#include "keeper/meeting.hpp"

namespace vmux::keeper {
namespace {

bool is_of_our_user(int socket) noexcept {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == ::geteuid();
}

Result<sockaddr_un> address_of(const std::string& path) noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return fail(Errc::invalid_argument, "no path for a socket");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

}  // namespace

std::string meeting_place(const std::string& rpc_path) { return rpc_path + ".keeper"; }

Result<UniqueFd> meet_daemon(const std::string& path) {
  const auto address = address_of(path);
  if (!address) return tl::unexpected(address.error());
  UniqueFd socket{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
  if (!socket) return fail_errno("make a socket");
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    return fail_errno("no daemon waits for a keeper");
  }
  if (!is_of_our_user(socket.get())) return fail(Errc::permission, "a daemon of another user waits there");
  return socket;
}

// Its mode is there before its name is.
Result<void> Lifeline::listen_for_keeper(const std::string& path) {
  const auto address = address_of(path);
  if (!address) return tl::unexpected(address.error());
  UniqueFd socket{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  ::unlink(path.c_str());
  if (!socket || ::fchmod(socket.get(), 0600) != 0 ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0 ||
      ::listen(socket.get(), 1) != 0) {
    return fail_errno("cannot wait for the next keeper");
  }
  listener_ = std::move(socket);
  meeting_place_ = path;
  return {};
}

Result<void> Lifeline::accept_keeper() {
  UniqueFd socket{::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
  if (!socket) return fail_errno("the next keeper did not come");
  if (!is_of_our_user(socket.get())) return fail(Errc::permission, "whoever wants to be the keeper is of another user");
  auto twin = ipc::packet_pair();
  if (!twin) return tl::unexpected(twin.error());
  const UniqueFd executable{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)};
  if (!executable) return fail_errno("open what this process runs");
  // In the common table: from here on the twin hears the new keeper.
  if (::dup3(twin->theirs.get(), twin_socket_, O_CLOEXEC) < 0) return fail_errno("give the twin another socket");
  const std::vector<int> fds{segment_.fd(), slots_.fd(), twin->ours.get(), executable.get()};
  if (auto said = send_message(socket.get(), Say::adopt, epoch_, version_, fds); !said) return said;
  socket_ = std::move(socket);
  listener_.reset();
  ::unlink(meeting_place_.c_str());
  return {};
}

}  // namespace vmux::keeper

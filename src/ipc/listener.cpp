// SPDX-License-Identifier: BSD-3-Clause
#include "ipc/listener.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

namespace vmux::ipc {
namespace {

constexpr int kBacklog = 256;  // dozens of VMs may start at once
constexpr unsigned kLockTries = 50, kBetweenLockTries_us = 1000;

Result<sockaddr_un> address_of(const std::string& path) noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail(Errc::invalid_argument, "a socket path has 1 to 107 characters");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Result<UniqueFd> make_socket(int extra_flags) noexcept {
  UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | extra_flags, 0)};
  if (!socket) return fail_errno("cannot create a socket");
  return socket;
}

// Held while a name is examined and taken, so that two starting processes do not both find it free. The directory is
// locked because it leaves no file behind; where that is not possible, the two have to be lucky. Others may lock it for
// reasons of their own, and anyone may lock /tmp: so we wait for as long as a start takes, and not for ever.
UniqueFd lock_directory_of(const std::string& path) noexcept {
  const auto slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  UniqueFd lock{::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  for (unsigned tries = 0; lock && tries < kLockTries && ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0; ++tries)
    ::usleep(kBetweenLockTries_us);
  return lock;
}

Result<void> remove_stale(const std::string& path, const sockaddr_un& address) noexcept {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return fail_errno("cannot look at the socket path");
  }
  if (!S_ISSOCK(status.st_mode)) return fail(Errc::already_exists, "the socket path exists and is not a socket");
  auto probe = make_socket(SOCK_NONBLOCK);
  if (!probe) return tl::unexpected(probe.error());
  const int connected = ::connect(probe->get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  // Nothing but a refusal proves that nobody listens: a full backlog (EAGAIN) is a live one, too.
  if (connected == 0 || errno != ECONNREFUSED) {
    return fail(Errc::busy, "another process serves the socket path", connected == 0 ? 0 : errno);
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("cannot remove a stale socket");
  return {};
}

/// The file that bind() made. Its name is used once: where others may write the directory, it can become one of a file
/// that they want to be given.
Result<UniqueFd> open_socket_file(const std::string& path, struct stat& status) noexcept {
  UniqueFd file{::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)};
  if (!file || ::fstat(file.get(), &status) != 0) return fail_errno("cannot look at the socket path");
  const bool is_ours = S_ISSOCK(status.st_mode) && status.st_nlink == 1 && status.st_uid == ::geteuid();
  if (!is_ours) return fail(Errc::busy, "another process took the socket path");
  return file;
}

Result<void> set_access(const UniqueFd& file, const struct stat& status, const Access& access) noexcept {
  if ((status.st_mode & 07777u) != access.mode) {
    char name[32];  // chmod(2) takes a descriptor of this kind by its name only
    std::snprintf(name, sizeof name, "/proc/self/fd/%d", file.get());
    if (::chmod(name, access.mode) != 0) return fail_errno("cannot set the permissions of the socket");
  }
  if (!access.owner && !access.group) return {};
  constexpr auto kAsItIs = static_cast<uid_t>(-1);
  if (::fchownat(file.get(), "", access.owner.value_or(kAsItIs), access.group.value_or(kAsItIs), AT_EMPTY_PATH) == 0) {
    return {};
  }
  return fail_errno("cannot give the socket to its owner and group");
}

}  // namespace

Result<Listener> Listener::open(const std::string& path, const Access& access) {
  const auto address = address_of(path);
  if (!address) return tl::unexpected(address.error());
  auto socket = make_socket(SOCK_NONBLOCK);
  if (!socket) return tl::unexpected(socket.error());
  const UniqueFd lock = lock_directory_of(path);
  if (auto removed = remove_stale(path, *address); !removed) return tl::unexpected(removed.error());
  // The bits that bind() gives the file, less the umask's: it is its owner's alone from the first moment on.
  if (::fchmod(socket->get(), 0600) != 0) return fail_errno("cannot set the permissions of a socket");
  if (::bind(socket->get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    return fail_errno("cannot bind the socket path");
  }
  struct stat status {};
  const auto file = open_socket_file(path, status);
  if (!file) return tl::unexpected(file.error());
  Listener listener{std::move(*socket), path, status.st_dev, status.st_ino};
  // Before listen(): until then nobody can connect.
  if (auto set = set_access(*file, status, access); !set) return tl::unexpected(set.error());
  if (::listen(listener.fd(), kBacklog) != 0) return fail_errno("cannot listen on the socket");
  return listener;
}

Result<Listener> Listener::adopt(UniqueFd socket, const std::string& path) {
  int listens = 0;
  socklen_t size = sizeof listens;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) {
    return fail(Errc::invalid_argument, "a descriptor is not a listening socket");
  }
  struct stat status {};  // of none when somebody has removed it: then there is nothing to remove
  if (::lstat(path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) status = {};
  return Listener{std::move(socket), path, status.st_dev, status.st_ino};
}

Listener::~Listener() {
  if (!socket_) return;
  struct stat status {};
  const bool is_ours = ::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_;
  if (is_ours) ::unlink(path_.c_str());
  // The kernel resets the connections that a listening socket takes along. After this one refuses new ones, those that
  // are there are accepted, and hung up on in the polite way.
  ::shutdown(socket_.get(), SHUT_RDWR);
  while (accept()) {
  }
}

Result<Connection> Listener::accept() noexcept {
  UniqueFd connection{::accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
  if (!connection) return fail_errno("cannot accept a connection");
  return Connection{std::move(connection)};
}

Result<Connection> connect_to(const std::string& path, Wait wait) noexcept {
  const auto address = address_of(path);
  if (!address) return tl::unexpected(address.error());
  auto socket = make_socket(wait == Wait::no ? SOCK_NONBLOCK : 0);
  if (!socket) return tl::unexpected(socket.error());
  if (::connect(socket->get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    return fail_errno("cannot connect to the socket");
  }
  return Connection{std::move(*socket)};
}

}  // namespace vmux::ipc

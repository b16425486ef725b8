// SPDX-License-Identifier: BSD-3-Clause
// A listening UNIX socket at a path: replaces what a dead process left, refuses to push a live one aside.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "ipc/connection.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::ipc {

/// Who may connect: what chmod(2) and chown(2) make of the socket's file. Write permission is what counts.
struct Access {
  unsigned mode = 0600;
  std::optional<uid_t> owner;  ///< as it is when not given: this process's user
  std::optional<gid_t> group;  ///< the same
};

/// Owns the socket and its file; the file goes with it, unless another has taken its place. Whoever waits in the
/// backlog then reads the end of the stream.
class Listener {
 public:
  /// Errors: already_exists when something that is no socket has the name, busy when somebody listens there. Nobody
  /// connects before `access` is in force, whatever the umask is.
  [[nodiscard]] static Result<Listener> open(const std::string& path, const Access& access);
  /// One that another object had: its file is this one's from now on.
  [[nodiscard]] static Result<Listener> adopt(UniqueFd socket, const std::string& path);
  Listener(Listener&&) noexcept = default;
  Listener& operator=(Listener&&) noexcept = delete;
  ~Listener();

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  /// Closes this descriptor only: somebody else has the socket, its file, and who waits in the backlog.
  void let_go() noexcept { socket_.reset(); }
  /// The next connection; Errc::system with EAGAIN when none waits.
  [[nodiscard]] Result<Connection> accept() noexcept;

 private:
  Listener(UniqueFd socket, std::string path, dev_t device, ino_t inode)
      : socket_(std::move(socket)), path_(std::move(path)), device_(device), inode_(inode) {}

  UniqueFd socket_;
  std::string path_;
  dev_t device_;
  ino_t inode_;
};

/// Whether to wait for room where a listener has more connections than it takes; no: Errc::system with EAGAIN.
enum class Wait : bool { no, yes };
/// Connects to the socket at `path`.
[[nodiscard]] Result<Connection> connect_to(const std::string& path, Wait wait = Wait::yes) noexcept;

}  // namespace vmux::ipc

// SPDX-License-Identifier: BSD-3-Clause
// Messages there and back over an AF_UNIX socket: the floor that no server over such a socket can go below.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <span>

#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::bench {

enum class Wait { blocking, spinning };

/// One request and what comes back: the same call for both sides of a comparison.
struct Exchange {
  std::span<const std::byte> request;
  int fd = -1;                 ///< sent with the request when >= 0
  std::size_t reply_size = 0;  ///< bytes
};

/// Sends the request and reads the whole reply. Errors: system, disconnected.
[[nodiscard]] Result<void> exchange(int socket, const Exchange& what, Wait wait, std::span<std::byte> reply);

/// A child process that ends with this object.
class Child {
 public:
  /// Runs `body` in a forked process pinned to the last allowed CPU, and pins the caller to the first.
  [[nodiscard]] static Result<Child> spawn(const std::function<void()>& body);
  Child() = default;
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Child& operator=(Child&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }
  ~Child();

  /// Stops the process, and returns once it does not run any more; lets it run again.
  void pause() const noexcept;
  void resume() const noexcept;

 private:
  pid_t pid_ = -1;
};

/// Answers the requests of `script` in turn, over and over, until the peer is gone; descriptors that come along are
/// closed.
void serve_ping_pong(int socket, std::span<const Exchange> script, Wait wait);

/// A connected pair of stream sockets.
[[nodiscard]] Result<std::pair<UniqueFd, UniqueFd>> socket_pair();

}  // namespace vmux::bench

// SPDX-License-Identifier: BSD-3-Clause
// File descriptors with one owner.
#pragma once

#include <cstdint>
#include <utility>

#include "vmux/base/result.hpp"

namespace vmux {

/// Owns a file descriptor and closes it. Move-only; -1 means none.
class UniqueFd {
 public:
  UniqueFd() noexcept = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  void reset(int fd = -1) noexcept;

  /// A duplicate with close-on-exec set.
  [[nodiscard]] Result<UniqueFd> duplicate() const noexcept;

 private:
  int fd_ = -1;
};

/// A non-blocking, close-on-exec eventfd with counter 0.
[[nodiscard]] Result<UniqueFd> make_eventfd() noexcept;
/// Adds 1 to an eventfd; a full counter or a descriptor of another kind is ignored.
void signal_eventfd(int fd) noexcept;
/// Takes the counter of an eventfd (0 when nothing was signalled).
std::uint64_t drain_eventfd(int fd) noexcept;
/// The same for eventfds that a peer gave us, or has from us: O_NONBLOCK is a property of what is shared, and the peer
/// can take it away, and fill the counter, at any time. These do not block all the same (where the kernel has
/// asynchronous I/O, and is Linux 5.7 or newer).
void signal_peer_eventfd(int fd) noexcept;
std::uint64_t drain_peer_eventfd(int fd) noexcept;
/// A sealed-against-shrinking memfd of `size` bytes, zero filled, close-on-exec. `name` appears in /proc/PID/maps.
[[nodiscard]] Result<UniqueFd> make_memfd(const char* name, std::uint64_t size) noexcept;

}  // namespace vmux

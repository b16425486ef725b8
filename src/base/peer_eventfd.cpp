// SPDX-License-Identifier: BSD-3-Clause
// Eventfds of a peer, who shares their open file with us: it can make them block at any time, and fill them.
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstdint>

#include "vmux/base/unique_fd.hpp"

namespace vmux {
namespace {

#if defined(__SANITIZE_THREAD__)
constexpr bool kSeesSystemCalls = false;  // ThreadSanitizer knows of write() that it orders threads, not of this
#elif defined(__has_feature)
constexpr bool kSeesSystemCalls = !__has_feature(thread_sanitizer);
#else
constexpr bool kSeesSystemCalls = true;
#endif

/// Asynchronous I/O as the kernel has had it since 2.6.22: whatever completes signals an eventfd, from inside the
/// kernel, where that never blocks. A read of nothing completes before io_submit() returns.
class Completions {
 public:
  static const Completions& instance() noexcept {
    static const Completions made;  // until the process ends, as its file descriptors
    return made;
  }

  /// False when it cannot be done this way.
  [[nodiscard]] bool signal(int eventfd) const noexcept {
    if (source_ < 0) return false;
    iocb request{};
    request.aio_lio_opcode = IOCB_CMD_PREAD;
    request.aio_fildes = static_cast<std::uint32_t>(source_);
    request.aio_flags = IOCB_FLAG_RESFD;
    request.aio_resfd = static_cast<std::uint32_t>(eventfd);
    iocb* requests[] = {&request};
    for (unsigned tries = 0; tries < kTries; ++tries) {
      if (::syscall(SYS_io_submit, context_, 1, requests) == 1) return true;
      if (errno != EAGAIN) return false;
      // Nobody wants to know what became of the reads, but the kernel keeps it until its ring is full.
      std::array<io_event, kEvents> done;
      timespec at_once{};
      ::syscall(SYS_io_getevents, context_, 0, kEvents, done.data(), &at_once);
    }
    return false;
  }

 private:
  static constexpr long kEvents = 128;
  static constexpr unsigned kTries = 8;  // other threads may fill the ring again

  Completions() noexcept {
    if (!kSeesSystemCalls || ::syscall(SYS_io_setup, kEvents, &context_) != 0) return;
    source_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  }

  aio_context_t context_ = 0;
  int source_ = -1;
};

}  // namespace

void signal_peer_eventfd(int fd) noexcept {
  if (!Completions::instance().signal(fd)) signal_eventfd(fd);
}

std::uint64_t drain_peer_eventfd(int fd) noexcept {
  std::uint64_t count = 0;
  const iovec into{&count, sizeof count};
  const ssize_t got = ::preadv2(fd, &into, 1, -1, RWF_NOWAIT);
  if (got < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) return drain_eventfd(fd);  // before Linux 5.7
  return got == sizeof count ? count : 0;
}

}  // namespace vmux

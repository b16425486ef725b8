// SPDX-License-Identifier: BSD-3-Clause
#include "keeper/twin.hpp"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "ipc/packet.hpp"
#include "keeper/name.hpp"

namespace vmux::keeper {
namespace {

constexpr std::int32_t kGo = -1;         // in place of numbers
constexpr int kOrphanPatience_ms = 100;  // between two looks at who is left

/// What is asked, and answered: a word by which the answer is known, then the numbers, and which of them are open. A
/// process that dies between the two leaves an answer in the socket, which is not that of the next one.
using Numbers = std::array<std::int32_t, 1 + ipc::kMaxPacketFds>;

// The twin is a copy of a process of which one thread is left: nothing is allocated there, no lock is taken. It never
// closes a descriptor: that would be the other's as well.
void answer(int socket, std::span<const std::int32_t> asked) noexcept {
  Numbers open{};
  std::array<int, ipc::kMaxPacketFds> fds{};
  std::size_t count = 0;
  open[0] = asked.front();
  for (const std::int32_t number : asked.subspan(1)) {
    if (number < 0 || ::fcntl(number, F_GETFD) < 0) continue;
    fds[count++] = number;
    open[count] = number;
  }
  const auto bytes = std::as_bytes(std::span{open}).first((1 + count) * sizeof(std::int32_t));
  static_cast<void>(ipc::send_packet(socket, bytes, std::span{fds}.first(count)));
}

[[noreturn]] void be_the_twin(int socket, pid_t original) noexcept {
  show_name("vmux-twin", "twin");
  for (const int signal : {SIGINT, SIGTERM, SIGHUP})
    ::signal(signal, SIG_IGN);  // meant for the group; this one goes when it is told to
  Numbers numbers{};
  for (;;) {
    const ssize_t got = ::recv(socket, numbers.data(), sizeof numbers, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      // The keeper is gone. Another one may put itself into the socket's place, as long as the original is there to
      // let it in.
      if (::getppid() != original) ::_exit(0);
      ::poll(nullptr, 0, kOrphanPatience_ms);
      continue;
    }
    const auto count = static_cast<std::size_t>(got) / sizeof(std::int32_t);
    if (count == 1 && numbers[0] == kGo) ::_exit(0);
    if (count != 0) answer(socket, std::span{numbers}.first(count));
  }
}

}  // namespace

Result<pid_t> start_twin(int socket) noexcept {
  const pid_t original = ::getpid();
  // Raw: the C library's fork() has no such flag. What it keeps about threads is stale in the child, which uses none of
  // it.
  const auto made = static_cast<pid_t>(::syscall(SYS_clone, CLONE_FILES | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  if (made < 0) return fail_errno("cannot start the process that shares the descriptors");
  if (made == 0) be_the_twin(socket, original);
  return made;
}

Result<std::map<int, UniqueFd>> fetch_from_twin(int socket, const std::vector<int>& numbers) {
  std::map<int, UniqueFd> found;
  for (std::size_t at = 0; at < numbers.size(); at += ipc::kMaxPacketFds) {
    const std::size_t count = std::min(ipc::kMaxPacketFds, numbers.size() - at);
    Numbers asked{};
    asked[0] = static_cast<std::int32_t>(::getpid());
    std::copy_n(numbers.begin() + static_cast<std::ptrdiff_t>(at), count, asked.begin() + 1);
    const auto question = std::as_bytes(std::span{asked}).first((1 + count) * sizeof(std::int32_t));
    if (auto sent = ipc::send_packet(socket, question); !sent) return tl::unexpected(sent.error());
    Numbers open{};
    do {
      auto packet = ipc::receive_packet(socket, std::as_writable_bytes(std::span{open}), /*may_wait=*/true);
      if (!packet) return tl::unexpected(packet.error());
      if (packet->size == 0) return fail(Errc::disconnected, "the process that shares the descriptors is gone");
      for (std::size_t i = 0; i < packet->fds.size() && open[0] == asked[0]; ++i)
        found.insert_or_assign(open.at(1 + i), std::move(packet->fds[i]));
    } while (open[0] != asked[0]);
  }
  return found;
}

void dismiss_twin(int socket) noexcept {
  const std::int32_t go = kGo;
  static_cast<void>(ipc::send_packet(socket, std::as_bytes(std::span{&go, 1})));
}

}  // namespace vmux::keeper

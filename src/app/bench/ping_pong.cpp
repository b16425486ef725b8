// SPDX-License-Identifier: BSD-3-Clause
#include "app/bench/ping_pong.hpp"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>

namespace vmux::bench {
namespace {

bool send_all(int socket, std::span<const std::byte> bytes, int fd) {
  std::array<char, CMSG_SPACE(sizeof(int))> control{};
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  return ::sendmsg(socket, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

/// Reads exactly into.size() bytes; closes a descriptor that came along. False when the peer is gone.
bool receive_all(int socket, std::span<std::byte> into, Wait wait) {
  while (!into.empty()) {
    std::array<char, CMSG_SPACE(sizeof(int))> control{};
    iovec part{into.data(), into.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | (wait == Wait::spinning ? MSG_DONTWAIT : 0));
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) return false;
    if (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr && header->cmsg_type == SCM_RIGHTS) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
      ::close(fd);
    }
    into = into.subspan(static_cast<std::size_t>(got));
  }
  return true;
}

void pin_to(int cpu) {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(cpu, &only);
  ::sched_setaffinity(0, sizeof only, &only);
}

std::pair<int, int> first_and_last_cpu() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  ::sched_getaffinity(0, sizeof allowed, &allowed);
  int first = -1, last = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    if (first < 0) first = cpu;
    last = cpu;
  }
  return {first, last};
}

}  // namespace

Result<void> exchange(int socket, const Exchange& what, Wait wait, std::span<std::byte> reply) {
  if (!send_all(socket, what.request, what.fd)) return fail_errno("cannot send a request");
  if (!receive_all(socket, reply.first(what.reply_size), wait)) return fail(Errc::disconnected, "the server went away");
  return {};
}

void serve_ping_pong(int socket, std::span<const Exchange> script, Wait wait) {
  std::array<std::byte, 256> bytes{};
  for (;;) {
    for (const Exchange& step : script) {
      if (!receive_all(socket, std::span{bytes}.first(step.request.size()), wait)) return;
      if (!send_all(socket, std::span{bytes}.first(step.reply_size), -1)) return;
    }
  }
}

Result<std::pair<UniqueFd, UniqueFd>> socket_pair() {
  std::array<int, 2> fds{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) != 0) {
    return fail_errno("cannot create a pair of sockets");
  }
  return std::pair{UniqueFd{fds[0]}, UniqueFd{fds[1]}};
}

Result<Child> Child::spawn(const std::function<void()>& body) {
  // Read once: later calls would only see the CPU that this process has been pinned to.
  static const auto cpus = first_and_last_cpu();
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno("cannot fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin_to(cpus.second);
    body();
    ::_exit(0);
  }
  pin_to(cpus.first);
  Child child;
  child.pid_ = pid;
  return child;
}

void Child::pause() const noexcept {
  ::kill(pid_, SIGSTOP);
  ::waitpid(pid_, nullptr, WUNTRACED);
}

void Child::resume() const noexcept { ::kill(pid_, SIGCONT); }

Child::~Child() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

}  // namespace vmux::bench

// SPDX-License-Identifier: BSD-3-Clause
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

#include "host/machine/machine.hpp"

namespace vmux::host {
namespace {

/// Words as execve(2) takes them.
std::vector<char*> pointers_to(const std::vector<std::string>& words) {
  std::vector<char*> all;
  for (const std::string& word : words)
    all.push_back(const_cast<char*>(word.c_str()));
  all.push_back(nullptr);
  return all;
}

/// Ours, but in the language and with the numbers that we can read.
std::vector<std::string> plain_environment() {
  std::vector<std::string> all{"LC_ALL=C"};
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (std::strncmp(*variable, "LC_ALL=", 7) != 0 && std::strncmp(*variable, "LANGUAGE=", 9) != 0)
      all.emplace_back(*variable);
  }
  return all;
}

/// Starts a program whose output goes to `out`; -1 if that failed.
pid_t start(const std::vector<std::string>& arguments, int out) {
  const std::vector<std::string> variables = plain_environment();
  const std::vector<char*> argv = pointers_to(arguments), environment = pointers_to(variables);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out, 1);
  ::posix_spawn_file_actions_adddup2(&actions, out, 2);
  pid_t child = -1;
  const int error = ::posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environment.data());
  ::posix_spawn_file_actions_destroy(&actions);
  return error == 0 ? child : -1;
}

/// Reads until end of file or the deadline; false at the deadline.
bool collect(int fd, std::chrono::steady_clock::time_point deadline, std::string& out) {
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd watched{fd, POLLIN, 0};
    if (left.count() <= 0 || ::poll(&watched, 1, static_cast<int>(left.count())) == 0) return false;
    char piece[4096];
    const ssize_t got = ::read(fd, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    out.append(piece, static_cast<std::size_t>(got));
  }
}

}  // namespace

Ran Machine::run(const std::vector<std::string>& arguments, unsigned seconds) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {};
  const UniqueFd reader{ends[0]};
  UniqueFd writer{ends[1]};
  const pid_t child = start(arguments, writer.get());
  writer.reset();
  if (child < 0) return {127, ""};
  Ran ran;
  if (!collect(reader.get(), std::chrono::steady_clock::now() + std::chrono::seconds{seconds}, ran.out))
    ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ran;
}

}  // namespace vmux::host

// SPDX-License-Identifier: BSD-3-Clause
// A process that dies at every place where it can have left something behind: it is run one instruction at a time, and
// looked at whenever one has changed memory that others have too.
#pragma once

#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

namespace vmux::rigs {

using Watched = std::span<std::byte>;

/// What is in some memory, to be put back later.
class Kept {
 public:
  explicit Kept(const std::vector<Watched>& memory) : memory_(memory) {
    for (const Watched each : memory)
      copies_.emplace_back(each.begin(), each.end());
  }
  [[nodiscard]] bool has_changed() const {
    for (std::size_t i = 0; i < memory_.size(); ++i) {
      if (std::memcmp(memory_[i].data(), copies_[i].data(), copies_[i].size()) != 0) return true;
    }
    return false;
  }
  void take_again() {
    for (std::size_t i = 0; i < memory_.size(); ++i)
      std::memcpy(copies_[i].data(), memory_[i].data(), copies_[i].size());
  }
  void put_back() const {
    for (std::size_t i = 0; i < memory_.size(); ++i)
      std::memcpy(memory_[i].data(), copies_[i].data(), copies_[i].size());
  }

 private:
  std::vector<Watched> memory_;
  std::vector<std::vector<std::byte>> copies_;
};

/// What `work` returns in a child process: 0 to 255.
template <class Work>
int in_a_child(Work work) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(work());
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// Runs `work` in a child process; `died()` is called each time one of its instructions has changed `watched`, which it
/// shares with us, and a last time at its end. Returns how many instructions that were; 0: it cannot be traced here, or
/// has not ended by itself.
template <class Work, class Died>
std::size_t step_through(const std::vector<Watched>& watched, Work work, Died died) {
  const pid_t child = ::fork();
  if (child < 0) return 0;
  if (child == 0) {
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(1);
    ::raise(SIGSTOP);
    work();
    ::_exit(0);
  }
  Kept kept{watched};
  std::size_t steps = 0;
  for (int status = 0; ::waitpid(child, &status, 0) == child;) {
    if (WIFEXITED(status)) {
      died();
      return WEXITSTATUS(status) == 0 ? steps : 0;
    }
    if (!WIFSTOPPED(status)) return 0;
    if (kept.has_changed()) {
      died();
      kept.take_again();
    }
    const int signal = WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == SIGSTOP ? 0 : WSTOPSIG(status);
    if (::ptrace(PTRACE_SINGLESTEP, child, nullptr, static_cast<long>(signal)) != 0) return 0;
    ++steps;
  }
  return 0;
}

}  // namespace vmux::rigs

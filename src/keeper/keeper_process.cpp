// SPDX-License-Identifier: BSD-3-Clause
// The processes of a keeper: how they are started, seen, and buried.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/logf.hpp"
#include "base/text/format.hpp"
#include "ipc/packet.hpp"
#include "keeper/keeper_impl.hpp"
#include "keeper/lifeline.hpp"
#include "keeper/meeting.hpp"
#include "keeper/twin.hpp"

namespace vmux::keeper {
namespace {

constexpr unsigned kTries = 100;    // to find a daemon that is there
constexpr int kPause_ms = 20;       // between two
constexpr int kAnswer_ms = 10'000;  // what a daemon that lives may be busy for at most

std::string describe(int status) {
  if (WIFSIGNALED(status)) {
    return fmt::format("signal {} ({})", WTERMSIG(status), ::sigabbrev_np(WTERMSIG(status)));
  }
  return fmt::format("exit code {}", WEXITSTATUS(status));
}

/// As /proc has it: 'T' is stopped (SIGSTOP), 't' is in the hands of a debugger. 0: nobody knows.
char state_of(pid_t pid) noexcept {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
  const UniqueFd file{::open(path, O_RDONLY | O_CLOEXEC)};
  char text[256];
  const ssize_t length = file ? ::read(file.get(), text, sizeof text - 1) : -1;
  if (length <= 0) return 0;
  text[length] = '\0';
  const char* const name_end = std::strrchr(text, ')');  // the name itself may have any character
  return name_end != nullptr && name_end[1] == ' ' ? name_end[2] : '\0';
}

/// Whether the process that listens behind `socket` says something. It may have died while it waited, and its twin
/// holds what it listened with: then nobody ever will.
bool is_answered(int socket) noexcept {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  const UniqueFd process{static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0))};
  if (!process) return false;
  pollfd what[]{{socket, POLLIN, 0}, {process.get(), POLLIN, 0}};
  while (::poll(what, 2, kAnswer_ms) < 0) {
    if (errno != EINTR) return false;
  }
  return (what[0].revents & POLLIN) != 0;
}

}  // namespace

DeathWatch::DeathWatch(const Segment& segment) : event_(std::make_shared<UniqueFd>()) {
  if (auto event = make_eventfd()) *event_ = std::move(*event);
  auto copy = Segment::adopt(UniqueFd{::fcntl(segment.fd(), F_DUPFD_CLOEXEC, 0)});
  if (!copy) return;
  thread_ = std::thread{[event = event_, memory = std::make_shared<Segment>(std::move(*copy))] {
    memory->wait_for_death();
    signal_eventfd(event->get());
  }};
}

DeathWatch::~DeathWatch() {
  if (thread_.joinable()) thread_.detach();
}

std::string Child::hung_thread(std::uint64_t now, std::uint64_t limit_ns) {
  const char state = state_of(pid);
  if (state == 't') {  // whoever debugs it has all the time
    seen_.assign(seen_.size(), {});
    return "";
  }
  if (state != 'T') {
    stopped_since_ns_ = 0;
  } else if (stopped_since_ns_ == 0) {
    stopped_since_ns_ = now;
  } else if (now - stopped_since_ns_ > limit_ns) {
    return "every thread";
  }
  for (std::size_t i = 0; i < Segment::kThreads; ++i) {
    const ThreadSigns& signs = segment.thread(i);
    Seen& seen = seen_[i];
    const std::uint64_t rounds = signs.life.rounds.load(std::memory_order_relaxed);
    const bool gets_on = signs.is_used.load() == 0 || signs.may_block.load() != 0 || signs.life.is_asleep.load() != 0;
    if (gets_on || rounds != seen.rounds || seen.since_ns == 0) {
      seen = {rounds, now};
    } else if (now - seen.since_ns > limit_ns) {
      return fmt::format("thread {}", std::string_view{signs.name, ::strnlen(signs.name, sizeof signs.name)});
    }
  }
  return "";
}

std::unique_ptr<Child> Keeper::spawn(const std::shared_ptr<UniqueFd>& executable, const char* name) {
  auto segment = Segment::create();
  auto channel = ipc::packet_pair();
  auto twin = ipc::packet_pair();
  if (!segment || !channel || !twin) {
    logf(LogLevel::error, "keeper: a daemon cannot be started: no descriptors, or no memory, are left");
    return nullptr;
  }
  std::vector<char*> arguments{const_cast<char*>(name)};
  for (const std::string& each : options_.arguments)
    arguments.push_back(const_cast<char*>(each.c_str()));
  arguments.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) {
    logf(LogLevel::error, "keeper: a daemon cannot be started: {}", std::strerror(errno));
    return nullptr;
  }
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    ::fcntl(channel->theirs.get(), F_SETFD, 0);
    ::setenv(kSocketVariable, std::to_string(channel->theirs.get()).c_str(), 1);
    ::unsetenv("NOTIFY_SOCKET");  // the service manager hears the keeper
    ::fexecve(executable->get(), arguments.data(), environ);
    ::_exit(127);
  }
  auto child = std::make_unique<Child>(pid, ++last_epoch_, std::move(*segment));
  child->pidfd = UniqueFd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
  child->channel = std::move(channel->ours);
  child->twin = std::move(twin->ours);
  const std::vector<int> fds{child->segment.fd(), slots_->fd(), twin->theirs.get()};
  static_cast<void>(send_message(child->channel.get(), Say::begin, child->epoch, {}, fds));
  return child;
}

std::unique_ptr<Child> Keeper::find_waiting(bool is_sure) {
  if (options_.socket.empty()) return nullptr;
  auto socket = meet_daemon(options_.socket);
  for (unsigned tries = 0; !socket && is_sure && tries < kTries; ++tries) {
    ::poll(nullptr, 0, kPause_ms);
    socket = meet_daemon(options_.socket);
  }
  if (!socket || !is_answered(socket->get())) return nullptr;
  auto adopt = receive_message(socket->get(), /*may_wait=*/true);
  ucred peer{};
  socklen_t size = sizeof peer;
  if (!adopt || adopt->say != Say::adopt || adopt->fds.size() != 4 ||
      ::getsockopt(socket->get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return nullptr;
  }
  auto segment = Segment::adopt(std::move(adopt->fds[0]));
  auto slots = state::ControlSlots::adopt(std::move(adopt->fds[1]));
  if (!segment || !slots) return nullptr;
  slots_.emplace(std::move(*slots));
  executable_ = std::make_shared<UniqueFd>(std::move(adopt->fds[3]));
  auto child = std::make_unique<Child>(peer.pid, adopt->value, std::move(*segment));
  last_epoch_ = adopt->value;
  child->pidfd = UniqueFd{static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0))};
  child->channel = std::move(*socket);
  child->twin = std::move(adopt->fds[2]);
  child->watch = std::make_unique<DeathWatch>(child->segment);
  child->version = adopt->text;
  child->is_ready = true;
  child->is_ours = false;
  return child;
}

void Keeper::replace_self() {
  end(standby_);
  std::vector<std::string> words{"keeper", "--keeper"};
  if (options_.has_standby) words.emplace_back("--standby");
  words.insert(words.end(), options_.arguments.begin(), options_.arguments.end());
  std::vector<char*> arguments;
  for (std::string& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  ::setenv(kBeforeVariable, fmt::format("{} {}", takeovers_, last_.gap_ns).c_str(), 1);
  logf(LogLevel::info, "keeper: the keeper itself goes on with the new program");
  ::fexecve(executable_->get(), arguments.data(), environ);
  ::unsetenv(kBeforeVariable);
  logf(LogLevel::error, "keeper: the keeper stays with the old program: {}", std::strerror(errno));
}

void Keeper::end(std::unique_ptr<Child>& slot) {
  if (!slot) return;
  ::kill(slot->pid, SIGKILL);
  dismiss_twin(slot->twin.get());
  dead_.push_back(slot->pid);
  slot.reset();
}

int Keeper::exit_code_of(const Child& child) noexcept {
  if (!child.is_ours) return 0;  // its parent is another, if anybody
  int status = 0;
  while (::waitpid(child.pid, &status, 0) < 0) {
    if (errno != EINTR) return 1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void Keeper::bury() {
  std::erase_if(dead_, [this](pid_t pid) {
    int status = 0;
    const pid_t buried = ::waitpid(pid, &status, WNOHANG);
    if (buried != pid) return buried < 0;  // of one that was not ours nobody tells
    if (WIFSIGNALED(status)) logf(LogLevel::warning, "keeper: process {} ended by {}", pid, describe(status));
    if (last_.cause == "it died") last_.cause = describe(status);
    if (cause_ == "it died") cause_ = describe(status);
    return true;
  });
  // Twins of daemons that are gone came to us.
  siginfo_t info{};
  while (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) {
    const auto is_ours = [&info](const std::unique_ptr<Child>& child) { return child && child->pid == info.si_pid; };
    if (is_ours(active_) || is_ours(standby_) || is_ours(candidate_) || std::ranges::count(dead_, info.si_pid) != 0)
      return;
    ::waitpid(info.si_pid, nullptr, WNOHANG);
    info = {};
  }
}

/// No string in it needs escaping.
std::string Keeper::status() const {
  std::string text =
      fmt::format(R"({{"keeper":{},"active":{},"epoch":{},"standby":{},"takeovers":{})", ::getpid(),
                  active_ ? active_->pid : 0, active_ ? active_->epoch : 0, standby_ ? standby_->pid : 0, takeovers_);
  if (takeovers_ != 0) {
    text +=
        fmt::format(R"(,"last":{{"cause":"{}","gap_us":{},"pid":{}}})", last_.cause, last_.gap_ns / 1000, last_.pid);
  }
  const auto version_of = [](const std::unique_ptr<Child>& child) { return child ? child->version : std::string{}; };
  text += fmt::format(R"(,"twin":{},"versions":{{"keeper":"{}","active":"{}","standby":"{}"}})",
                      active_ ? active_->twin_pid : 0, options_.version, version_of(active_), version_of(standby_));
  if (!upgrade_.outcome.empty()) text += fmt::format(R"(,"upgrade":"{}")", upgrade_.outcome);
  return text + "}";
}

}  // namespace vmux::keeper

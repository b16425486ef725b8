// SPDX-License-Identifier: BSD-3-Clause
#include "keeper/keeper.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/logf.hpp"
#include "base/text/format.hpp"
#include "keeper/keeper_impl.hpp"
#include "keeper/name.hpp"
#include "keeper/twin.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::keeper {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kLook_ns = kSecond / 4;         // how often it is looked whether threads get on
constexpr unsigned kMostDeaths = 5;                     // within
constexpr std::uint64_t kManyDeaths_ns = 10 * kSecond;  // this time: nothing helps
constexpr std::uint64_t kFreeze_ns = kSecond;           // in which a daemon comes to a quiet point

}  // namespace

int run_keeper(KeeperOptions options) {
  Keeper keeper{std::move(options)};
  return keeper.run();
}

Keeper::Keeper(KeeperOptions options) : options_(std::move(options)) {}

int Keeper::run() {
  show_name("vmux-keeper", "keeper");
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // twins of daemons that have died are ours
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD})
    sigaddset(&set, signal);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  signals_ = UniqueFd{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
  executable_ = std::make_shared<UniqueFd>(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  auto slots = state::ControlSlots::create(kLongestObjects);
  if (!*executable_ || !signals_ || !slots) {
    logf(LogLevel::error, "keeper: it cannot begin: no descriptors, or no memory, are left");
    return 1;
  }
  slots_.emplace(std::move(*slots));
  if (!begin()) return 1;
  while (!exit_code_)
    wait_once();
  for (auto* child : {&standby_, &candidate_})
    end(*child);
  forget_stored();
  return *exit_code_;
}

bool Keeper::begin() {
  const bool lives = take_stored();
  active_ = find_waiting(lives || !options_.before.empty());
  if (active_) {
    stored_.reset();
    logf(LogLevel::warning, "keeper: process {}, which had lost its keeper, is kept again", active_->pid);
    has_been_ready_ = true;
    remember_before();
    if (options_.notify) options_.notify("READY=1");
    store_active();
    start_standby();
    return true;
  }
  if (begin_with_stored()) return active_ != nullptr;
  active_ = spawn(executable_, "vmux");
  if (active_) send_go(*active_);
  return active_ != nullptr;
}

/// An upgrade that was done is not yet told to whoever asked for it.
void Keeper::remember_before() {
  unsigned long long gap_ns = 0;
  if (std::sscanf(options_.before.c_str(), "%u %llu", &takeovers_, &gap_ns) != 2) return;
  last_ = {"upgrade", gap_ns, active_->epoch, active_->pid};
  upgrade_.outcome = "done";
}

void Keeper::wait_once() {
  std::vector<pollfd> what{{signals_.get(), POLLIN, 0}};
  std::vector<Child*> children;
  for (auto* slot : {&active_, &standby_, &candidate_}) {
    if (!*slot) continue;
    Child& child = **slot;
    children.push_back(&child);
    what.push_back({child.channel.get(), POLLIN, 0});
    what.push_back({child.pidfd.get(), POLLIN, 0});
    what.push_back({child.watch ? child.watch->fd() : -1, POLLIN, 0});
  }
  ::poll(what.data(), what.size(), static_cast<int>(kLook_ns / 1'000'000));
  if (what[0].revents != 0) take_signals();
  for (std::size_t i = 0; i < children.size() && !exit_code_; ++i) {
    const auto is_set = [&](std::size_t n) { return what[1 + 3 * i + n].revents != 0; };
    if (is_set(0)) take_messages(*children[i]);
    if (is_set(1) || is_set(2)) children[i]->is_dead = true;
  }
  for (auto* slot : {&standby_, &candidate_, &active_}) {
    if (*slot && (*slot)->is_dead && !exit_code_) died(*slot);
  }
  if (!exit_code_) look_after();
  if (!exit_code_ && std::exchange(must_replace_self_, false)) replace_self();
}

void Keeper::take_signals() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGCHLD) {
      bury();
      continue;
    }
    if (active_) ::kill(active_->pid, static_cast<int>(info.ssi_signo));
    if (info.ssi_signo != SIGHUP) is_stopping_ = true;
  }
}

void Keeper::take_messages(Child& child) {
  for (;;) {
    auto message = receive_message(child.channel.get(), /*may_wait=*/false);
    if (!message) return;  // none, or the end: its death will tell
    take(child, std::move(*message));
  }
}

void Keeper::take(Child& child, Message message) {
  switch (message.say) {
    case Say::begun:
      child.watch = std::make_unique<DeathWatch>(child.segment);
      child.version = message.text;
      child.twin_pid = message.value;
      return;
    case Say::ready:
      return became_ready(child);
    case Say::stopping:
      child.is_stopping = true;
      return;
    case Say::able:
      return candidate_answered(child, message);
    case Say::upgrade:
      return begin_upgrade(child, std::move(message));
    case Say::take_over:
      logf(LogLevel::warning, "keeper: a drill: process {} is killed", child.pid);
      cause_ = "drill";
      ::kill(child.pid, SIGKILL);
      return;
    case Say::ask_status:
      static_cast<void>(send_message(child.channel.get(), Say::status, 0, status()));
      return;
    default:
      return;
  }
}

void Keeper::became_ready(Child& child) {
  child.is_ready = true;
  for (auto& [epoch, twin] : before_)
    dismiss_twin(twin.get());
  before_.clear();
  if (died_ns_ != 0) {
    last_ = {cause_, monotonic_ns() - died_ns_, child.epoch, child.pid};
    ++takeovers_;
    logf(LogLevel::warning, "keeper: process {} has taken over after {} us ({})", child.pid, last_.gap_ns / 1000,
         last_.cause);
    died_ns_ = 0;
  }
  if (upgrade_.stage == Upgrade::Stage::going_over) {
    upgrade_.stage = Upgrade::Stage::none;
    upgrade_.outcome = "done";
    if (std::exchange(old_executable_, nullptr) != executable_) must_replace_self_ = true;
  }
  cause_.clear();
  if (!std::exchange(has_been_ready_, true) && options_.notify) options_.notify("READY=1");
  store_active();
  if (is_stopping_) ::kill(child.pid, SIGTERM);  // it was told to one that made room for this one
  start_standby();
}

void Keeper::start_standby() {
  if (options_.has_standby && !standby_) standby_ = spawn(executable_, "vmux-standby");
}

void Keeper::died(std::unique_ptr<Child>& slot) {
  Child& child = *slot;
  if (&slot != &active_) {
    dismiss_twin(child.twin.get());
    dead_.push_back(child.pid);
    if (&slot == &candidate_ && upgrade_.stage == Upgrade::Stage::checking)
      refuse_upgrade("the new program ended before it could answer");
    slot.reset();
    return;
  }
  const bool is_planned = upgrade_.stage == Upgrade::Stage::freezing;
  if ((child.is_stopping || is_stopping_ || is_giving_up_) && !is_planned) {
    exit_code_ = is_giving_up_ ? 1 : exit_code_of(child);
    dismiss_twin(child.twin.get());
    return;
  }
  if (!has_been_ready_) {  // its configuration is wrong, say, and it has said so
    exit_code_ = std::max(exit_code_of(child), 1);
    dismiss_twin(child.twin.get());
    return;
  }
  if (died_ns_ == 0) died_ns_ = monotonic_ns();
  before_.emplace_back(child.epoch, std::move(child.twin));
  if (is_planned) {
    cause_ = "upgrade";
    marks_.clear();
    dead_.push_back(child.pid);
    upgrade_.stage = Upgrade::Stage::going_over;
    old_executable_ = std::exchange(executable_, upgrade_.executable);
    active_ = std::move(candidate_);
    return send_go(*active_);
  }
  note_death(child);
  if (exit_code_) return;
  if (std::exchange(upgrade_.stage, Upgrade::Stage::none) == Upgrade::Stage::going_over) {
    logf(LogLevel::error, "keeper: the new program did not get ready; the old one goes on");
    upgrade_.outcome = "rolled back: the new program did not get ready";
    executable_ = std::exchange(old_executable_, nullptr);
  }
  end(candidate_);
  active_ = standby_ ? std::move(standby_) : spawn(executable_, "vmux");
  if (!active_) {
    exit_code_ = 1;
    return;
  }
  send_go(*active_);
}

/// Its successor does not wait for what the kernel has to tell of its end: that comes when its memory is gone.
void Keeper::note_death(const Child& child) {
  if (cause_.empty()) cause_ = "it died";
  // One that died while it took over may not have come to what the one before it died of.
  if (auto marks = child.segment.marks(); !marks.empty() || child.is_ready) marks_ = std::move(marks);
  logf(LogLevel::error, "keeper: process {} is dead; the next one takes over", child.pid);
  dead_.push_back(child.pid);
  const std::uint64_t now = monotonic_ns();
  deaths_.push_back(now);
  std::erase_if(deaths_, [now](std::uint64_t then) { return now - then > kManyDeaths_ns; });
  if (std::exchange(is_giving_up_, deaths_.size() >= kMostDeaths)) exit_code_ = 1;
  if (!is_giving_up_) return;
  logf(LogLevel::error, "keeper: {} deaths in {} s: nothing helps, and all sessions are ended", deaths_.size(),
       kManyDeaths_ns / kSecond);
}

/// Threads that neither sleep nor get on, or a process that was stopped: as bad as a dead one.
void Keeper::look_after() {
  const std::uint64_t now = monotonic_ns();
  if (upgrade_.stage == Upgrade::Stage::checking && now > upgrade_.due_ns) {
    refuse_upgrade("the new program did not answer in time");
    end(candidate_);
  }
  if (upgrade_.stage == Upgrade::Stage::freezing && now > upgrade_.due_ns && active_) ::kill(active_->pid, SIGKILL);
  if (!active_) return;
  if (!active_->is_ready) {
    const bool is_late = has_been_ready_ && now - active_->go_ns > options_.start_ns;
    if (is_late && !active_->is_dead) {
      cause_ = "it did not get ready";
      ::kill(active_->pid, SIGKILL);
    }
    return;
  }
  if (active_->is_stopping || now - looked_ns_ < kLook_ns) return;
  looked_ns_ = now;
  if (const std::string hung = active_->hung_thread(now, options_.hang_ns); !hung.empty()) {
    logf(LogLevel::error, "keeper: {} of process {} does not get on; it is killed", hung, active_->pid);
    cause_ = hung + " hung";
    ::kill(active_->pid, SIGKILL);
  }
}

void Keeper::send_go(Child& child) {
  std::string epochs;
  std::vector<int> twins;
  for (const auto& [epoch, twin] : before_) {
    epochs += fmt::format("{} ", epoch);
    twins.push_back(twin.get());
  }
  epochs += ';';
  for (const std::uint32_t mark : marks_)
    epochs += fmt::format(" {}", mark);
  child.go_ns = monotonic_ns();
  const auto count = static_cast<std::uint32_t>(before_.size());
  static_cast<void>(send_message(child.channel.get(), is_giving_up_ ? Say::farewell : Say::go, count, epochs, twins));
}

// --- upgrade ---

void Keeper::begin_upgrade(Child& child, Message message) {
  if (upgrade_.stage != Upgrade::Stage::none || &child != active_.get()) {
    static_cast<void>(send_message(child.channel.get(), Say::refused, 0, "another upgrade is under way"));
    return;
  }
  end(standby_);
  upgrade_ = {};
  upgrade_.executable = message.fds.empty() ? executable_ : std::make_shared<UniqueFd>(std::move(message.fds.front()));
  upgrade_.is_rehearsal = message.value == 1;
  upgrade_.name = message.text;
  candidate_ = spawn(upgrade_.executable, "vmux-standby");
  if (!candidate_) return refuse_upgrade("the new program cannot be started");
  upgrade_.stage = Upgrade::Stage::checking;
  upgrade_.due_ns = monotonic_ns() + options_.start_ns;
  const std::vector<int> twins{active_->twin.get()};
  static_cast<void>(send_message(candidate_->channel.get(), Say::check, 1, fmt::format("{}", active_->epoch), twins));
}

void Keeper::candidate_answered(Child& child, const Message& message) {
  if (&child != candidate_.get() || upgrade_.stage != Upgrade::Stage::checking) return;
  if (message.value == 0) {
    refuse_upgrade(message.text);
    return end(candidate_);
  }
  if (upgrade_.is_rehearsal) {
    static_cast<void>(send_message(active_->channel.get(), Say::refused, 1, message.text));
    upgrade_.stage = Upgrade::Stage::none;
    end(candidate_);
    return start_standby();
  }
  logf(LogLevel::info, "keeper: upgrade to {} ({}): {}", upgrade_.name.empty() ? "the same program" : upgrade_.name,
       child.version, message.text);
  upgrade_.stage = Upgrade::Stage::freezing;
  upgrade_.due_ns = monotonic_ns() + kFreeze_ns;
  static_cast<void>(send_message(active_->channel.get(), Say::freeze));
}

void Keeper::refuse_upgrade(const std::string& why) {
  upgrade_.stage = Upgrade::Stage::none;
  upgrade_.outcome = "refused: " + why;
  logf(LogLevel::error, "keeper: the upgrade is refused: {}", why);
  if (!active_) return;
  static_cast<void>(send_message(active_->channel.get(), Say::refused, 0, why));
  start_standby();
}

}  // namespace vmux::keeper

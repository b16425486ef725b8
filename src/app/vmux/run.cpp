// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux/run.hpp"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "app/vmux/flags.hpp"
#include "app/vmux/limits.hpp"
#include "app/vmux/notify.hpp"
#include "base/descriptor_limit.hpp"
#include "base/logf.hpp"
#include "base/text/format.hpp"
#include "base/text/printable.hpp"
#include "control/live/daemon.hpp"
#include "control/live/rehearsal.hpp"
#include "control/log/log_writer.hpp"
#include "control/model/hardware.hpp"
#include "control/rpc/rpc_client.hpp"
#include "control/version.hpp"
#include "keeper/keeper.hpp"
#include "keeper/lifeline.hpp"
#include "keeper/meeting.hpp"
#include "vmux/base/clock.hpp"

namespace {

using vmux::LogLevel;

const vmux::control::Catalogue* catalogue = nullptr;  // of this program

using Task = vmux::keeper::Lifeline::Task;

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

/// The file and the flags on top of it, as at the start.
vmux::control::Outcome<vmux::control::Configuration> read_again(const std::vector<std::string>& arguments) {
  auto flags = vmux::app::parse_flags(arguments, *catalogue);
  if (!flags) return vmux::control::refuse(vmux::control::ProblemKind::invalid, "", flags.error().why);
  return std::move(flags->configuration);
}

/// What SIGHUP means to daemons. A terminal that goes sends it as well, and a file that is as before changes nothing.
void reload(vmux::control::Daemon& daemon) {
  vmux::app::notify_manager(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", vmux::monotonic_ns() / 1000).c_str());
  auto wanted = daemon.read_file();
  if (!wanted && wanted.error().kind != vmux::control::ProblemKind::invalid) {
    vmux::logf(LogLevel::info, "SIGHUP is ignored: {}", vmux::control::text_of(wanted.error()));
  } else if (!wanted) {
    vmux::logf(LogLevel::error, "reload: {}; nothing was changed", vmux::control::text_of(wanted.error()));
  } else if (auto done = daemon.reload(std::move(*wanted)); !done) {
    vmux::logf(LogLevel::error, "reload: {}; nothing was changed", vmux::control::text_of(done.error()));
  }
  vmux::app::notify_manager("READY=1");
}

/// The first signal to stop ends the run; a second one, while everything is taken down, kills as signals do by default.
vmux::Result<vmux::runtime::Watch> watch_signals(const vmux::UniqueFd& signals, vmux::runtime::Poller& control,
                                                 std::function<void()> hang_up) {
  return control.watch(signals.get(), EPOLLIN, [&signals, &control, hang_up = std::move(hang_up)](std::uint32_t) {
    signalfd_siginfo info{};
    if (::read(signals.get(), &info, sizeof info) != sizeof info) return;
    if (info.ssi_signo == SIGHUP) return hang_up();
    vmux::logf(LogLevel::info, "stopping: signal {}", info.ssi_signo);
    const sigset_t set = stop_signals();
    ::sigprocmask(SIG_UNBLOCK, &set, nullptr);
    control.stop();
  });
}

/// Some ports more than an operator's shell allows by default are no reason to refuse the next VM.
void allow_many_descriptors() {
  const auto limit = vmux::raise_descriptor_limit();
  if (!limit) return vmux::logf(LogLevel::warning, "cannot {}", limit.error().text());
  vmux::logf(limit->now < 1024 ? LogLevel::warning : LogLevel::debug,
             "this process may have {} file descriptors ({} before): room for some {} ports", limit->now, limit->was,
             limit->now / vmux::kDescriptorsPerPort);
}

/// What would be carried over from a daemon that lives; or why not.
tl::expected<std::string, std::string> rehearse(const vmux::keeper::Lifeline& lifeline) {
  return vmux::control::rehearse_take_over(*catalogue, lifeline);
}

/// What a keeper has started this process for, if one has. Before there is a second thread.
vmux::Result<Task> wait_for_keeper(std::unique_ptr<vmux::keeper::Lifeline>& lifeline) {
  auto made = vmux::keeper::Lifeline::from_environment(vmux::control::build());
  if (!made) return tl::unexpected<vmux::Error>(made.error());
  lifeline = std::move(*made);
  return lifeline == nullptr ? Task::serve : lifeline->wait_for_task(rehearse);
}

int run_keeper(const vmux::app::Flags& flags, const std::vector<std::string>& arguments) {
  vmux::keeper::KeeperOptions options;
  options.has_standby = flags.has_standby;
  const std::string rpc = flags.configuration.daemon.rpc.value_or(vmux::control::default_rpc_path());
  if (rpc != "none") options.socket = vmux::keeper::meeting_place(rpc);
  if (const char* const before = ::getenv(vmux::keeper::kBeforeVariable)) options.before = before;
  ::unsetenv(vmux::keeper::kBeforeVariable);
  options.version = vmux::control::build();
  options.notify = [](const char* state) { vmux::app::notify_manager(state); };
  options.store = [](const char* name, int fd) { vmux::app::store_at_manager(name, fd); };
  options.stored = vmux::app::stored_at_manager();
  vmux::app::warn_of_limits();
  for (const std::string& each : arguments) {
    if (each != "--keeper" && each != "--standby") options.arguments.push_back(each);
  }
  return vmux::keeper::run_keeper(std::move(options));
}

int run(vmux::app::Flags flags, const std::vector<std::string>& arguments) {
  const auto format = vmux::control::parse_log_format(flags.configuration.daemon.log_format.value_or("auto"));
  vmux::control::start_log(format.value_or(vmux::control::LogFormat::text), flags.configuration.daemon.log_level);
  allow_many_descriptors();
  if (flags.is_keeper) return run_keeper(flags, arguments);
  std::unique_ptr<vmux::keeper::Lifeline> lifeline;
  const auto task = wait_for_keeper(lifeline);
  if (!task) {
    fmt::print(stderr, "vmux: cannot follow the keeper: {}\n", task.error().text());
    return 1;
  }
  if (*task == Task::farewell) vmux::control::end_all_sessions(*catalogue, *lifeline);
  if (*task != Task::serve) return 0;
  // Blocked before any thread starts, so that all threads inherit it and the signals arrive at the descriptor.
  sigset_t set = stop_signals();
  sigaddset(&set, SIGHUP);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGHUP, SIG_DFL);  // nohup(1) has it ignored, and what is ignored does not arrive
  ::signal(SIGPIPE, SIG_IGN);
  const vmux::UniqueFd signals{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
  const std::string file = flags.file;
  vmux::control::Hardware hardware;
  auto daemon = vmux::control::Daemon::create(*catalogue, hardware, std::move(flags.configuration), lifeline.get());
  if (!daemon) {
    fmt::print(stderr, "vmux: {}\n", vmux::printable(vmux::control::text_of(daemon.error())));
    return 1;
  }
  (*daemon)->set_file(file, [&arguments] { return read_again(arguments); });
  auto watch = watch_signals(signals, (*daemon)->control(), [&daemon] { reload(**daemon); });
  if (!watch) {
    fmt::print(stderr, "vmux: cannot watch for signals: {}\n", watch.error().text());
    return 1;
  }
  const std::string& rpc = (*daemon)->rpc_path();
  vmux::logf(LogLevel::info, "vmux {} is ready, RPC at {}", vmux::control::version(), rpc.empty() ? "none" : rpc);
  if (lifeline == nullptr) {
    vmux::logf(LogLevel::info, "nobody takes over if this process dies: `vmux --keeper` starts it with one that does");
  }
  vmux::app::notify_manager("READY=1");
  (*daemon)->run();
  if (lifeline != nullptr) lifeline->stopping();
  vmux::app::notify_manager("STOPPING=1");
  return 0;
}

}  // namespace

int vmux::app::run_vmux(const std::vector<std::string>& arguments, const control::Catalogue& models) {
  catalogue = &models;
  auto flags = parse_flags(arguments, models, screen_of_stdout());
  if (!flags) return leave("vmux", flags.error());
  if (flags->only_check) return leave("vmux", {0, "the configuration is good\n", ""});
  return run(std::move(*flags), arguments);
}

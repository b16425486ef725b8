// SPDX-License-Identifier: BSD-3-Clause
#include "control/live/daemon.hpp"

#include <sys/epoll.h>

#include <filesystem>
#include <fstream>

#include "base/logf.hpp"
#include "base/text/format.hpp"
#include "control/rpc/keeper_methods.hpp"
#include "control/rpc/methods.hpp"
#include "control/rpc/methods_config.hpp"
#include "control/rpc/rpc_client.hpp"
#include "keeper/meeting.hpp"

namespace vmux::control {
namespace {

std::string machine_id() {
  std::ifstream file{"/etc/machine-id"};
  std::string id;
  std::getline(file, id);
  return id;
}

/// The directory of a path that the user did not choose is ours to make; any other must be there.
Outcome<> make_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path{path}.parent_path(), error);
  if (!error) return {};
  return refuse("rpc", "make the directory of " + path, Error{Errc::system, "--rpc PATH names another", error.value()});
}

}  // namespace

Outcome<std::unique_ptr<Daemon>> Daemon::create(const Catalogue& catalogue, Hardware& hardware,
                                                Configuration configuration, keeper::Lifeline* lifeline) {
  std::unique_ptr<Daemon> daemon{new Daemon};
  if (auto started = daemon->start(catalogue, hardware, std::move(configuration), lifeline); !started) {
    return tl::unexpected<Problem>(started.error());
  }
  return daemon;
}

Outcome<> Daemon::start(const Catalogue& catalogue, Hardware& hardware, Configuration configuration,
                        keeper::Lifeline* lifeline) {
  lifeline_ = lifeline;
  asked_ = configuration;
  DaemonSpec& spec = configuration.daemon;
  const bool is_chosen = spec.rpc.has_value();
  if (!is_chosen) spec.rpc = default_rpc_path();
  if (auto ok = check_socket_path("rpc", *spec.rpc); !ok) return ok;  // VMUX_RPC was not looked at before
  if (!spec.base_mac) spec.base_mac = machine_base_mac(machine_id());
  auto control = runtime::Poller::create({.name = "control"});
  if (!control) return refuse("", "make the control thread", control.error());
  control_ = std::move(*control);
  events_ = std::make_unique<EventRing>(control_.get());
  auto controller = Controller::create(catalogue, hardware, *events_, spec, lifeline);
  if (!controller) return tl::unexpected<Problem>(controller.error());
  controller_ = std::move(*controller);
  add_methods(methods_, *controller_);
  add_config_methods(methods_, *this);
  std::unique_ptr<Predecessor> before;
  if (lifeline != nullptr && lifeline->has_predecessor()) {
    auto found = Predecessor::read(*lifeline);
    if (!found) return refuse(ProblemKind::host, "", found.error());
    before = std::move(*found);
  }
  auto made = before ? take_over(*before) : begin_anew(configuration);
  if (!made) return made;
  if (auto opened = open_rpc(spec, is_chosen, before.get()); !opened) return opened;
  if (before) controller_->take_over_ends();
  return follow_keeper();
}

Outcome<> Daemon::begin_anew(const Configuration& configuration) {
  const auto together = controller_->together();
  for (const Step& step : configuration.steps) {
    auto done = methods_.call(step.method, step.params);
    if (!done) return refuse(done.error().kind, "", place_of(step, done.error()) + ": " + text_of(done.error()));
  }
  return {};
}

/// What cannot be made any more is left out, with a word: the others go on.
Outcome<> Daemon::take_over(const Predecessor& from) {
  controller_->take_over_begins(from);
  const auto together = controller_->together();
  for (const Step& step : from.objects().steps) {
    const auto done = methods_.call(step.method, step.params);
    if (!done) logf(LogLevel::error, "{} {}: {}", step.method, step.params.value("name", ""), text_of(done.error()));
  }
  return {};
}

Outcome<> Daemon::open_rpc(const DaemonSpec& spec, bool is_chosen, const Predecessor* from) {
  if (*spec.rpc == "none") return {};
  if (!is_chosen) {
    if (auto made = make_directory(*spec.rpc); !made) return made;
  }
  UniqueFd socket;
  if (from != nullptr) {
    if (auto left = from->rpc_socket()) socket = std::move(*left);
  }
  auto rpc = RpcServer::create(*control_, methods_, *spec.rpc, spec.rpc_access, {}, spec.roles, std::move(socket));
  if (!rpc) return tl::unexpected<Problem>(rpc.error());
  rpc_ = std::move(*rpc);
  rpc_path_ = *spec.rpc;
  controller_->captures().look_after_on(*control_);
  controller_->rpc_listens_at(rpc_->listener_fd());
  controller_->keep_objects();
  return {};
}

/// Says that all is served, and hears what the keeper wants.
Outcome<> Daemon::follow_keeper() {
  if (lifeline_ == nullptr) {
    add_keeper_methods(methods_);
    return {};
  }
  add_keeper_methods(methods_, *controller_, *control_);
  auto watch = control_->watch(lifeline_->fd(), EPOLLIN, [this](std::uint32_t) { on_keeper(); });
  if (!watch) return refuse("", "watch the keeper's socket", watch.error());
  keeper_watch_ = std::move(*watch);
  lifeline_->ready();
  return {};
}

void Daemon::on_keeper() {
  auto message = lifeline_->take();
  if (message && message->say == keeper::Say::freeze) make_room(*controller_);
  if (message || message.error().code != Errc::disconnected) return;
  keeper_watch_.reset();
  logf(LogLevel::error, "the keeper is gone: nobody takes over if this process dies before the next one is there");
  if (rpc_path_.empty()) return;
  const std::string path = keeper::meeting_place(rpc_path_);
  if (auto done = lifeline_->listen_for_keeper(path); !done) return logf(LogLevel::error, "{}", done.error().text());
  if (auto watch = control_->watch(lifeline_->listener_fd(), EPOLLIN, [this](std::uint32_t) { on_next_keeper(); })) {
    keeper_watch_ = std::move(*watch);
  }
}

void Daemon::on_next_keeper() {
  if (auto done = lifeline_->accept_keeper(); !done) return logf(LogLevel::error, "{}", done.error().text());
  logf(LogLevel::info, "another keeper is there");
  keeper_watch_.reset();
  if (auto watch = control_->watch(lifeline_->fd(), EPOLLIN, [this](std::uint32_t) { on_keeper(); })) {
    keeper_watch_ = std::move(*watch);
  }
}

/// Those that failed, each with its place and why.
std::vector<std::string> Daemon::make(const std::vector<Step>& steps) const {
  const auto together = controller_->together();
  std::vector<std::string> failed;
  for (const Step& step : steps) {
    const auto done = methods_.call(step.method, step.params);
    if (done) continue;
    failed.push_back(fmt::format("{}: {}", place_of(step, done.error()), text_of(done.error())));
    logf(LogLevel::error, "reload: {}", failed.back());
  }
  return failed;
}

void Daemon::set_file(std::string file, ReadAgain read_again) {
  file_ = std::move(file);
  read_again_ = std::move(read_again);
}

Outcome<Configuration> Daemon::read_file() const {
  if (file_.empty() || !read_again_) {
    return refuse(ProblemKind::not_found, "", "there is no configuration file to read again");
  }
  std::error_code ignored;
  if (const auto status = std::filesystem::status(file_, ignored); exists(status) && !is_regular_file(status)) {
    // A pipe (`--config <(generate)`) is empty by now, and would take every port away.
    return refuse(ProblemKind::not_supported, "", fmt::format("{} is no file that can be read again", file_));
  }
  return read_again_();
}

DaemonSpec Daemon::settings() const {
  DaemonSpec spec = asked_.daemon;
  spec.log_level = controller_->daemon().log_level;
  return spec;
}

Outcome<ReloadReport> Daemon::plan(const Configuration& wanted) const {
  auto plan = plan_reload(controller_->inventory(), asked_, wanted,
                          [this](const std::string& port) { return controller_->port_state(port).is_connected; });
  if (!plan) return tl::unexpected<Problem>(plan.error());
  return ReloadReport{std::move(*plan), changed_values(asked_.daemon, wanted.daemon), {}};
}

Outcome<ReloadReport> Daemon::reload(Configuration wanted) {
  auto report = plan(wanted);
  if (!report) return report;
  const ReloadPlan& plan = report->plan;
  if (wanted.daemon.log_level != asked_.daemon.log_level) controller_->set_log_level(wanted.daemon.log_level);
  if (rpc_) rpc_->set_roles(wanted.daemon.roles);
  std::vector<std::string> leaving;
  for (const Step& step : plan.steps) {
    if (step.method == "port.remove") leaving.push_back(step.params["name"].get<std::string>());
  }
  controller_->announce_removal(leaving);
  report->failed = make(plan.steps);
  for (const std::string& kept : plan.kept)
    logf(LogLevel::warning, "reload: {}", kept);
  if (!report->takes_restart.empty()) {
    logf(LogLevel::warning, "reload: takes a restart: {}", fmt::join(report->takes_restart, ", "));
    take_changes(wanted.daemon, asked_.daemon);
    wanted.daemon = std::move(asked_.daemon);  // what is still owed is told again the next time
  }
  logf(LogLevel::info, "reload: {} removed, {} added, {} changed, {} failed, {} kept as they were, {} unchanged",
       plan.count("remove"), plan.count("add"), plan.count("set"), report->failed.size(), plan.kept.size(),
       plan.unchanged);
  events_->write(EventType::reloaded, "daemon", "", plan.steps.size());
  asked_ = std::move(wanted);
  return report;
}

}  // namespace vmux::control

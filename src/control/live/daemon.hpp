// SPDX-License-Identifier: BSD-3-Clause
// vmux as a whole: the objects, the RPC socket and the control thread that both belong to.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "control/config/configuration.hpp"
#include "control/config/reload.hpp"
#include "control/live/controller.hpp"
#include "control/rpc/json_rpc.hpp"
#include "control/rpc/rpc_server.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::control {

/// What a configuration that was read again comes to.
struct ReloadReport {
  ReloadPlan plan;
  std::vector<std::string> takes_restart;  ///< keys of [daemon] and [pollers] that differ
  std::vector<std::string> failed;         ///< steps that the machine refused: "PLACE: why"
};

/// Reads the configuration again, with the flags on top as at the start; settled and rehearsed.
using ReadAgain = std::function<Outcome<Configuration>()>;

class Daemon {
 public:
  /// Starts pollers, makes every step of `configuration` as a call, then opens the RPC socket. When any of it fails,
  /// all of it is undone. `configuration` has been settled and rehearsed; `catalogue` and `hardware` must outlive it.
  /// With a `lifeline` that has a predecessor, its objects are made in place of the configuration's, and go on.
  [[nodiscard]] static Outcome<std::unique_ptr<Daemon>> create(const Catalogue& catalogue, Hardware& hardware,
                                                               Configuration configuration,
                                                               keeper::Lifeline* lifeline = nullptr);

  /// Makes what there is what `wanted` says (reload.hpp), and logs what was done, what stays, and what failed. A
  /// problem: nothing was changed. `wanted` has been settled and rehearsed. From a handler of control() only.
  Outcome<ReloadReport> reload(Configuration wanted);
  /// What that would do.
  [[nodiscard]] Outcome<ReloadReport> plan(const Configuration& wanted) const;
  /// The file that it was started with, and how it is read again. Without one read_file() is a problem.
  void set_file(std::string file, ReadAgain read_again);
  [[nodiscard]] const std::string& file() const noexcept { return file_; }
  [[nodiscard]] Outcome<Configuration> read_file() const;

  /// [daemon] and [pollers] as they were given, with what was changed since and takes no restart.
  [[nodiscard]] DaemonSpec settings() const;
  [[nodiscard]] const Controller& objects() const noexcept { return *controller_; }

  /// Serves calls on this thread until control().stop().
  void run() { control_->run(); }
  [[nodiscard]] runtime::Poller& control() noexcept { return *control_; }
  /// The path of the RPC socket; empty when there is none.
  [[nodiscard]] const std::string& rpc_path() const noexcept { return rpc_path_; }
  [[nodiscard]] const Methods& methods() const noexcept { return methods_; }

 private:
  Daemon() = default;
  Outcome<> start(const Catalogue& catalogue, Hardware& hardware, Configuration configuration,
                  keeper::Lifeline* lifeline);
  Outcome<> begin_anew(const Configuration& configuration);
  Outcome<> take_over(const Predecessor& from);
  Outcome<> open_rpc(const DaemonSpec& spec, bool is_chosen, const Predecessor* from);
  Outcome<> follow_keeper();
  void on_keeper();
  void on_next_keeper();
  [[nodiscard]] std::vector<std::string> make(const std::vector<Step>& steps) const;

  // Destroyed in the opposite order: nobody calls methods when the objects go.
  std::unique_ptr<runtime::Poller> control_;
  std::unique_ptr<EventRing> events_;
  std::unique_ptr<Controller> controller_;
  Methods methods_;
  Configuration asked_;  // as it was given
  std::string rpc_path_, file_;
  ReadAgain read_again_;
  std::unique_ptr<RpcServer> rpc_;
  keeper::Lifeline* lifeline_ = nullptr;
  runtime::Watch keeper_watch_;
};

}  // namespace vmux::control

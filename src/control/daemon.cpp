// SPDX-License-Identifier: BSD-3-Clause
#include "control/daemon.hpp"

#include <filesystem>
#include <fstream>

#include "control/methods.hpp"
#include "control/rpc_client.hpp"

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

Outcome<std::unique_ptr<Daemon>> Daemon::create(const Catalogue& catalogue, Configuration configuration) {
  std::unique_ptr<Daemon> daemon{new Daemon};
  if (auto started = daemon->start(catalogue, std::move(configuration)); !started) {
    return tl::unexpected<Problem>(started.error());
  }
  return daemon;
}

Outcome<> Daemon::start(const Catalogue& catalogue, Configuration configuration) {
  DaemonSpec& spec = configuration.daemon;
  const bool is_chosen = spec.rpc.has_value();
  if (!is_chosen) spec.rpc = default_rpc_path();
  if (auto ok = check_socket_path("rpc", *spec.rpc); !ok) return ok;  // VMUX_RPC was not looked at before
  if (!spec.base_mac) spec.base_mac = machine_base_mac(machine_id());
  auto control = runtime::Poller::create({.name = "control"});
  if (!control) return refuse("", "make the control thread", control.error());
  control_ = std::move(*control);
  auto controller = Controller::create(catalogue, spec);
  if (!controller) return tl::unexpected<Problem>(controller.error());
  controller_ = std::move(*controller);
  add_methods(methods_, *controller_);
  for (const Step& step : configuration.steps) {
    auto done = methods_.call(step.method, step.params);
    if (!done) return refuse(done.error().kind, "", step.where + ": " + text_of(done.error()));
  }
  if (*spec.rpc == "none") return {};
  if (!is_chosen) {
    if (auto made = make_directory(*spec.rpc); !made) return made;
  }
  auto rpc = RpcServer::create(*control_, methods_, *spec.rpc, spec.rpc_access);
  if (!rpc) return tl::unexpected<Problem>(rpc.error());
  rpc_ = std::move(*rpc);
  rpc_path_ = *spec.rpc;
  return {};
}

}  // namespace vmux::control

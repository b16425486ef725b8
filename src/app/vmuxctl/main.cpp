// SPDX-License-Identifier: BSD-3-Clause
// vmuxctl: calls to a running vmux, and their results; or one command about this machine.
#include <chrono>
#include <cstdio>
#include <thread>

#include "app/vmuxctl/cli.hpp"
#include "app/vmuxctl/host_cli.hpp"
#include "app/vmuxctl/shape.hpp"
#include "app/vmuxctl/state_file.hpp"
#include "app/vmuxctl/upgrade.hpp"
#include "control/rpc/rpc_client.hpp"

namespace {

using vmux::control::Json;
using vmux::control::Outcome;
using vmux::control::RpcClient;

/// A daemon that is being started is there in a moment: the socket comes, and then somebody who answers.
Outcome<RpcClient> reach(const vmux::app::Call& call) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{call.wait_s};
  while (true) {
    auto client = RpcClient::connect(call.rpc, call.timeout_s);
    const bool may_come = !client && client.error().kind == vmux::control::ProblemKind::host;
    if (!may_come || std::chrono::steady_clock::now() >= deadline) return client;
    std::this_thread::sleep_for(std::chrono::milliseconds{50});
  }
}

Outcome<Json> ask(RpcClient& daemon, const std::string& method, const Json& params, int file = -1) {
  auto result = daemon.call(method, params, file);
  const auto fault = result ? vmux::app::fault_of(method, *result) : std::nullopt;
  if (fault) return vmux::control::refuse(vmux::control::ProblemKind::host, "", *fault);
  return result;
}

vmux::app::Exit run(const vmux::app::Call& call) {
  const auto print = [](const std::string& lines) {
    return std::fputs(lines.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
  };
  if (call.command->method == vmux::app::kUpgrade) {
    return vmux::app::upgrade(call, [&call](const std::string& method, const Json& params) -> Outcome<Json> {
      auto daemon = reach(call);
      if (!daemon) return tl::unexpected<vmux::control::Problem>(daemon.error());
      return ask(*daemon, method, params);
    });
  }
  if (call.runs && call.command->method.empty()) return call.command->run(call, nullptr, print);
  auto client = reach(call);
  if (!client) return vmux::app::explain(call, client.error());
  if (call.runs)
    return call.command->run(
        call, [&](const std::string& method, const Json& params) { return ask(*client, method, params); }, print);
  if (call.follows)
    return vmux::app::follow(
        call, [&](const Json& params) { return ask(*client, call.command->method, params); }, print);
  return vmux::app::perform(call, [&](const Json& params) {
    return vmux::app::with_file(call, [&](int file) { return ask(*client, call.command->method, params, file); });
  });
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments{argv + 1, argv + argc};
  const vmux::app::Screen screen = vmux::app::screen_of_stdout();
  if (const auto about_host = vmux::app::host_arguments(arguments)) {
    vmux::host::Machine machine;
    return vmux::app::leave("vmuxctl",
                            vmux::app::run_host(*about_host, machine, vmux::app::default_state_directory(), screen));
  }
  const auto call = vmux::app::parse_call(arguments, screen);
  return vmux::app::leave("vmuxctl", call ? run(*call) : call.error());
}

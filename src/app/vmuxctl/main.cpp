// SPDX-License-Identifier: BSD-3-Clause
// vmuxctl: calls to a running vmux, and their results; or one command about this machine.
#include <cstdio>

#include "app/vmuxctl/capture/capture.hpp"
#include "app/vmuxctl/cli.hpp"
#include "app/vmuxctl/host_cli.hpp"
#include "app/vmuxctl/reach.hpp"
#include "app/vmuxctl/state_file.hpp"
#include "app/vmuxctl/upgrade.hpp"

namespace {

using vmux::app::ask;
using vmux::control::Json;
using vmux::control::Outcome;

Outcome<vmux::control::RpcClient> reach(const vmux::app::Call& call) {
  return vmux::app::reach(call.rpc, call.timeout_s, call.wait_s);
}

vmux::app::Exit run(const vmux::app::Call& call) {
  const auto print = [](const std::string& lines) {
    return std::fputs(lines.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
  };
  const auto ask_anew = [&call](const std::string& method, const Json& params, int file) -> Outcome<Json> {
    auto daemon = reach(call);
    if (!daemon) return tl::unexpected<vmux::control::Problem>(daemon.error());
    return ask(*daemon, method, params, file);
  };
  if (call.command->method == vmux::app::kCapture) return vmux::app::capture(call, ask_anew);
  if (call.command->method == vmux::app::kUpgrade) {
    return vmux::app::upgrade(
        call, [&](const std::string& method, const Json& params) { return ask_anew(method, params, -1); });
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

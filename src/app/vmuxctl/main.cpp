// SPDX-License-Identifier: BSD-3-Clause
// vmuxctl: one call to a running vmux, and its result; or one command about this machine.
#include <cstdio>

#include "app/output.hpp"
#include "app/vmuxctl/cli.hpp"
#include "app/vmuxctl/host_cli.hpp"
#include "app/vmuxctl/shape.hpp"
#include "control/json_rpc.hpp"
#include "control/rpc_client.hpp"

namespace {

int leave(const vmux::app::Exit& exit) {
  std::fputs(exit.err.c_str(), stderr);
  return vmux::app::print_and_finish("vmuxctl", exit.out.c_str(), exit.status, stdout, stderr);
}

vmux::control::Outcome<vmux::control::Json> make(const vmux::app::Call& call) {
  auto client = vmux::control::RpcClient::connect(call.rpc, call.timeout_s);
  if (!client) return tl::unexpected<vmux::control::Problem>(client.error());
  auto result = client->call(call.command->method, call.params);
  const auto fault = result ? vmux::app::fault_of(call.command->method, *result) : std::nullopt;
  if (fault) return vmux::control::refuse(vmux::control::ProblemKind::host, "", *fault);
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments{argv + 1, argv + argc};
  if (const auto about_host = vmux::app::host_arguments(arguments)) {
    vmux::host::Machine machine;
    return leave(vmux::app::run_host(*about_host, machine, vmux::app::default_state_directory()));
  }
  const auto call = vmux::app::parse_call(arguments);
  if (!call) return leave(call.error());
  const auto result = make(*call);
  if (!result) return leave(vmux::app::explain(*call, result.error()));
  return leave({0, call->as_json ? vmux::control::to_line(*result) + '\n' : call->command->print(*result), ""});
}

// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/reach.hpp"

#include <chrono>
#include <thread>

#include "app/vmuxctl/shape.hpp"

namespace vmux::app {

using control::Json;
using control::Outcome;
using control::RpcClient;

Outcome<RpcClient> reach(const std::string& rpc, unsigned timeout_s, unsigned wait_s) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{wait_s};
  while (true) {
    auto client = RpcClient::connect(rpc, timeout_s);
    const bool may_come = !client && client.error().kind == control::ProblemKind::host;
    if (!may_come || std::chrono::steady_clock::now() >= deadline) return client;
    std::this_thread::sleep_for(std::chrono::milliseconds{50});
  }
}

Outcome<Json> ask(RpcClient& daemon, const std::string& method, const Json& params, int file) {
  auto result = daemon.call(method, params, file);
  const auto fault = result ? fault_of(method, *result) : std::nullopt;
  if (fault) return control::refuse(control::ProblemKind::host, "", *fault);
  return result;
}

}  // namespace vmux::app

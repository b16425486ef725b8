// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux_web/findings.hpp"

#include <chrono>
#include <memory>
#include <utility>

#include "control/rpc/rpc_client.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::app {
namespace {

constexpr unsigned kTimeout_s = 5;

/// Null where there is no answer: whoever asks for the rest tells what is wrong.
Json findings_of(const std::string& rpc) {
  auto client = control::RpcClient::connect(rpc, kTimeout_s);
  if (!client) return {};
  auto answer = client->call("doctor");
  return answer ? std::move(*answer) : Json();
}

}  // namespace

void Findings::take_answer() {
  using namespace std::chrono_literals;
  if (!answer_.valid() || answer_.wait_for(0s) != std::future_status::ready) return;
  last_ = answer_.get();
  due_ns_ = monotonic_ns() + every_ns_;
}

void Findings::ask() {
  take_answer();
  if (answer_.valid() || monotonic_ns() < due_ns_) return;
  if (!thread_) {
    auto made = runtime::Poller::create({.name = "findings"});
    if (!made || !(*made)->start()) return;
    thread_ = std::move(*made);
  }
  const auto task = std::make_shared<std::packaged_task<Json()>>([rpc = rpc_] { return findings_of(rpc); });
  answer_ = task->get_future();
  if (!thread_->post([task] { (*task)(); })) answer_ = {};
}

const Json& Findings::last() {
  take_answer();
  return last_;
}

}  // namespace vmux::app

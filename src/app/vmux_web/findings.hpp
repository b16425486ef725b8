// SPDX-License-Identifier: BSD-3-Clause
// What the daemon's doctor finds. It looks at counters twice, a second apart: that is waited for aside, on a connection
// of its own.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <string>

#include "app/vmux_web/snapshot.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::app {

/// One thread asks, another waits for the answer.
class Findings {
 public:
  /// `every_ns`: not sooner than that behind the last answer.
  Findings(std::string rpc, std::uint64_t every_ns) : rpc_(std::move(rpc)), every_ns_(every_ns) {}

  /// Asks, unless it does already or did lately. Never waits.
  void ask();
  /// What was found last; null at first, and where the daemon did not say.
  [[nodiscard]] const Json& last();
  /// True while an answer is waited for.
  [[nodiscard]] bool is_asking() const noexcept { return answer_.valid(); }
  /// There is no doctor any more.
  void forget() { last_ = Json(); }

 private:
  void take_answer();

  const std::string rpc_;
  const std::uint64_t every_ns_;
  Json last_;
  std::uint64_t due_ns_ = 0;
  std::future<Json> answer_;
  std::unique_ptr<runtime::Poller> thread_;  // made for the first question; goes first, with what it has begun
};

}  // namespace vmux::app

// SPDX-License-Identifier: BSD-3-Clause
// The daemon that is shown: one connection to its RPC socket, by which it is only asked.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>

#include "app/vmux_web/findings.hpp"
#include "app/vmux_web/snapshot.hpp"
#include "control/rpc/rpc_client.hpp"

namespace vmux::app {

/// All that is ever called. Each takes the role `read`, which a test holds.
inline constexpr const char* kMethodsCalled[] = {"rpc.methods", "version",      "keeper.status", "poller.list",
                                                 "port.list",   "port.stats",   "uplink.list",   "switch.list",
                                                 "switch.show", "counter.list", "events",        "doctor"};

/// One thread. However often it is asked, the daemon is asked at most once in `fresh_for_ns`: many browsers cost it no
/// more than one.
class Daemon {
 public:
  static constexpr std::uint64_t kFreshFor_ns = 500'000'000;
  static constexpr unsigned kTimeout_s = 2;  ///< for each call
  static constexpr std::size_t kEventsKept = 100;
  static constexpr std::uint64_t kDoctorEvery_ns = 10'000'000'000;

  /// `told` hears when it comes and goes, with a sentence.
  Daemon(std::string rpc, std::function<void(const std::string&)> told, std::uint64_t fresh_for_ns = kFreshFor_ns)
      : rpc_(std::move(rpc)), told_(std::move(told)), fresh_for_ns_(fresh_for_ns) {}

  /// As it is now, or was within `fresh_for_ns`. A daemon that was started anew is met again by itself. For people it
  /// has what the doctor found lately; as long as nobody looks, it is not asked.
  enum class For : bool { programs, people };
  const Snapshot& look(For whom = For::programs);

 private:
  void look_again();
  [[nodiscard]] control::Outcome<> connect();
  [[nodiscard]] control::Outcome<Snapshot> ask();
  [[nodiscard]] control::Outcome<> ask_for(Json& into, const char* method, const Json& params = Json::object());
  void ask_if_there(Json& into, const char* method);
  [[nodiscard]] control::Outcome<> ask_for_switches(Json& into);
  [[nodiscard]] control::Outcome<> ask_for_events();

  const std::string rpc_;
  const std::function<void(const std::string&)> told_;
  const std::uint64_t fresh_for_ns_;
  std::optional<control::RpcClient> client_;
  // of this connection
  std::set<std::string> methods_;
  Json counters_, events_ = Json::array();
  std::uint64_t next_event_ = 0;

  Snapshot last_;
  Findings findings_{rpc_, kDoctorEvery_ns};
  std::uint64_t looked_ns_ = 0;  // 0: never
};

}  // namespace vmux::app

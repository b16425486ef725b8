// SPDX-License-Identifier: BSD-3-Clause
// The traces that run: each of one port, read by whoever began it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "control/live/event_ring.hpp"
#include "control/model/device.hpp"
#include "control/model/spec/problem.hpp"
#include "control/trace/trace_ring.hpp"

namespace vmux::control {

struct TraceInfo {
  std::uint64_t id = 0;  ///< never used again by this process
  std::string port;
  std::uint32_t uid = 0;  ///< whose it is
  std::uint64_t records = 0, missed = 0;
  bool is_over = false;  ///< its port is gone, or nobody read it for too long; what is there can still be read
};

/// A record with its names.
struct TraceLine {
  TraceRecord record;
  std::string name;  ///< of the message, register or command; empty: it has none
};

/// All on the control thread. A port that is not traced pays one comparison for each message, and none for a frame.
class Traces {
 public:
  static constexpr std::size_t kMost = 4;

  /// Of each: how many records wait for their reader, and how long they do.
  struct Limits {
    std::size_t records = TraceRing::kRecords;
    std::uint64_t patience_ns = TraceRing::kPatience_ns;
  };

  explicit Traces(EventRing& events) noexcept : Traces(events, Limits{}) {}
  Traces(EventRing& events, Limits limits) noexcept : events_(events), limits_(limits) {}
  Traces(const Traces&) = delete;
  Traces& operator=(const Traces&) = delete;

  /// Traces `device`, which lives on `poller`. busy: it is traced already, or too many are. A trace that nobody has
  /// read for half a minute makes room.
  Outcome<TraceInfo> begin(const std::string& port, std::uint32_t uid, Device& device, runtime::Poller& poller);
  struct Slice {
    TraceInfo info;
    std::vector<TraceLine> lines;
  };
  /// The oldest records, `most` of them at most; they are gone then. For whoever began it, as it takes them from
  /// others.
  Outcome<Slice> read(std::uint64_t id, std::uint32_t uid, std::size_t most);
  Outcome<TraceInfo> stop(std::uint64_t id);
  [[nodiscard]] std::vector<TraceInfo> list();
  /// The device of that port is about to go.
  void leave(const std::string& port);

 private:
  struct Running {
    TraceInfo info;
    Device* device = nullptr;  // null: it is gone
    runtime::Poller* poller = nullptr;
    std::unique_ptr<TraceRing> ring;
  };
  void take_off(Running& running);
  /// Those that have stopped themselves on their poller.
  void note_given_up();
  void drop_abandoned();
  [[nodiscard]] std::vector<Running>::iterator find(std::uint64_t id);

  EventRing& events_;
  const Limits limits_;
  std::vector<Running> running_;
  std::uint64_t last_id_ = 0;
};

}  // namespace vmux::control

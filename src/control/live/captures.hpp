// SPDX-License-Identifier: BSD-3-Clause
// The captures that run, and how the last ones ended.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/capture/capture_writer.hpp"
#include "control/live/event_ring.hpp"
#include "control/model/spec/problem.hpp"
#include "switch/copies/tap.hpp"
#include "switch/switch.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::control {

struct CaptureRequest {
  std::string name;  ///< of a port, an uplink or a switch, in this order where several have it
  switching::CaptureRules rules;
  bool is_whole = false;    ///< whole frames, whatever rules.snaplen says of how long they can be
  std::uint64_t count = 0;  ///< frames; 0: until it is ended
  std::string filter;       ///< what the filter was made of, in words
  std::uint32_t uid = 0;    ///< whose it is
};

/// Where something is captured.
struct CapturePlace {
  const char* kind = "";  ///< "port", "uplink" or "switch"
  switching::Switch* on = nullptr;
  std::vector<switching::PortId> ports;
};

struct CaptureInfo {
  std::uint64_t id = 0;  ///< never used again by this process
  CaptureRequest request;
  const char* kind = "";
  CaptureTotals totals;
  CaptureEnd end = CaptureEnd::none;
  std::string why;  ///< the sentence for it
};

/// All on the control thread. What it captures goes on untouched while it is made and ended; a call waits for no
/// reader.
class Captures {
 public:
  static constexpr std::size_t kMost = switching::kMaxCaptures;
  static constexpr std::size_t kPast = 16;  ///< ended ones that are remembered

  /// `where`: nullopt when there is nothing of that name that frames pass through. `pollers` and `events` outlive it.
  using Where = std::function<std::optional<CapturePlace>(const std::string& name)>;
  Captures(EventRing& events, Where where, const std::vector<runtime::Poller*>& pollers)
      : events_(events), where_(std::move(where)), pollers_(pollers) {}
  ~Captures();
  Captures(const Captures&) = delete;
  Captures& operator=(const Captures&) = delete;

  /// Looks after captures that end by themselves on this poller; without one they are when something is asked.
  void look_after_on(runtime::Poller& control) noexcept { control_ = &control; }

  /// `socket`: a UNIX stream socket, at whose other end is the reader. Closing its side for writing ends the capture.
  Outcome<CaptureInfo> begin(CaptureRequest request, UniqueFd socket);
  /// not_found when there is none that runs.
  Outcome<CaptureInfo> stop(std::uint64_t id, std::uint32_t uid);
  /// Those that run and those that are remembered, the oldest first.
  [[nodiscard]] std::vector<CaptureInfo> list();

  /// After every change of the objects: follows those that were plugged in elsewhere, ends those of what is gone.
  void settle();
  /// A switch is about to go.
  void leave(const switching::Switch& gone);
  /// Each reader gets what it has room for.
  void end_all(const std::string& why);

 private:
  struct Running {
    CaptureInfo info;
    std::size_t number = 0;  // on the switch
    CapturePlace place;      // on == nullptr: it is taken off
    std::vector<std::unique_ptr<switching::Tap>> taps;
    std::unique_ptr<CaptureWriter> writer;  // used on thread_
    [[nodiscard]] std::vector<switching::PollerTap> poller_taps(const std::vector<runtime::Poller*>& pollers) const;
  };
  Outcome<> start_thread();
  [[nodiscard]] std::optional<std::size_t> free_number() const;
  void put_on(Running& running, CapturePlace place);
  void take_off(Running& running, CaptureEnd end, const std::string& why, bool at_once = false);
  void look_after();
  void look_at(Running& running);

  EventRing& events_;
  const Where where_;
  const std::vector<runtime::Poller*>& pollers_;
  runtime::Poller* control_ = nullptr;
  std::unique_ptr<runtime::Poller> thread_;  // made with the first
  std::vector<std::unique_ptr<Running>> running_;
  std::deque<CaptureInfo> past_;
  std::uint64_t last_id_ = 0;
  std::shared_ptr<const bool> is_alive_ = std::make_shared<const bool>(true);
};

}  // namespace vmux::control

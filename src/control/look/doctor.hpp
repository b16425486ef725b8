// SPDX-License-Identifier: BSD-3-Clause
// Gathers what is known of ports, uplinks and pollers, twice, so that what goes on shows beside what has been.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control/live/controller.hpp"
#include "control/look/client_maps.hpp"
#include "control/look/facts.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::control {

/// Control thread.
class Doctor {
 public:
  /// `controller` must outlive it.
  explicit Doctor(const Controller& controller) noexcept : controller_(controller) {}

  static constexpr std::uint64_t kLongest_ns = 20'000'000'000;  ///< between two looks

  /// A first look, which is kept for as long as a second may want it. One that was taken just before serves as well:
  /// many may ask at a time.
  void begin(std::uint64_t now_ns = monotonic_ns());
  /// The second: of all, or of one port with its pollers and the uplinks of its switch. It is compared with the newest
  /// first look that is `over_ns` old or more, whoever else has begun meanwhile; with the oldest, if none is. Without a
  /// first in the last minute nothing of what goes on is known.
  [[nodiscard]] Facts look(const std::optional<std::string>& port, std::uint64_t over_ns = 0,
                           std::uint64_t now_ns = monotonic_ns()) const;

 private:
  using CountsOf = std::map<std::string, std::uint64_t>;
  struct Sample {
    std::uint64_t ns = 0;
    /// By the name of a port or an uplink.
    std::map<std::string, CountsOf> counters, model, transport;
    std::vector<runtime::PollerStats> pollers;
  };
  [[nodiscard]] const Sample* sample_for(std::uint64_t over_ns, std::uint64_t now_ns) const noexcept;
  void forget_old(std::uint64_t now_ns);
  [[nodiscard]] PortFacts look_at(const PortSpec& spec, const Sample* before, ClientMaps& clients) const;
  [[nodiscard]] UplinkFacts look_at(const UplinkSpec& spec, const Sample* before) const;
  [[nodiscard]] PollerFacts look_at(std::size_t poller, const Sample* before) const;

  const Controller& controller_;
  std::deque<Sample> samples_;  // the oldest first
};

}  // namespace vmux::control

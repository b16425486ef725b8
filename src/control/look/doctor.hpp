// SPDX-License-Identifier: BSD-3-Clause
// Gathers what is known of ports, uplinks and pollers, twice, so that what goes on shows beside what has been.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control/live/controller.hpp"
#include "control/look/facts.hpp"

namespace vmux::control {

/// Control thread.
class Doctor {
 public:
  /// `controller` must outlive it.
  explicit Doctor(const Controller& controller) noexcept : controller_(controller) {}

  /// The first look.
  void begin();
  /// The second: of all, or of one port with its pollers and the uplinks of its switch. Without a first in the last
  /// minute nothing of what goes on is known. Whoever else has begun meanwhile has made the time between shorter.
  [[nodiscard]] Facts look(const std::optional<std::string>& port) const;

 private:
  using CountsOf = std::map<std::string, std::uint64_t>;
  struct Sample {
    std::uint64_t ns = 0;
    /// By the name of a port or an uplink.
    std::map<std::string, CountsOf> counters, model, transport;
    std::vector<runtime::PollerStats> pollers;
  };
  [[nodiscard]] PortFacts look_at(const PortSpec& spec, const Sample* before) const;
  [[nodiscard]] UplinkFacts look_at(const UplinkSpec& spec, const Sample* before) const;
  [[nodiscard]] PollerFacts look_at(std::size_t poller, const Sample* before) const;

  const Controller& controller_;
  std::optional<Sample> before_;
};

}  // namespace vmux::control

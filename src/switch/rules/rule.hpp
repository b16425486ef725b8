// SPDX-License-Identifier: BSD-3-Clause
// A rule of a switch: which frames it is about, and what is done with those.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "packet/flow_fields.hpp"

namespace vmux::switching {

/// Rules of a switch at most.
inline constexpr std::size_t kMaxRules = 4096;

enum class RuleWay : std::uint8_t {
  in,   ///< of what a port sends into the switch
  out,  ///< of what the switch is about to deliver to a port
};

enum class RuleVerdict : std::uint8_t { allow, drop };

/// Ports of TCP, UDP and SCTP, both ends included.
struct L4Ports {
  std::uint16_t first = 0, last = 0xffff;
  friend bool operator==(const L4Ports&, const L4Ports&) = default;
};

/// What a frame has to be. `value` counts where `mask` has ones; of the fields, `ttl`, `spi`, the two ports and `spare`
/// are not for callers, and are zero. `vlan` is the VLAN in which the frame is inside the switch, whatever tag it has
/// (0: that of untagged frames where it has no number), and `protocol` that of every fragment.
struct RuleMatch {
  packet::FlowFields value, mask;
  std::optional<L4Ports> source_port, destination_port;
  std::uint8_t mark = 0;  ///< way out: set by a rule of the way in; 0: any
  friend bool operator==(const RuleMatch& a, const RuleMatch& b) noexcept;
};

/// The rule of the highest priority that matches a frame decides about it, alone; of equal ones that which stands
/// first. A frame that none matches passes as it is.
struct Rule {
  std::string name;  ///< unique on its switch
  std::string port;  ///< of whose frames; empty: of all ports'. One that is not there has none
  RuleWay way = RuleWay::in;
  std::uint32_t priority = 0;
  RuleMatch match;

  RuleVerdict verdict = RuleVerdict::allow;
  // Of the way in only:
  std::string redirect;               ///< to this port, wherever the station is; if it is not there, dropped
  std::string mirror;                 ///< a copy to this port, if it is there
  std::uint8_t mark = 0;              ///< for rules of the way out; 0: none
  std::optional<std::uint16_t> vlan;  ///< from here on it is in this VLAN, 1 to 4094
  std::optional<std::uint8_t> dscp;   ///< of its IP header, 0 to 63
  friend bool operator==(const Rule&, const Rule&) = default;
};

/// What a rule has matched since it is there.
struct RuleHits {
  std::uint64_t frames = 0, bytes = 0;  ///< super-frames count once; bytes without FCS
};

}  // namespace vmux::switching

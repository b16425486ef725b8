// SPDX-License-Identifier: BSD-3-Clause
// A port as its shard knows it, and the VLAN rules as bits.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <vector>

#include "port/port.hpp"
#include "switch/switch.hpp"

namespace vmux::switching {

inline constexpr std::uint32_t kMaxPorts = 1024;  // per switch
inline constexpr std::uint16_t kVlanIds = 4096;
inline constexpr std::uint16_t kNoVlan = kVlanIds;  // no frame belongs to it

// A PortId is a slot (low 10 bits) and how often that slot was used before.
inline constexpr std::uint32_t kSlotBits = 10;
[[nodiscard]] constexpr std::uint32_t slot_of(PortId id) noexcept { return id.raw & (kMaxPorts - 1); }
static_assert(1u << kSlotBits == kMaxPorts);

/// VLANs of a port that have other numbers in the switch.
struct VlanMap {
  std::array<std::uint16_t, kVlanIds> in;   ///< of the port (0: without a tag) to that of the switch; kNoVlan: none
  std::array<std::uint16_t, kVlanIds> out;  ///< and back
};

struct VlanRules {
  VlanMode mode = VlanMode::trunk;
  std::uint16_t untagged = 0;    ///< the VLAN of frames without a tag, and the one that leaves without; kNoVlan: none
  std::bitset<kVlanIds> tagged;  ///< trunk: those that may pass with a tag

  std::shared_ptr<const VlanMap> map = {};  ///< nullptr: the numbers are those of the switch
  bool keeps_tags = false;                  ///< QinQ: the port's own tags are kept behind that of the switch
  bool has_service_tags = false;            ///< of type 0x88a8
  bool is_retagged = false;                 ///< any of these three
  [[nodiscard]] bool carries(std::uint16_t vlan) const noexcept { return vlan == untagged || tagged[vlan]; }
};

/// No VLAN at all: no frame enters or leaves.
[[nodiscard]] inline VlanRules no_vlans() noexcept {
  VlanRules rules;
  rules.untagged = kNoVlan;
  return rules;
}

/// Destinations of mirrors, by their numbers on the switch: a bit each.
using MirrorSet = std::uint16_t;
static_assert(kMaxMirrors <= 16);

/// Captures that a port's frames are for, by their numbers on the switch: a bit each.
using CaptureSet = std::uint8_t;
static_assert(kMaxCaptures <= 8);

/// Ports of a switch, by their slots.
using PortSet = std::bitset<kMaxPorts>;

class Meter;
class RuleTable;
class SharedLimit;
class Sources;

/// A part of a cache of flows, which belongs to whoever's frames are looked up in it: nobody can push out what others
/// have.
struct CachePart {
  std::uint32_t first = 0;  ///< set
  std::uint32_t mask = 0;   ///< sets less one; a power of two of sets
};

/// What holds for a port besides the rules of a bridge.
struct Policy {
  std::uint32_t max_frame = 0;           ///< PortConfig
  MirrorSet mirror_in = 0;               ///< where copies of all that it sends go,
  MirrorSet mirror_out = 0;              ///< and of all that it gets
  bool is_destination = false;           ///< of mirrors: nothing that it sends enters
  CaptureSet captures = 0;               ///< who sees all of these
  std::uint16_t filtered_groups = 0;     ///< PortConfig
  Meter* in = nullptr;                   ///< how much of what it sends may pass,
  Meter* out = nullptr;                  ///< and of what it gets; of no limit none
  Meter* flood = nullptr;                ///< how much of what it sends may be flooded
  const Sources* sources = nullptr;      ///< who it may be; of anyone none
  const PortSet* deaf_to = nullptr;      ///< from whom it gets nothing; of nobody none
  const RuleTable* rules_in = nullptr;   ///< about what it sends,
  const RuleTable* rules_out = nullptr;  ///< and about what is for it; of no rule none
  SharedLimit* share = nullptr;          ///< the limit of `share_of`, of which it has a part; of none none
  PortId share_of;
  std::shared_ptr<const std::bitset<kVlanIds>> share_vlans = {};  ///< those of `share_of`
  std::uint32_t weight = 1;
  [[nodiscard]] bool may_hold() const noexcept { return in != nullptr || share != nullptr; }
  [[nodiscard]] bool is_set() const noexcept {
    return sources != nullptr || max_frame != 0 || (mirror_in | mirror_out | captures) != 0 || is_destination ||
           in != nullptr || out != nullptr || flood != nullptr || deaf_to != nullptr || rules_in != nullptr ||
           rules_out != nullptr || share != nullptr || filtered_groups != 0;
  }
};

struct MultiLane;

/// Frames of a burst, side by side in one of its runs.
struct Share {
  std::uint8_t first = 0, count = 0;
  std::uint8_t run = 0;
};

/// A port, or the lane of it that this poller owns.
struct Member {
  Member(PortId port_id, port::Port& the_port, const VlanRules& rules, MultiLane* of_lanes) noexcept
      : id(port_id), port(the_port), multi_lane(of_lanes), vlan(rules) {}

  PortId id;
  port::Port& port;
  MultiLane* multi_lane;  ///< nullptr: all of the port is here
  VlanRules vlan;
  Policy policy;
  std::uint64_t held_until_ns = 0;  ///< where is_held
  std::uint64_t since_ns = 0;       ///< when it came here
  std::uint32_t mark_in = 0;        ///< PortConfig: while frames are taken from it,
  std::uint32_t mark_out = 0;       ///< and while they are delivered to it
  std::uint32_t quiet_rounds = 0;   ///< rounds since its last frame
  std::uint32_t rule_debt = 0;      ///< frames' worth of time that looking for its rules took beyond its turns
  CachePart flows;                  ///< where its policy has rules
  bool has_policy = false;          ///< all that the data path of a port without one looks at
  bool has_stations = false;        ///< it was ready since its addresses were forgotten
  bool is_in_round = false;
  bool is_held = false;     ///< its limit made frames wait that it has
  std::uint8_t shares = 0;  ///< of the current burst that are for this port:
  std::array<Share, port::kMaxBurst> queue{};
};

/// Where something is, seen from a shard: 0 = on this poller, else 1 + the index of a peer.
using ShardRef = std::uint16_t;
inline constexpr ShardRef kHere = 0;

/// A port whose lanes lie on several pollers, as one shard sees it, whether or not it has one of them.
struct MultiLane {
  PortId id;
  std::vector<ShardRef> lanes;  ///< each on another poller
  std::shared_ptr<const port::Steering> steering;
  Member* here = nullptr;      ///< the lane of this poller
  std::size_t unreported = 0;  ///< where lane 0 is: peers from this one on have not been told of `steering` yet
};

}  // namespace vmux::switching

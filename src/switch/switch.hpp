// SPDX-License-Identifier: BSD-3-Clause
// A learning Ethernet switch in memory: the control face. The data path of each poller is a Shard (shard.hpp).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ip.hpp"
#include "base/mac.hpp"
#include "port/port.hpp"
#include "switch/rules/rule.hpp"
#include "switch/turn_times.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/strong.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::switching {

/// Names an attachment; never used again after detach().
using PortId = Strong<struct PortIdTag, std::uint32_t>;

enum class VlanMode : std::uint8_t {
  trunk,  ///< tagged frames of the allowed VLANs; untagged ones belong to the native VLAN
  access  ///< untagged frames only, all of one VLAN
};

/// VLANs of a port, both ends included, and the first of as many in the switch.
struct VlanTranslation {
  std::uint16_t first = 0, last = 0, to = 0;
  friend bool operator==(const VlanTranslation&, const VlanTranslation&) = default;
};
/// A customer's VLANs, both ends included (0: frames without a tag), and the service VLAN that carries them.
struct ServiceVlan {
  std::uint16_t first = 0, last = 4094, vlan = 0;
  friend bool operator==(const ServiceVlan&, const ServiceVlan&) = default;
};

/// The default lets everything through: untagged frames (VLAN 0 here) and each VLAN id are separate segments.
struct VlanConfig {
  VlanMode mode = VlanMode::trunk;
  std::uint16_t tag = 0;               ///< access: its VLAN, 1 to 4094. trunk: the native VLAN, 0 = none of the 4094
  std::vector<std::uint16_t> allowed;  ///< trunk: VLANs that may pass with a tag (1 to 4094); empty = all
  bool only_tagged = false;            ///< trunk without a native VLAN: frames without a tag do not pass
  std::vector<VlanTranslation> translations = {};  ///< trunk: these have other numbers in the switch, both ways
  /// A customer's port (QinQ, IEEE 802.1ad): whatever tag it sends is kept, behind that of the first of these that has
  /// its VLAN. Not empty: nothing else is set.
  std::vector<ServiceVlan> services = {};
  bool has_service_tags = false;  ///< trunk: its tags are of type 0x88a8, and others belong to who is behind it
};

/// A station that is known to be behind a port.
struct Station {
  MacAddress mac{};
  std::uint16_t vlan = 0;  ///< as a MacEntry has it
  friend bool operator==(const Station&, const Station&) = default;
};

/// How much may pass, one way; a number of 0 is no limit.
struct Limit {
  std::uint64_t bits_per_s =
      0;  ///< of frames as a wire has them: without FCS, preamble and gap, super-frames in pieces
  std::uint64_t frames_per_s = 0;  ///< pieces of super-frames, again
  /// What may pass at once after a silence, and a frame more; not less than what passes in 2 ms. 0: what passes in
  /// 10 ms, and at least 64 KiB. Of frames it is always what passes in 10 ms, and at least 64.
  std::uint64_t burst_bytes = 0;
  [[nodiscard]] bool is_set() const noexcept { return bits_per_s != 0 || frames_per_s != 0; }
  friend bool operator==(const Limit&, const Limit&) = default;
};
struct Limits {
  Limit in;   ///< of what the port sends into the switch: what is more waits in the port, and is not lost here
  Limit out;  ///< of what is delivered to it, copies of a mirror not counted: what is more is dropped
  /// Storm control: of what it sends and the switch floods (broadcast, multicast, stations that are not known), counted
  /// once however many get it: what is more is dropped.
  Limit flood;
  /// `out` is shared by all other ports of the switch, by their weights: what is more waits in who sends it, and is not
  /// dropped. Of one port of a switch; the first counts.
  bool shares_out = false;
  friend bool operator==(const Limits&, const Limits&) = default;
};

/// Who a port may be. What it sends as somebody else is dropped.
struct SourceRules {
  std::vector<MacAddress> macs;  ///< in the Ethernet header, in ARP, and in options of neighbour discovery
  /// In IP, ARP, and as a target of neighbour advertisements; beside them the link-local IPv6 addresses of `macs`.
  /// Empty: any. A port with some is no router and no DHCP server either: what only those send is dropped.
  std::vector<IpAddress> addresses;
  friend bool operator==(const SourceRules&, const SourceRules&) = default;
};

struct PortConfig {
  std::string name;  ///< unique within the switch
  VlanConfig vlan;
  std::uint32_t mac_limit = 256;  ///< addresses learnt from this port at most; an uplink deserves some thousands
  /// Bytes without FCS, tags counted: longer frames are dropped, whichever way they go. 0: as long as the port takes.
  std::uint32_t max_frame = 0;
  /// Never aged nor learnt elsewhere: whoever else sends with such an address draws no frames by it.
  std::vector<Station> stations = {};
  /// Bit n: frames to 01-80-C2-00-00-0n neither enter nor leave here, whatever the switch lets pass.
  std::uint16_t filtered_groups = 0;
  Limits limits = {};
  std::optional<SourceRules> sources = {};  ///< anyone, if not given
  /// Its part of a limit that is shared (Limits::shares_out), beside those of others: 1 to kMaxWeight.
  std::uint32_t weight = 1;
  /// Ports of one group get nothing from each other, as isolated ports of a private VLAN do: not even what is flooded.
  /// They talk to all ports that are not in it. Empty: it is in none.
  std::string isolation = {};
  /// What runtime::LifeSign::burst is while frames are taken from it, and with kDeliveryMark while they are delivered
  /// to it; 0: it is not told, and frames that are delivered to it are their sender's. See suspicion_of().
  std::uint32_t mark = 0;
};

inline constexpr std::uint32_t kMaxWeight = 1000;
/// The lower 24 bits of a mark name a port. The upper ones are how many processes in a row have died in the first burst
/// that they took from it, or with kDeliveryMark in the first that they delivered to it. Of what was taken they are
/// cleared when a burst has been done, when there was none though the port is ready and nothing holds its frames, and
/// after kSuspicion_ns; of deliveries, which come when others send, when one has been done.
inline constexpr std::uint32_t kMarkBits = 24;
inline constexpr std::uint32_t kDeliveryMark = 1u << 31;
inline constexpr std::uint32_t kMostSuspicion = 127;
inline constexpr std::uint64_t kSuspicion_ns = 2'000'000'000;
[[nodiscard]] constexpr std::uint32_t port_of_mark(std::uint32_t mark) noexcept {
  return mark & ((1u << kMarkBits) - 1);
}
[[nodiscard]] constexpr std::uint32_t suspicion_of(std::uint32_t mark) noexcept {
  return mark >> kMarkBits & kMostSuspicion;
}

/// Copies of a port's frames for another port of its switch, the destination. The frames go on as they would without.
struct Mirror {
  PortId to;
  bool in = true;   ///< of what the port sends, whatever the switch then does with it; not of what is no whole frame
  bool out = true;  ///< of what is delivered to the port, with the tags that it sees
  friend bool operator==(const Mirror&, const Mirror&) = default;
};
/// Destinations of a switch.
inline constexpr std::size_t kMaxMirrors = 16;

class Tap;
/// Where a poller puts what a capture is to see (copies/tap.hpp).
struct PollerTap {
  runtime::Poller* poller = nullptr;
  Tap* tap = nullptr;
};
/// Captures of a switch at a time.
inline constexpr std::size_t kMaxCaptures = 4;

struct SwitchOptions {
  std::uint32_t ageing_seconds = 300;  ///< an address not heard of for so long is forgotten (IEEE 802.1Q 8.8.3)
  std::uint32_t mac_capacity = 16384;  ///< addresses in all
  /// Bit n: frames to 01-80-C2-00-00-0n, which IEEE 802.1Q table 8-1 keeps on one link, pass all the same. Bit 0 is
  /// spanning tree's: a switch that does not take part in it must let its frames through, or nobody sees a loop. Bit 1
  /// (pause and other MAC control) is never set.
  std::uint16_t forwarded_groups = 1u << 0;
};

struct MacEntry {
  MacAddress mac{};
  std::uint16_t vlan = 0;  ///< 0: untagged on a port without a native VLAN
  PortId port;
  std::string port_name;
  std::uint64_t age_ms = 0;  ///< since the last frame from it (in steps of a second)
  bool is_static = false;    ///< one of PortConfig::stations
};

/// One poller's part of a port: its queues there, and what moves their frames.
struct Lane {
  port::Port& port;
  runtime::Poller& poller;
};

struct LaneInfo {
  std::string poller;                            ///< name of the poller that owns it
  const port::PortCounters* counters = nullptr;  ///< readable by any thread until detach()
};

struct PortInfo {
  PortId id;
  PortConfig config;
  std::vector<LaneInfo> lanes;  ///< lane 0 first; one, unless its queues are spread over pollers
  std::optional<Mirror> mirror;
};

/// All methods are for one control thread at a time (never a poller's), and may wait for pollers. Pollers must outlive
/// the switch, ports their attachment.
class Switch {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Switch>> create(std::string name, SwitchOptions options = {});
  ~Switch();  ///< detaches what is left
  Switch(const Switch&) = delete;
  Switch& operator=(const Switch&) = delete;

  /// From its return on, the pollers of the lanes move the port's frames. Each lane is on another poller; a frame for
  /// the port takes the lane that its steering names (port/steering.hpp).
  [[nodiscard]] Result<PortId> attach(std::span<const Lane> lanes, PortConfig config);
  /// A port whose queues are all on one poller.
  [[nodiscard]] Result<PortId> attach(port::Port& port, runtime::Poller& poller, PortConfig config);
  /// When it returns, no poller touches the port any more. Mirrors of it and to it end before.
  [[nodiscard]] Result<void> detach(PortId id);
  /// Changes the VLAN rules of an attached port; addresses learnt from it are forgotten.
  [[nodiscard]] Result<void> set_vlan(PortId id, VlanConfig vlan);
  /// Changes PortConfig::max_frame of an attached port.
  [[nodiscard]] Result<void> set_max_frame(PortId id, std::uint32_t bytes);
  /// Changes PortConfig::limits of an attached port. What has changed begins with a burst.
  [[nodiscard]] Result<void> set_limits(PortId id, const Limits& limits);
  /// Changes PortConfig::filtered_groups of an attached port.
  [[nodiscard]] Result<void> set_filtered_groups(PortId id, std::uint16_t groups);
  /// Changes PortConfig::weight of an attached port.
  [[nodiscard]] Result<void> set_weight(PortId id, std::uint32_t weight);
  /// Changes PortConfig::sources of an attached port.
  [[nodiscard]] Result<void> set_sources(PortId id, std::optional<SourceRules> sources);
  /// Changes PortConfig::isolation of an attached port.
  [[nodiscard]] Result<void> set_isolation(PortId id, std::string group);
  /// Changes PortConfig::stations of an attached port.
  [[nodiscard]] Result<void> set_stations(PortId id, std::vector<Station> stations);
  /// Copies the frames of an attached port to another, or does so no longer. A destination is out of the network
  /// meanwhile, as that of a switch's SPAN is: it gets copies and nothing else, and what it sends is dropped. Its VLANs
  /// and stations hold again when the last mirror to it is gone. A copy that finds no room, here or there, is dropped
  /// and counted. Refused: a port to itself, a destination that is mirrored, a source that is a destination, more than
  /// kMaxMirrors destinations.
  [[nodiscard]] Result<void> set_mirror(PortId id, std::optional<Mirror> mirror);
  /// These rules hold from now on, and no others; in their order. Names of ports are looked up as ports come and go: a
  /// port that comes is bound by its rules before it sends or gets a frame. A destination of copies is out of the
  /// network as that of a mirror is. Refused, and nothing has changed: more than kMaxRules, a name twice, rules that
  /// look at more than 512 different sets of fields, actions of the way in on the way out, too many destinations of
  /// copies.
  [[nodiscard]] Result<void> set_rules(std::vector<Rule> rules);
  /// Whether set_rules() would take them.
  [[nodiscard]] Result<void> may_have_rules(const std::vector<Rule>& rules) const;
  /// Since it is there; of a rule that is not, none.
  [[nodiscard]] RuleHits rule_hits(const std::string& name) const;
  /// The capture of that number, below kMaxCaptures, sees the frames of these ports from now on, and of no others; of
  /// none: when it returns, no poller touches its taps any more. `taps`: one for each poller whose lanes are to be
  /// seen; they are taken when the first ports are named. Ports that are not attached any more are passed over.
  void set_capture(std::size_t number, const std::vector<PortId>& ports, const std::vector<PollerTap>& taps);
  /// While it is held it asks no port for frames and gives none any: what ports have waits in them. For whoever
  /// attaches ports that are not all ready yet, and has them go on together.
  void hold(bool is_held);
  /// Changes what frames are kept on one link, and for how long addresses are known: from now on, for those that are
  /// known already. Ports and the table's capacity stay.
  [[nodiscard]] Result<void> set_options(std::uint32_t ageing_seconds, std::uint16_t forwarded_groups);
  /// Forgets the addresses that were learnt (not the static ones), all or those of a port. Frames for them go
  /// everywhere until they are heard again. How many there were.
  std::size_t flush(std::optional<PortId> id = std::nullopt);

  [[nodiscard]] const std::string& name() const noexcept;
  [[nodiscard]] std::vector<PortInfo> ports() const;
  [[nodiscard]] std::vector<MacEntry> mac_table() const;
  /// How long turns took: from asking a port for frames until those are with their receivers, or on their way to other
  /// pollers. Of one turn in kTurnsPerSample (turn_times.hpp).
  [[nodiscard]] TurnReport turns() const noexcept;

 private:
  struct Impl;
  explicit Switch(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vmux::switching

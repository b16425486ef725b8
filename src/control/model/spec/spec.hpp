// SPDX-License-Identifier: BSD-3-Clause
// What a user asks for: plain values, from flags, a file or a call alike. Nothing live.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/accounts.hpp"
#include "control/model/spec/rule_values.hpp"
#include "control/model/spec/values.hpp"
#include "control/rpc/roles.hpp"

namespace vmux::control {

/// The switch that is always there; ports that name no other join it.
inline constexpr const char* kDefaultSwitch = "default";

/// Which VLANs a port of a switch carries, and how. None of these: it is not VLAN aware, frames pass as they are, all
/// in one domain.
struct VlanSpec {
  std::optional<std::uint16_t> access;                   ///< untagged outside, this VLAN inside
  std::optional<std::vector<VlanRange>> trunk;           ///< tagged: these, and no others
  std::optional<std::uint16_t> native;                   ///< of a trunk: untagged frames belong to this VLAN
  std::vector<switching::VlanTranslation> translations;  ///< of a trunk: these have other numbers in the switch
  std::optional<bool> service_tags;                      ///< of a trunk: its tags are of 802.1ad
  std::vector<switching::ServiceVlan> services;          ///< a customer's port: its tags are kept behind one of these
  [[nodiscard]] bool is_aware() const noexcept {
    return access || trunk || !translations.empty() || service_tags.value_or(false) || !services.empty();
  }
  friend bool operator==(const VlanSpec&, const VlanSpec&) = default;
};

/// The VLAN of a station behind a port; 0: that of untagged frames where it has no number.
[[nodiscard]] inline std::uint16_t vlan_of(const StaticMac& station, const VlanSpec& port) noexcept {
  return station.vlan.value_or(port.access.value_or(port.native.value_or(0)));
}

/// Who may connect to a socket, as chmod(2) and chown(2) have it.
struct SocketAccess {
  std::optional<Account> owner, group;  ///< those of this process when not given
  std::optional<unsigned> mode;         ///< kSocketMode when not given
};
inline constexpr unsigned kSocketMode = 0600;
[[nodiscard]] inline std::optional<std::uint32_t> id_of(const std::optional<Account>& account) {
  return account ? std::optional{account->id} : std::nullopt;
}

/// How a guest's doorbells arrive: read from mapped memory by the poller, or each as a message.
enum class Doorbell : unsigned char { poll, trap };

/// The operator's end of a port's cable.
enum class Link : unsigned char { up, down };

struct SwitchSpec {
  std::string name;
  unsigned mac_age_s = 300;         ///< seconds after which a silent address is forgotten
  bool forward_bpdu = true;         ///< spanning tree's frames pass
  unsigned group_forward_mask = 0;  ///< bit n: frames to 01-80-C2-00-00-0n pass too; bits 2 to 15
};

struct PortSpec {
  std::string name;
  std::string model;                         ///< as the catalogue names it
  std::optional<std::string> transport;      ///< how a VM reaches it; the model's first when not given
  std::string socket;                        ///< path
  std::optional<bool> connect;               ///< the VMM listens there; transports that can be let in only
  SocketAccess access;                       ///< to it; the daemon's where not given
  std::string switch_name = kDefaultSwitch;  ///< emptied for a model that has no side on a switch
  std::optional<MacAddress> mac;             ///< derived from the base MAC when not given
  VlanSpec vlan;
  std::vector<StaticMac> static_macs;  ///< stations behind it, whoever else is heard with their addresses
  std::optional<MirrorTo> mirror;      ///< who gets copies of its frames
  std::optional<switching::Limit> limit_in, limit_out;  ///< of what it sends, and of what it gets
  std::optional<switching::Limit> limit_flood;          ///< of what it sends to all or to nobody known
  std::optional<std::string> isolation;                 ///< a group whose ports get nothing from each other
  std::optional<unsigned> weight;                       ///< its part of a limit that is shared; 1 when not given
  std::optional<unsigned> group_filter_mask;            ///< bit n: no frames to 01-80-C2-00-00-0n, either way
  std::optional<bool> anti_spoof;      ///< it sends with its own addresses alone: those of `mac` and `static_macs`,
  std::vector<IpAddress> addresses;    ///< and these, if there are any
  std::optional<Link> link;            ///< up when not given
  std::optional<std::uint16_t> mtu;    ///< bytes behind headers and tags; as long as the NIC takes when not given
  std::optional<Doorbell> doorbell;    ///< the daemon's when not given, else the model's
  std::optional<unsigned> poller;      ///< index; the least loaded when not given
  std::optional<unsigned> queues;      ///< models with several queues only
  std::optional<std::string> device;   ///< PCI address, models that use hardware only
  std::optional<std::string> variant;  ///< one of the model's; its first when not given
};

struct UplinkSpec {
  std::string name;
  std::string switch_name = kDefaultSwitch;
  std::string backend;                ///< as the catalogue names it
  std::optional<std::string> device;  ///< tap: interface name; dpdk: EAL device argument
  unsigned queues = 1;
  VlanSpec vlan;
  std::optional<MirrorTo> mirror;
  std::optional<switching::Limit> limit_in, limit_out, limit_flood;
  std::optional<bool> fair_share;             ///< limit_out is shared by who sends to it, and nothing is dropped for it
  std::optional<unsigned> group_filter_mask;  ///< as a PortSpec's
  std::optional<unsigned> poller;
};

/// A rule of a switch (switch/rules/rule.hpp).
struct RuleSpec {
  std::string name;
  std::string switch_name = kDefaultSwitch;
  std::optional<std::string> port;  ///< a port or an uplink, which need not be there; all when not given
  switching::RuleWay way = switching::RuleWay::in;
  unsigned priority = 100;
  // What a frame must be:
  std::optional<MacMatch> src_mac, dst_mac;
  std::optional<EtherType> ethertype;
  std::optional<std::uint16_t> vlan;  ///< in the switch
  std::optional<IpPrefix> src_ip, dst_ip;
  std::optional<IpProtocol> protocol;
  std::optional<switching::L4Ports> src_port, dst_port;
  std::optional<unsigned> dscp, mark;
  // What becomes of it:
  RuleActionWord action = RuleActionWord::allow;
  std::optional<std::string> redirect, mirror;  ///< as `port`
  std::optional<unsigned> set_mark, set_vlan, set_dscp;
};

/// The kinds of objects that can be added and removed, those that others belong to first (kinds.hpp).
/// Rules are there before the ports that they are about.
using ObjectSpecs = std::tuple<SwitchSpec, RuleSpec, UplinkSpec, PortSpec>;

/// How pollers run and idle.
struct PollersSpec {
  unsigned count = 0;          ///< 0: one for each of `cpus`, or one
  std::vector<unsigned> cpus;  ///< empty, or one for each poller
  bool busy = false;           ///< never sleep
  std::uint64_t spin_us = 50;
  std::optional<std::uint64_t> min_sleep_us;  ///< kMinSleepUs, or max_sleep_us if that is less, when not given
  std::uint64_t max_sleep_us = 1000;
  std::uint64_t linger_us = 100;
  std::optional<std::uint64_t> keep_awake_us;  ///< 0: never; kKeepAwakeUs in a virtual machine, else 0, when not given
};
inline constexpr unsigned kMaxPollers = 64;
inline constexpr std::uint64_t kKeepAwakeUs = 1000;
inline constexpr std::uint64_t kMinSleepUs = 20;

/// What holds for the whole daemon.
struct DaemonSpec {
  std::optional<std::string> rpc;  ///< path of the RPC socket, "none" for no socket
  SocketAccess rpc_access;
  RolesSpec roles;           ///< who may do what of those who may connect to it
  SocketAccess port_access;  ///< of ports that do not say
  LogLevel log_level = LogLevel::info;
  std::optional<std::string> log_format;  ///< "text", "json", "journal" or "auto", which holds when not given
  std::optional<MacAddress> base_mac;     ///< derived from the machine when not given
  std::optional<Doorbell> doorbell;       ///< each model's own when not given
  PollersSpec pollers;
};

[[nodiscard]] inline const char* to_text(Doorbell doorbell) noexcept {
  return doorbell == Doorbell::poll ? "poll" : "trap";
}
[[nodiscard]] inline const char* to_text(Link link) noexcept { return link == Link::up ? "up" : "down"; }

}  // namespace vmux::control

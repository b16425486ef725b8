// SPDX-License-Identifier: BSD-3-Clause
// The tables of options. docs/configuration.md and the manual pages have sections that are written from them.
#include "control/model/spec/kinds.hpp"

#include <algorithm>
#include <array>

#include "base/text/format.hpp"

namespace vmux::control {
namespace {

constexpr std::uint64_t kMaxMacAge = 86'400;  // seconds; IEEE 802.1Q 8.8.3 allows up to 1 000 000
constexpr std::uint64_t kMaxQueues = 256;
constexpr std::uint64_t kMaxMicroseconds = 1'000'000;
constexpr std::uint64_t kMinMtu = 68, kMaxMtu = 65'535;  // bytes; RFC 791: what every link must carry whole

constexpr OptionText kName{"name", Form::name, "NAME", "its name", nullptr};
constexpr OptionText kSwitch = live({"switch", Form::name, "SWITCH", "switch to join", kDefaultSwitch});
constexpr OptionText kVlan =
    live({"vlan", Form::number, "N", "access port of this VLAN: untagged outside", "", nullptr, 1, kMaxVlan});
constexpr OptionText kTrunk =
    live({"trunk", Form::vlans, "LIST", "trunk: VLANs that pass tagged, 10,20-30 or all", ""});
constexpr OptionText kNative =
    live({"native", Form::number, "N", "trunk: VLAN of untagged frames", "", nullptr, 1, kMaxVlan});
// Whoever listens sees what others say.
constexpr OptionText kMirror = for_admins(live(
    {"mirror", Form::mirror, "NAME[:in|out|both]",
     "who gets copies of the frames that it sends (in), gets (out) or both; a port or uplink of its switch, which is "
     "out of the network meanwhile",
     ""}));
constexpr OptionText kLimitIn = live(
    {"limit_in", Form::limit, "RATE[,RATEpps][,burst=BYTES]",
     "of what it sends into the switch: bits (100M) and frames (20kpps) per second; what is more waits in it", ""});
constexpr OptionText kLimitOut =
    live({"limit_out", Form::limit, "RATE[,RATEpps][,burst=BYTES]", "of what it gets: what is more is dropped", ""});
constexpr OptionText kLimitFlood = live({"limit_flood", Form::limit, "RATE[,RATEpps][,burst=BYTES]",
                                         "storm control: of what it sends to all, to groups or to stations that nobody "
                                         "knows; what is more is dropped",
                                         ""});
constexpr OptionText kTranslations =
    live({"vlan_map", Form::translations, "VLANS:VLAN,...",
          "trunk: VLANs of the port that have other numbers in the switch, both ways, such as 10:100,20-29:200", ""});
constexpr OptionText kServiceTags =
    live({"service_tags", Form::flag, "true|false",
          "trunk: its tags are of 802.1ad (type 0x88a8), and others belong to whoever is "
          "behind it",
          "false"});
constexpr OptionText kServices = live(
    {"qinq", Form::services, "[VLANS:]VLAN,...",
     "a customer's port: its own tags are kept behind the tag of this VLAN, or of the first that has theirs (0: none)",
     ""});
constexpr OptionText kGroupFilter =
    live({"group_filter_mask", Form::number, "MASK",
          "bit n: frames to 01-80-C2-00-00-0n neither enter nor leave here, whatever the switch lets pass, such as "
          "0x4000 for LLDP",
          "0", nullptr, 0, 0xffff});
constexpr OptionText kPoller{"poller",           Form::number, "N", "poller to run on",
                             "the least loaded", nullptr,      0,   kMaxPollers - 1};

// --- switches ---

constexpr auto kSwitchOptions = std::to_array<Option<SwitchSpec>>({
    option<&SwitchSpec::name>(kName),
    option<&SwitchSpec::mac_age_s>(
        live({"mac_age_s", Form::number, "SECONDS", "forget a silent address after this long", "300", "--mac-age", 1,
              kMaxMacAge})),
    option<&SwitchSpec::forward_bpdu>(
        live({"forward_bpdu", Form::flag, "true|false", "let spanning tree's frames pass", "true"})),
    option<&SwitchSpec::group_forward_mask>(
        live({"group_forward_mask", Form::number, "MASK",
              "bit n, from 2 to 15: let frames to 01-80-C2-00-00-0n pass, such as 0x4000 for LLDP", "0", nullptr, 0,
              0xffff})),
});

// IEEE 802.1Q table 8-1: 01-80-C2-00-00-00 has an option of its own, and -01 (pause) never passes.
Outcome<> check_switch(const SwitchSpec& spec) {
  if ((spec.group_forward_mask & 3) == 0) return {};
  return refuse(ProblemKind::invalid, "group_forward_mask",
                "expected bits 2 to 15 alone: bit 0 is forward_bpdu, and pause frames (bit 1) never pass");
}

constexpr Kind<SwitchSpec> kSwitchKind{"switch", "a switch", Role::operate, true, false, kSwitchOptions, check_switch};

// --- uplinks and ports ---

Outcome<> check_vlan(const VlanSpec& vlan) {
  if (vlan.access && (vlan.trunk || vlan.native)) {
    return refuse(ProblemKind::invalid, "vlan", "excludes trunk and native: a port is an access port or a trunk");
  }
  if (vlan.native && !vlan.trunk) {
    return refuse(ProblemKind::invalid, "native", "goes with trunk only; an access port has vlan");
  }
  if (vlan.access && (!vlan.translations.empty() || vlan.service_tags.value_or(false))) {
    return refuse(ProblemKind::invalid, vlan.translations.empty() ? "service_tags" : "vlan_map",
                  "goes with trunks only; an access port has no tags");
  }
  const bool has_others = vlan.access || vlan.trunk || !vlan.translations.empty() || vlan.service_tags.value_or(false);
  if (!vlan.services.empty() && has_others) {
    return refuse(ProblemKind::invalid, "qinq",
                  "excludes vlan, trunk, vlan_map and service_tags: all tags are the customer's");
  }
  return {};
}

Outcome<> check_uplink(const UplinkSpec& spec) {
  if (spec.fair_share.value_or(false) && !spec.limit_out) {
    return refuse(ProblemKind::invalid, "fair_share", "goes with limit_out only, which is what is shared");
  }
  return check_vlan(spec.vlan);
}

Outcome<> check_port(const PortSpec& spec) {
  if (!spec.addresses.empty() && !spec.anti_spoof.value_or(false)) {
    return refuse(ProblemKind::invalid, "addresses", "goes with anti_spoof only, by which they are checked");
  }
  return check_vlan(spec.vlan);
}

constexpr auto kUplinkOptions = std::to_array<Option<UplinkSpec>>({
    option<&UplinkSpec::name>(kName),
    option<&UplinkSpec::switch_name>(kSwitch),
    option<&UplinkSpec::backend>(
        {"backend", Form::text, "BACKEND", "tap, null, dpdk, ...: see `vmuxctl backends`", nullptr}),
    option<&UplinkSpec::device>({"device", Form::text, "DEVICE", "tap: interface; dpdk: EAL device argument", ""}),
    option<&UplinkSpec::queues>(
        {"queues", Form::number, "N", "queues, spread over pollers", "1", nullptr, 1, kMaxQueues}),
    option<&UplinkSpec::vlan, &VlanSpec::access>(kVlan),
    option<&UplinkSpec::vlan, &VlanSpec::trunk>(kTrunk),
    option<&UplinkSpec::vlan, &VlanSpec::native>(kNative),
    option<&UplinkSpec::vlan, &VlanSpec::translations>(kTranslations),
    option<&UplinkSpec::vlan, &VlanSpec::service_tags>(kServiceTags),
    option<&UplinkSpec::vlan, &VlanSpec::services>(kServices),
    option<&UplinkSpec::mirror>(kMirror),
    option<&UplinkSpec::limit_in>(kLimitIn),
    option<&UplinkSpec::limit_out>(kLimitOut),
    option<&UplinkSpec::limit_flood>(kLimitFlood),
    option<&UplinkSpec::fair_share>(live(
        {"fair_share", Form::flag, "true|false",
         "limit_out is shared by all who send to it, by their weights: what is more waits in them, and is not dropped",
         "false"})),
    option<&UplinkSpec::group_filter_mask>(kGroupFilter),
    option<&UplinkSpec::poller>(kPoller),
});
constexpr Kind<UplinkSpec> kUplinkKind{
    "uplink",    "an uplink: a switch's way to the host or a NIC", Role::admin, false, false, kUplinkOptions,
    check_uplink};

constexpr auto kPortOptions = std::to_array<Option<PortSpec>>({
    option<&PortSpec::name>(kName),
    option<&PortSpec::model>({"model", Form::text, "MODEL", "device model: see `vmuxctl models`", nullptr}),
    option<&PortSpec::transport>({"transport", Form::text, "TRANSPORT", "how the VM reaches it: see `vmuxctl models`",
                                  "the model's first, vfio-user"}),
    option<&PortSpec::socket>({"socket", Form::path, "PATH", "where the VMM connects", nullptr}),
    option<&PortSpec::connect>({"connect", Form::flag, "true|false",
                                "the VMM listens at the socket, and vMux connects (vhost-user only)", "false"}),
    option<&PortSpec::access, &SocketAccess::owner>({"socket_owner", Form::user, "USER",
                                                     "owner of the socket, such as the VMM's user, by name or number",
                                                     "the daemon's"}),
    option<&PortSpec::access, &SocketAccess::group>(
        {"socket_group", Form::group, "GROUP", "group of the socket", "the daemon's"}),
    option<&PortSpec::access, &SocketAccess::mode>({"socket_mode", Form::mode, "MODE",
                                                    "permissions of the socket, octal, such as 0660",
                                                    "the daemon's, else 0600"}),
    option<&PortSpec::switch_name>(kSwitch),
    option<&PortSpec::mac>(live({"mac", Form::mac, "MAC", "address of the NIC", "derived from the base MAC"})),
    option<&PortSpec::vlan, &VlanSpec::access>(kVlan),
    option<&PortSpec::vlan, &VlanSpec::trunk>(kTrunk),
    option<&PortSpec::vlan, &VlanSpec::native>(kNative),
    option<&PortSpec::vlan, &VlanSpec::translations>(kTranslations),
    option<&PortSpec::vlan, &VlanSpec::service_tags>(kServiceTags),
    option<&PortSpec::vlan, &VlanSpec::services>(kServices),
    option<&PortSpec::static_macs>(
        live({"static_macs", Form::static_macs, "MAC[@VLAN],...",
              "stations that are behind it, whoever else is heard with their addresses", ""})),
    option<&PortSpec::mirror>(kMirror),
    option<&PortSpec::limit_in>(kLimitIn),
    option<&PortSpec::limit_out>(kLimitOut),
    option<&PortSpec::limit_flood>(kLimitFlood),
    option<&PortSpec::weight>(live({"weight", Form::number, "N",
                                    "its part of what an uplink with fair_share lets pass, beside those of others", "1",
                                    nullptr, 1, switching::kMaxWeight})),
    option<&PortSpec::group_filter_mask>(kGroupFilter),
    option<&PortSpec::isolation>(
        live({"isolation", Form::name, "GROUP",
              "ports of a group get nothing from each other, and talk to all that are not in it", ""})),
    option<&PortSpec::anti_spoof>(
        live({"anti_spoof", Form::flag, "true|false",
              "drop what it sends with a MAC that is neither its own nor among static_macs", "false"})),
    option<&PortSpec::addresses>(
        live({"addresses", Form::addresses, "IP,...",
              "with anti_spoof: its IP addresses; what it sends with others, as a router or as "
              "a DHCP server is dropped",
              "any"})),
    option<&PortSpec::link>(live({"link", Form::link, "up|down", "the cable: whether the guest sees a link", "up"})),
    option<&PortSpec::mtu>(
        live({"mtu", Form::number, "BYTES", "frames with more behind their headers and tags are dropped, both ways",
              "what the NIC takes", nullptr, kMinMtu, kMaxMtu})),
    option<&PortSpec::doorbell>(
        {"doorbell", Form::doorbell, "poll|trap", "how the guest rings", "the daemon's, else the model's"}),
    option<&PortSpec::queues>(
        {"queues", Form::number, "N", "queue pairs (models with several only)", "the model's", nullptr, 1, kMaxQueues}),
    option<&PortSpec::variant>({"variant", Form::text, "VARIANT", "of the model: see `vmuxctl models`", "its first"}),
    option<&PortSpec::device>(
        {"device", Form::text, "PCI", "physical function behind it (models that use one only)", ""}),
    option<&PortSpec::poller>(kPoller),
});
constexpr Kind<PortSpec> kPortKind{
    "port", "a port: one NIC for one VM", Role::operate, false, true, kPortOptions, [](const PortSpec& spec) {
      return check_port(spec);
    }};

// --- rules ---

constexpr std::uint64_t kMaxDscp = 63, kMaxMark = 255, kMaxPriority = 65'535;

constexpr auto kRuleOptions = std::to_array<Option<RuleSpec>>({
    option<&RuleSpec::name>(kName),
    option<&RuleSpec::switch_name>({"switch", Form::name, "SWITCH", "switch whose rule it is", kDefaultSwitch}),
    option<&RuleSpec::port>(live({"port", Form::name, "NAME",
                                  "of whose frames: a port or an uplink, which may come later", "all on the switch"})),
    option<&RuleSpec::way>(
        live({"direction", Form::way, "in|out",
              "of what a port sends into the switch (in), or of what is about to be delivered to it", "in"})),
    option<&RuleSpec::priority>(
        live({"priority", Form::number, "N",
              "of rules that match a frame the one of the highest decides, alone; of equal ones the older", "100",
              nullptr, 0, kMaxPriority})),
    option<&RuleSpec::src_mac>(live({"src_mac", Form::mac_match, "MAC[/MASK]", "match: Ethernet source", "any"})),
    option<&RuleSpec::dst_mac>(live({"dst_mac", Form::mac_match, "MAC[/MASK]", "match: Ethernet destination", "any"})),
    option<&RuleSpec::ethertype>(
        live({"ethertype", Form::ethertype, "TYPE", "match: ip, ipv6, arp, lldp or a number, behind tags", "any"})),
    option<&RuleSpec::vlan>(
        live({"vlan", Form::number, "N", "match: its VLAN in the switch; 0: that of untagged frames without a number",
              "any", nullptr, 0, kMaxVlan})),
    option<&RuleSpec::src_ip>(live({"src_ip", Form::prefix, "IP[/BITS]", "match: IP source", "any"})),
    option<&RuleSpec::dst_ip>(live({"dst_ip", Form::prefix, "IP[/BITS]", "match: IP destination", "any"})),
    option<&RuleSpec::protocol>(
        live({"protocol", Form::protocol, "PROTOCOL", "match: tcp, udp, sctp, icmp, icmpv6 or a number", "any"})),
    option<&RuleSpec::src_port>(
        live({"src_port", Form::l4_ports, "N[-N]", "match: source ports of tcp, udp or sctp", "any"})),
    option<&RuleSpec::dst_port>(
        live({"dst_port", Form::l4_ports, "N[-N]", "match: destination ports of tcp, udp or sctp", "any"})),
    option<&RuleSpec::dscp>(
        live({"dscp", Form::number, "N", "match: class of service in the IP header", "any", nullptr, 0, kMaxDscp})),
    option<&RuleSpec::mark>(live({"mark", Form::number, "N", "match: what a rule on the way in has set (direction out)",
                                  "any", nullptr, 1, kMaxMark})),
    option<&RuleSpec::action>(
        live({"action", Form::rule_action, "allow|drop|count", "what becomes of it; count allows, too", "allow"})),
    // Whoever gets it sees what others say.
    option<&RuleSpec::redirect>(for_admins(live(
        {"redirect", Form::name, "NAME", "it goes to this port or uplink, and nowhere else", "where its station is"}))),
    option<&RuleSpec::mirror>(
        for_admins(live({"mirror", Form::name, "NAME",
                         "a copy goes to this port or uplink, which is out of the network meanwhile", ""}))),
    option<&RuleSpec::set_mark>(live({"set_mark", Form::number, "N", "it gets this mark, for rules of direction out",
                                      "none", nullptr, 1, kMaxMark})),
    option<&RuleSpec::set_vlan>(
        live({"set_vlan", Form::number, "N", "it is in this VLAN from here on", "as it is", nullptr, 1, kMaxVlan})),
    option<&RuleSpec::set_dscp>(live({"set_dscp", Form::number, "N", "its IP header asks for this class of service",
                                      "as it is", nullptr, 0, kMaxDscp})),
});

Outcome<> check_rule_match(const RuleSpec& spec) {
  const auto has_ports = [&spec] {
    constexpr std::array kWithPorts{6, 17, 132};  // TCP, UDP, SCTP
    return spec.protocol && std::find(kWithPorts.begin(), kWithPorts.end(), spec.protocol->number) != kWithPorts.end();
  };
  if ((spec.src_port || spec.dst_port) && !has_ports()) {
    return refuse(ProblemKind::invalid, spec.src_port ? "src_port" : "dst_port",
                  "goes with protocol tcp, udp or sctp only");
  }
  if (spec.src_ip && spec.dst_ip && spec.src_ip->address.is_v6 != spec.dst_ip->address.is_v6) {
    return refuse(ProblemKind::invalid, "dst_ip", "is of another IP version than src_ip");
  }
  const auto& address = spec.src_ip ? spec.src_ip : spec.dst_ip;
  const std::uint16_t type = !address                 ? std::uint16_t{0}
                             : address->address.is_v6 ? std::uint16_t{0x86dd}
                                                      : std::uint16_t{0x0800};
  const bool is_ip = spec.ethertype && (spec.ethertype->number == 0x0800 || spec.ethertype->number == 0x86dd);
  const bool looks_at_ip = address || spec.protocol || spec.dscp;
  if (spec.ethertype && looks_at_ip && (!is_ip || (type != 0 && spec.ethertype->number != type))) {
    return refuse(ProblemKind::invalid, "ethertype", "no such frame has the IP header that the rule looks at");
  }
  return {};
}

Outcome<> check_rule(const RuleSpec& spec) {
  const char* const only_in = spec.redirect   ? "redirect"
                              : spec.mirror   ? "mirror"
                              : spec.set_mark ? "set_mark"
                              : spec.set_vlan ? "set_vlan"
                              : spec.set_dscp ? "set_dscp"
                                              : nullptr;
  if (spec.way == switching::RuleWay::out && only_in != nullptr) {
    return refuse(ProblemKind::invalid, only_in,
                  "goes with direction in only; on the way out frames are allowed or dropped");
  }
  if (spec.way == switching::RuleWay::in && spec.mark) {
    return refuse(ProblemKind::invalid, "mark", "goes with direction out only: rules of direction in set it");
  }
  const bool leaves = spec.action != RuleActionWord::drop;
  if (!leaves && only_in != nullptr && !spec.mirror) {
    return refuse(ProblemKind::invalid, only_in, "does not go with action drop");
  }
  return check_rule_match(spec);
}

constexpr Kind<RuleSpec> kRuleKind{"rule", "a rule of a switch", Role::operate, false, false, kRuleOptions, check_rule};

// --- the daemon ---

constexpr auto kDaemonOptions = std::to_array<Option<DaemonSpec>>({
    option<&DaemonSpec::rpc>(
        {"rpc", Form::text, "PATH", "RPC socket for vmuxctl, or none", "$VMUX_RPC or /run/vmux/vmux.sock"}),
    option<&DaemonSpec::rpc_access, &SocketAccess::owner>(
        {"rpc_owner", Form::user, "USER", "owner of the RPC socket", "as vmux"}),
    option<&DaemonSpec::rpc_access, &SocketAccess::group>(
        {"rpc_group", Form::group, "GROUP", "group of the RPC socket", "as vmux"}),
    option<&DaemonSpec::rpc_access, &SocketAccess::mode>(
        {"rpc_mode", Form::mode, "MODE",
         "permissions of the RPC socket, octal; who may write to it may do what its role allows", "0600"}),
    option<&DaemonSpec::roles, &RolesSpec::read>(
        {"rpc_read", Form::members, "WHO", "who of those may look: user:NAME, group:NAME, several by commas, or all",
         "everybody, if nobody has a role", nullptr, 0, 0, Change::reload}),
    option<&DaemonSpec::roles, &RolesSpec::operate>({"rpc_operate", Form::members, "WHO",
                                                     "who may add and remove ports and switches, too",
                                                     "everybody, if nobody has a role", nullptr, 0, 0, Change::reload}),
    option<&DaemonSpec::roles, &RolesSpec::admin>({"rpc_admin", Form::members, "WHO",
                                                   "who may change uplinks and the daemon, too",
                                                   "everybody, if nobody has a role", nullptr, 0, 0, Change::reload}),
    option<&DaemonSpec::port_access, &SocketAccess::owner>(
        {"socket_owner", Form::user, "USER",
         "owner of the ports' sockets, such as the user of the VMMs, by name or number", "as vmux"}),
    option<&DaemonSpec::port_access, &SocketAccess::group>(
        {"socket_group", Form::group, "GROUP", "group of the ports' sockets, such as kvm", "as vmux"}),
    option<&DaemonSpec::port_access, &SocketAccess::mode>(
        {"socket_mode", Form::mode, "MODE", "permissions of the ports' sockets, octal, such as 0660", "0600"}),
    option<&DaemonSpec::base_mac>({"base_mac", Form::mac, "MAC", "MAC of the first port; the following count up",
                                   "locally administered, the same after each start", "-b,--base-mac"}),
    option<&DaemonSpec::doorbell>({"doorbell", Form::doorbell, "poll|trap",
                                   "how guests ring: memory that pollers read, or a message each",
                                   "what suits the model"}),
    option<&DaemonSpec::log_level>({"log_level", Form::log_level, "LEVEL", "trace, debug, info, warning, error or off",
                                    "info", "-l,--log-level", 0, 0, Change::reload}),
    option<&DaemonSpec::log_format>({"log_format", Form::text, "FORMAT",
                                     "how its lines look: text, json, journal (fields of systemd's), or auto: the "
                                     "journal where standard error leads there, else text",
                                     "auto"}),
});

constexpr auto kPollerOptions = std::to_array<Option<PollersSpec>>({
    option<&PollersSpec::count>({"count", Form::number, "N", "threads that move frames",
                                 "one for each CPU that is named, or 1", "-p,--pollers", 1, kMaxPollers}),
    option<&PollersSpec::cpus>(
        {"cpus", Form::cpus, "LIST", "pin the pollers to these CPUs, such as 2,4-6", "not pinned", "--poller-cpus"}),
    option<&PollersSpec::busy>(
        {"busy", Form::flag, "", "pollers never sleep: for CPUs that are set aside", "false", "--poller-busy"}),
    option<&PollersSpec::spin_us>({"spin_us", Form::number, "US", "keep looking this long after the last frame", "50",
                                   "--poller-spin-us", 0, kMaxMicroseconds}),
    option<&PollersSpec::min_sleep_us>({"min_sleep_us", Form::number, "US", "first sleep when idle",
                                        "20, or max_sleep_us if that is less", "--poller-min-sleep-us", 1,
                                        kMaxMicroseconds}),
    option<&PollersSpec::max_sleep_us>({"max_sleep_us", Form::number, "US", "longest sleep when idle", "1000",
                                        "--poller-max-sleep-us", 1, kMaxMicroseconds}),
    option<&PollersSpec::linger_us>(
        {"linger_us", Form::number, "US",
         "look for the next event this long, at most, before sleeping, while that pays; 0: never", "100",
         "--poller-linger-us", 0, kMaxMicroseconds}),
    option<&PollersSpec::keep_awake_us>(
        {"keep_awake_us", Form::number, "US",
         "let no idle CPU halt for this long after the last frame; 0: never ask for that",
         "1000 in a virtual machine, else 0", "--poller-keep-awake-us", 0, kMaxMicroseconds}),
});

template <class Spec>
std::vector<const OptionText*> texts_of(std::span<const Option<Spec>> options) {
  std::vector<const OptionText*> texts;
  for (const Option<Spec>& option : options)
    texts.push_back(&option.text);
  return texts;
}

}  // namespace

template <>
const Kind<SwitchSpec>& kind_of() noexcept {
  return kSwitchKind;
}
template <>
const Kind<RuleSpec>& kind_of() noexcept {
  return kRuleKind;
}
template <>
const Kind<UplinkSpec>& kind_of() noexcept {
  return kUplinkKind;
}
template <>
const Kind<PortSpec>& kind_of() noexcept {
  return kPortKind;
}

std::span<const Option<DaemonSpec>> daemon_options() noexcept { return kDaemonOptions; }
std::span<const Option<PollersSpec>> poller_options() noexcept { return kPollerOptions; }

std::vector<KindText> object_kinds() {
  std::vector<KindText> kinds;
  for_each_kind([&kinds]<class Spec>() {
    const Kind<Spec>& kind = kind_of<Spec>();
    kinds.push_back({kind.name, kind.what, texts_of(kind.options)});
  });
  return kinds;
}

std::vector<KindText> setting_tables() {
  return {{"daemon", "the daemon itself", texts_of(daemon_options())},
          {"pollers", "the threads that move frames", texts_of(poller_options())}};
}

}  // namespace vmux::control

// SPDX-License-Identifier: BSD-3-Clause
// What rules and VLANs of a port are written with, to values and back. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/text/text.hpp"
#include "switch/switch.hpp"

namespace vmux::control {

using vmux::Parsed;
using vmux::to_text;

/// "02:00:00:00:00:01", or with the bits that count behind it: "02:00:00:00:00:00/ff:ff:ff:00:00:00".
struct MacMatch {
  MacAddress mac{}, mask{};
  friend bool operator==(const MacMatch&, const MacMatch&) = default;
};
[[nodiscard]] Parsed<MacMatch> parse_mac_match(std::string_view text);
[[nodiscard]] std::string to_text(const MacMatch& match);

/// "10.0.0.0/8", "fd00::/64", or one address. No bit behind the prefix is set.
struct IpPrefix {
  IpAddress address;
  unsigned bits = 0;
  friend bool operator==(const IpPrefix&, const IpPrefix&) = default;
};
[[nodiscard]] Parsed<IpPrefix> parse_prefix(std::string_view text);
[[nodiscard]] std::string to_text(const IpPrefix& prefix);

/// "80" or "1000-1999".
[[nodiscard]] Parsed<switching::L4Ports> parse_l4_ports(std::string_view text);
[[nodiscard]] std::string to_text(const switching::L4Ports& ports);

/// "arp", "ip", "ipv6", "lldp" or a number such as 0x8863, from 0x0600 on.
struct EtherType {
  std::uint16_t number = 0;
  friend bool operator==(const EtherType&, const EtherType&) = default;
};
[[nodiscard]] Parsed<EtherType> parse_ethertype(std::string_view text);
[[nodiscard]] std::string to_text(const EtherType& type);

/// "tcp", "udp", "sctp", "icmp", "icmpv6" or a number from 1 to 254.
struct IpProtocol {
  std::uint8_t number = 0;
  friend bool operator==(const IpProtocol&, const IpProtocol&) = default;
};
[[nodiscard]] Parsed<IpProtocol> parse_ip_protocol(std::string_view text);
[[nodiscard]] std::string to_text(const IpProtocol& protocol);

/// What becomes of a frame. `count` is `allow` for who only wants to know how many there are.
enum class RuleActionWord : unsigned char { allow, drop, count };
[[nodiscard]] Parsed<RuleActionWord> parse_rule_action(std::string_view text);
[[nodiscard]] std::string to_text(RuleActionWord action);

[[nodiscard]] Parsed<switching::RuleWay> parse_rule_way(std::string_view text);
[[nodiscard]] std::string to_text(switching::RuleWay way);

/// "10:100,20-29:200": VLANs of the port, and the first of as many in the switch.
[[nodiscard]] Parsed<std::vector<switching::VlanTranslation>> parse_translations(std::string_view text);
[[nodiscard]] std::string to_text(const std::vector<switching::VlanTranslation>& list);

/// "100", or by customers' VLANs (0: frames without a tag): "10-19:100,20:200,300".
[[nodiscard]] Parsed<std::vector<switching::ServiceVlan>> parse_services(std::string_view text);
[[nodiscard]] std::string to_text(const std::vector<switching::ServiceVlan>& list);

}  // namespace vmux::control

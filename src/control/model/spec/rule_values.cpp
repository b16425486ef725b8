// SPDX-License-Identifier: BSD-3-Clause
#include "control/model/spec/rule_values.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/text/format.hpp"

namespace vmux::control {
namespace {

constexpr unsigned kLastVlan = 4094;
constexpr std::size_t kMostItems = 256;

constexpr MacAddress kWholeMac{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

template <class T>
struct Named {
  std::string_view name;
  T value;
};
constexpr auto kEtherTypes =
    std::to_array<Named<std::uint16_t>>({{"ip", 0x0800}, {"arp", 0x0806}, {"ipv6", 0x86dd}, {"lldp", 0x88cc}});
constexpr auto kProtocols =
    std::to_array<Named<std::uint8_t>>({{"icmp", 1}, {"tcp", 6}, {"udp", 17}, {"icmpv6", 58}, {"sctp", 132}});
constexpr auto kActions = std::to_array<Named<RuleActionWord>>(
    {{"allow", RuleActionWord::allow}, {"drop", RuleActionWord::drop}, {"count", RuleActionWord::count}});
constexpr auto kWays =
    std::to_array<Named<switching::RuleWay>>({{"in", switching::RuleWay::in}, {"out", switching::RuleWay::out}});

template <class T, std::size_t N>
std::optional<T> find(const std::array<Named<T>, N>& rows, std::string_view name) {
  for (const Named<T>& row : rows) {
    if (row.name == name) return row.value;
  }
  return std::nullopt;
}
template <class T, std::size_t N>
std::string_view name_of(const std::array<Named<T>, N>& rows, T value) {
  for (const Named<T>& row : rows) {
    if (row.value == value) return row.name;
  }
  return {};
}

std::optional<std::uint64_t> parse_hex_or_decimal(std::string_view text, std::uint64_t most) {
  if (text.substr(0, 2) != "0x") return parse_number(text, most);
  std::uint64_t number = 0;
  for (const char c : text.substr(2)) {
    const std::string_view kDigits = "0123456789abcdef";
    const std::size_t digit = kDigits.find(c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c);
    if (digit == std::string_view::npos || number > most) return std::nullopt;
    number = number * 16 + digit;
  }
  return text.size() > 2 && number <= most ? std::optional{number} : std::nullopt;
}

bool has_bits_behind(const IpAddress& address, unsigned bits) {
  const unsigned all = address.is_v6 ? 128 : 32;
  for (unsigned bit = bits; bit < all; ++bit) {
    if ((address.bytes[bit / 8] >> (7 - bit % 8) & 1) != 0) return true;
  }
  return false;
}

std::string span_text(unsigned first, unsigned last) {
  return first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last);
}

}  // namespace

Parsed<MacMatch> parse_mac_match(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto mac = parse_any_mac(text.substr(0, slash));
  const auto mask = slash == std::string_view::npos ? std::optional{kWholeMac} : parse_any_mac(text.substr(slash + 1));
  bool is_within = mac && mask;
  for (std::size_t i = 0; is_within && i < mac->size(); ++i)
    is_within = ((*mac)[i] & ~(*mask)[i]) == 0;
  if (is_within && *mask != MacAddress{}) return MacMatch{*mac, *mask};
  return tl::unexpected<std::string>(
      "a MAC address, or one with a mask outside which it is 0, such as 02:00:00:00:00:00/ff:ff:ff:00:00:00");
}

std::string to_text(const MacMatch& match) {
  return match.mask == kWholeMac ? to_text(match.mac) : to_text(match.mac) + '/' + to_text(match.mask);
}

Parsed<IpPrefix> parse_prefix(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string address{text.substr(0, slash)};
  IpPrefix prefix;
  prefix.address.is_v6 = address.find(':') != std::string::npos;
  prefix.bits = prefix.address.is_v6 ? 128 : 32;
  const bool is_address =
      address.find('\0') == std::string::npos &&
      ::inet_pton(prefix.address.is_v6 ? AF_INET6 : AF_INET, address.c_str(), prefix.address.bytes.data()) == 1;
  const auto bits = slash == std::string_view::npos ? std::optional<std::uint64_t>{prefix.bits}
                                                    : parse_number(text.substr(slash + 1), prefix.bits);
  if (is_address && bits && *bits != 0 && !has_bits_behind(prefix.address, static_cast<unsigned>(*bits))) {
    prefix.bits = static_cast<unsigned>(*bits);
    return prefix;
  }
  return tl::unexpected<std::string>(
      "an IP address or a prefix behind which no bit is set, such as 10.0.0.0/8 or fd00::/64");
}

std::string to_text(const IpPrefix& prefix) {
  std::array<char, INET6_ADDRSTRLEN> room{};
  ::inet_ntop(prefix.address.is_v6 ? AF_INET6 : AF_INET, prefix.address.bytes.data(), room.data(), room.size());
  const unsigned all = prefix.address.is_v6 ? 128 : 32;
  return prefix.bits == all ? std::string{room.data()} : fmt::format("{}/{}", room.data(), prefix.bits);
}

Parsed<switching::L4Ports> parse_l4_ports(std::string_view text) {
  if (const auto span = parse_span(text, 0xffff))
    return switching::L4Ports{static_cast<std::uint16_t>(span->first), static_cast<std::uint16_t>(span->second)};
  return tl::unexpected<std::string>("a port or a range of ports such as 80 or 1000-1999");
}

std::string to_text(const switching::L4Ports& ports) { return span_text(ports.first, ports.last); }

Parsed<EtherType> parse_ethertype(std::string_view text) {
  constexpr std::uint64_t kLeast = 0x600;  // IEEE 802.3 3.2.6: below it is a length
  const auto named = find(kEtherTypes, text);
  const auto number = named ? std::optional<std::uint64_t>{*named} : parse_hex_or_decimal(text, 0xffff);
  if (number && *number >= kLeast) return EtherType{static_cast<std::uint16_t>(*number)};
  return tl::unexpected<std::string>("ip, ipv6, arp, lldp or a number such as 0x8863, from 0x0600 on");
}

std::string to_text(const EtherType& type) {
  const auto name = name_of(kEtherTypes, type.number);
  return name.empty() ? fmt::format("0x{:04x}", type.number) : std::string{name};
}

Parsed<IpProtocol> parse_ip_protocol(std::string_view text) {
  const auto named = find(kProtocols, text);
  const auto number = named ? std::optional<std::uint64_t>{*named} : parse_number(text, 254);
  if (number && *number != 0) return IpProtocol{static_cast<std::uint8_t>(*number)};
  return tl::unexpected<std::string>("tcp, udp, sctp, icmp, icmpv6 or a number from 1 to 254");
}

std::string to_text(const IpProtocol& protocol) {
  const auto name = name_of(kProtocols, protocol.number);
  return name.empty() ? fmt::format("{}", protocol.number) : std::string{name};
}

Parsed<RuleActionWord> parse_rule_action(std::string_view text) {
  if (const auto action = find(kActions, text)) return *action;
  return tl::unexpected<std::string>("allow, drop or count");
}
std::string to_text(RuleActionWord action) { return std::string{name_of(kActions, action)}; }

Parsed<switching::RuleWay> parse_rule_way(std::string_view text) {
  if (const auto way = find(kWays, text)) return *way;
  return tl::unexpected<std::string>("in or out");
}
std::string to_text(switching::RuleWay way) { return std::string{name_of(kWays, way)}; }

Parsed<std::vector<switching::VlanTranslation>> parse_translations(std::string_view text) {
  std::vector<switching::VlanTranslation> list;
  for (const std::string_view part : split(text, ',')) {
    const std::size_t colon = part.find(':');
    const auto span = parse_span(part.substr(0, colon), kLastVlan);
    const std::uint64_t to =
        colon == std::string_view::npos ? 0 : parse_number(part.substr(colon + 1), kLastVlan).value_or(0);
    const bool is_good = span && span->first != 0 && to != 0 && to + span->second - span->first <= kLastVlan;
    if (!is_good || list.size() == kMostItems) {
      return tl::unexpected<std::string>(
          "VLANs of the port and the first of as many in the switch, from 1 to 4094, such as 10:100,20-29:200");
    }
    list.push_back({static_cast<std::uint16_t>(span->first), static_cast<std::uint16_t>(span->second),
                    static_cast<std::uint16_t>(to)});
  }
  return list;
}

std::string to_text(const std::vector<switching::VlanTranslation>& list) {
  std::string text;
  for (const switching::VlanTranslation& one : list)
    text += fmt::format("{}{}:{}", text.empty() ? "" : ",", span_text(one.first, one.last), one.to);
  return text;
}

Parsed<std::vector<switching::ServiceVlan>> parse_services(std::string_view text) {
  std::vector<switching::ServiceVlan> list;
  for (const std::string_view part : split(text, ',')) {
    const std::size_t colon = part.find(':');
    const bool is_for_all = colon == std::string_view::npos;
    const auto span =
        is_for_all ? std::optional{std::pair{0u, kLastVlan}} : parse_span(part.substr(0, colon), kLastVlan);
    const auto vlan = parse_number(is_for_all ? part : part.substr(colon + 1), kLastVlan);
    if (!span || !vlan || *vlan == 0 || list.size() == kMostItems) {
      return tl::unexpected<std::string>(
          "a service VLAN from 1 to 4094, or some by the customer's VLANs (0: without a tag), such as 100 or "
          "10-19:100,0:200");
    }
    list.push_back({static_cast<std::uint16_t>(span->first), static_cast<std::uint16_t>(span->second),
                    static_cast<std::uint16_t>(*vlan)});
  }
  return list;
}

std::string to_text(const std::vector<switching::ServiceVlan>& list) {
  std::string text;
  for (const switching::ServiceVlan& one : list) {
    const bool is_for_all = one.first == 0 && one.last == kLastVlan;
    text += text.empty() ? "" : ",";
    text += is_for_all ? fmt::format("{}", one.vlan) : fmt::format("{}:{}", span_text(one.first, one.last), one.vlan);
  }
  return text;
}

}  // namespace vmux::control

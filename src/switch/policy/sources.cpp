// SPDX-License-Identifier: BSD-3-Clause
#include "switch/policy/sources.hpp"

#include <algorithm>
#include <cstring>

#include "packet/bytes.hpp"

namespace vmux::switching {
namespace {

using packet::get16;
using packet::get32;
using packet::get8;
using packet::Headers;
using packet::L3;
using packet::Slice;

constexpr std::uint16_t kTypeIpv4 = 0x0800, kTypeArp = 0x0806, kTypeRarp = 0x8035, kTypeIpv6 = 0x86dd;
constexpr std::uint16_t kDhcpServer = 67, kDhcpClient = 68,
                        kDhcpv6Server = 547;  // UDP ports, RFC 2131 4.1, RFC 8415 7.2
constexpr std::uint8_t kIcmpv6 = 58;
// RFC 4861 4.1 to 4.5
constexpr std::uint8_t kRouterSolicitation = 133, kRouterAdvertisement = 134, kNeighborSolicitation = 135,
                       kNeighborAdvertisement = 136, kRedirect = 137;
constexpr std::uint8_t kSourceLinkLayer = 1, kTargetLinkLayer = 2;

template <class Address>
bool has(const std::vector<Address>& list, Slice bytes, std::size_t at) noexcept {
  return std::any_of(list.begin(), list.end(),
                     [&](const Address& one) { return std::memcmp(one.data(), bytes.data() + at, one.size()) == 0; });
}

bool is_zero(Slice bytes) noexcept {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

/// RFC 4291 2.5.6 and appendix A.
std::array<std::uint8_t, 16> link_local_of(const MacAddress& mac) noexcept {
  return {0xfe,   0x80,   0,    0,    0,      0,      0,     0, static_cast<std::uint8_t>(mac[0] ^ 2),
          mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
}

/// The port that a UDP datagram comes from; 0 of what is none, or a later fragment.
std::uint16_t udp_source(Slice bytes, const Headers& headers) noexcept {
  return headers.l4 == packet::L4::udp ? get16(bytes, headers.l4_offset) : std::uint16_t{0};
}

}  // namespace

Sources::Sources(const SourceRules& rules) : macs_(rules.macs), has_addresses_(!rules.addresses.empty()) {
  for (const MacAddress& mac : macs_)
    v6_.push_back(link_local_of(mac));
  for (const IpAddress& address : rules.addresses) {
    if (address.is_v6) {
      v6_.push_back(address.bytes);
    } else {
      v4_.push_back({address.bytes[0], address.bytes[1], address.bytes[2], address.bytes[3]});
    }
  }
}

bool Sources::allow(const packet::FrameView& view) const noexcept {
  constexpr std::size_t kSource = 6, kType = 12;
  const Slice bytes = view.header;
  if (!has(macs_, bytes, kSource)) return false;
  if (!has_addresses_ && get16(bytes, kType) == kTypeIpv4) return true;
  const auto headers = packet::parse(bytes);
  if (!headers) return false;
  switch (headers->ethertype) {
    case kTypeArp:
    case kTypeRarp:
      return allow_arp(bytes, headers->l3_offset);
    case kTypeIpv4:
      return !has_addresses_ || allow_ipv4(bytes, *headers);
    case kTypeIpv6:
      return allow_ipv6(bytes, *headers, bytes.size() == view.length);
    default:
      return true;
  }
}

// RFC 826, RFC 903: Ethernet and IPv4 alone.
bool Sources::allow_arp(Slice bytes, std::size_t at) const noexcept {
  constexpr std::size_t kSize = 28, kSenderMac = 8, kSenderIp = 14;
  constexpr std::uint32_t kEthernetIpv4 = 0x0001'0800;
  if (bytes.size() < at + kSize || get32(bytes, at) != kEthernetIpv4 || get16(bytes, at + 4) != 0x0604) return false;
  if (!has(macs_, bytes, at + kSenderMac)) return false;
  // Nobody's address is that of a probe (RFC 5227 2.1.1), and of a RARP request.
  return !has_addresses_ || is_zero(bytes.subspan(at + kSenderIp, 4)) || has(v4_, bytes, at + kSenderIp);
}

bool Sources::allow_ipv4(Slice bytes, const Headers& headers) const noexcept {
  constexpr std::size_t kSource = 12;
  if (headers.l3 != L3::ipv4) return false;
  const std::size_t at = headers.l3_offset + kSource;
  const std::uint16_t from = udp_source(bytes, headers);
  if (from == kDhcpServer) return false;
  return has(v4_, bytes, at) || (from == kDhcpClient && is_zero(bytes.subspan(at, 4)));
}

bool Sources::allow_ipv6(Slice bytes, const Headers& headers, bool is_whole) const noexcept {
  constexpr std::size_t kSource = 8;
  if (headers.l3 != L3::ipv6 || headers.protocol == Headers::kUnknown) return false;
  if (headers.protocol == kIcmpv6 && !allow_icmpv6(bytes, headers, is_whole)) return false;
  if (!has_addresses_) return true;
  if (udp_source(bytes, headers) == kDhcpv6Server) return false;
  const std::size_t at = headers.l3_offset + kSource;
  // Nobody's address is that of who looks for one, and says which groups it listens to (RFC 4862 5.4, RFC 3810 5.2.13).
  return has(v6_, bytes, at) || (headers.protocol == kIcmpv6 && is_zero(bytes.subspan(at, 16)));
}

// Neighbour discovery is never in fragments (RFC 6980), so that it can be looked at.
bool Sources::allow_icmpv6(Slice bytes, const Headers& headers, bool is_whole) const noexcept {
  constexpr std::size_t kTarget = 8, kTargetEnd = 24, kSource = 8;
  const std::size_t at = headers.payload_offset;
  if (headers.is_fragment || bytes.size() < at + 4) return false;
  switch (get8(bytes, at)) {
    case kRouterSolicitation:
      return allow_link_layer_options(bytes, is_whole, at + 8);
    case kRouterAdvertisement:
    case kRedirect:
      return !has_addresses_ &&
             allow_link_layer_options(bytes, is_whole, get8(bytes, at) == kRedirect ? at + 40 : at + 16);
    case kNeighborSolicitation: {
      if (bytes.size() < at + kTargetEnd) return false;
      const bool claims = is_zero(bytes.subspan(headers.l3_offset + kSource, 16));  // duplicate address detection
      return (!has_addresses_ || !claims || has(v6_, bytes, at + kTarget)) &&
             allow_link_layer_options(bytes, is_whole, at + kTargetEnd);
    }
    case kNeighborAdvertisement:
      if (bytes.size() < at + kTargetEnd) return false;
      return (!has_addresses_ || has(v6_, bytes, at + kTarget)) &&
             allow_link_layer_options(bytes, is_whole, at + kTargetEnd);
    default:
      return true;
  }
}

// RFC 4861 4.6. The frame may be padded behind them, and padding is no option: its length is 0. What is behind `bytes`
// cannot be looked at.
bool Sources::allow_link_layer_options(Slice bytes, bool is_whole, std::size_t at) const noexcept {
  constexpr std::size_t kUnit = 8;
  while (bytes.size() >= at + kUnit) {
    const std::size_t size = std::size_t{get8(bytes, at + 1)} * kUnit;
    if (size == 0) return true;
    const std::uint8_t type = get8(bytes, at);
    if ((type == kSourceLinkLayer || type == kTargetLinkLayer) && !has(macs_, bytes, at + 2)) return false;
    at += size;
  }
  return is_whole && at <= bytes.size();
}

}  // namespace vmux::switching

// SPDX-License-Identifier: BSD-3-Clause
#include "packet/headers.hpp"

#include <array>

#include "packet/bytes.hpp"
#include "packet/sum/checksum.hpp"

namespace vmux::packet {
namespace {

constexpr std::uint16_t kTypeIpv4 = 0x0800, kTypeIpv6 = 0x86dd, kTypeVlan = 0x8100, kTypeServiceVlan = 0x88a8;
constexpr std::uint8_t kHopByHop = 0, kTcp = 6, kUdp = 17, kRouting = 43, kFragment = 44, kAuthentication = 51,
                       kDestinationOptions = 60, kSctp = 132;

void parse_l4(Slice bytes, std::size_t at, std::uint8_t protocol, Headers& out) noexcept {
  std::size_t size = 0;
  L4 kind = L4::other;
  if (protocol == kTcp && bytes.size() >= at + 20) {
    kind = L4::tcp;
    size = static_cast<std::size_t>(get8(bytes, at + 12) >> 4) * 4;  // RFC 9293 3.1: data offset
    if (size < 20 || at + size > bytes.size()) return;
  } else if (protocol == kUdp && bytes.size() >= at + 8) {
    kind = L4::udp;
    size = 8;
  } else if (protocol == kSctp && bytes.size() >= at + 12) {
    kind = L4::sctp;
    size = 12;
  } else {
    return;
  }
  out.l4 = kind;
  out.l4_offset = static_cast<std::uint16_t>(at);
  out.payload_offset = static_cast<std::uint16_t>(at + size);
}

void parse_ipv4(Slice bytes, std::size_t at, Headers& out) noexcept {  // RFC 791 3.1
  if (bytes.size() < at + 20 || get8(bytes, at) >> 4 != 4) return;
  const std::size_t size = static_cast<std::size_t>(get8(bytes, at) & 0xf) * 4;
  if (size < 20 || at + size > bytes.size()) return;
  out.l3 = L3::ipv4;
  out.payload_offset = static_cast<std::uint16_t>(at + size);
  out.protocol = get8(bytes, at + 9);
  const std::uint16_t fragment = get16(bytes, at + 6);
  out.is_fragment = (fragment & 0x3fff) != 0;  // more fragments, or an offset
  out.is_later_fragment = (fragment & 0x1fff) != 0;
  if (!out.is_later_fragment) parse_l4(bytes, at + size, out.protocol, out);
}

void parse_ipv6(Slice bytes, std::size_t at, Headers& out) noexcept {  // RFC 8200 3, 4
  if (bytes.size() < at + 40 || get8(bytes, at) >> 4 != 6) return;
  out.l3 = L3::ipv6;
  std::uint8_t next = get8(bytes, at + 6);
  at += 40;
  out.payload_offset = static_cast<std::uint16_t>(at);
  for (;;) {
    const bool options = next == kHopByHop || next == kRouting || next == kDestinationOptions;
    if (!options && next != kFragment && next != kAuthentication) break;
    if (bytes.size() < at + 8) return;
    std::size_t size = (static_cast<std::size_t>(get8(bytes, at + 1)) + 1) * 8;
    if (next == kAuthentication) size = (static_cast<std::size_t>(get8(bytes, at + 1)) + 2) * 4;  // RFC 4302 2.2
    if (next == kFragment) {
      size = 8;
      out.is_fragment = true;
      out.is_later_fragment = (get16(bytes, at + 2) & 0xfff8) != 0;
    }
    next = get8(bytes, at);
    at += size;
    if (at > bytes.size()) return;
    out.payload_offset = static_cast<std::uint16_t>(at);
    if (out.is_later_fragment) break;
  }
  out.protocol = next;
  if (!out.is_later_fragment) parse_l4(bytes, at, next, out);
}

}  // namespace

std::optional<Headers> parse(Slice header) noexcept {
  const Slice bytes = header.first(std::min(header.size(), kLongestHeader));
  if (bytes.size() < 14) return std::nullopt;
  Headers out;
  std::size_t at = 12;
  out.ethertype = get16(bytes, at);
  while ((out.ethertype == kTypeVlan || out.ethertype == kTypeServiceVlan) && bytes.size() >= at + 6) {
    if (at == 12 && out.ethertype == kTypeVlan) out.vlan_tci = get16(bytes, at + 2);
    at += 4;
    out.ethertype = get16(bytes, at);
  }
  at += 2;
  out.l3_offset = out.payload_offset = static_cast<std::uint16_t>(at);
  if (out.ethertype == kTypeIpv4) parse_ipv4(bytes, at, out);
  if (out.ethertype == kTypeIpv6) parse_ipv6(bytes, at, out);
  return out;
}

std::optional<Headers> parse_ip(Slice header, std::size_t at) noexcept {
  const Slice bytes = header.first(std::min(header.size(), kLongestHeader));
  if (at >= bytes.size()) return std::nullopt;
  Headers out;
  out.l3_offset = out.payload_offset = static_cast<std::uint16_t>(at);
  parse_ipv4(bytes, at, out);
  if (out.l3 == L3::other) parse_ipv6(bytes, at, out);
  if (out.l3 == L3::other) return std::nullopt;
  out.ethertype = out.l3 == L3::ipv4 ? kTypeIpv4 : kTypeIpv6;
  return out;
}

std::uint16_t pseudo_header_sum(Slice header, const Headers& headers, std::uint32_t l4_length) noexcept {
  const bool v4 = headers.l3 == L3::ipv4;
  std::array<std::byte, 8> tail{};  // the parts that do not stand in the frame: length and protocol
  put32(tail, 0, l4_length);
  put32(tail, 4, headers.l4 == L4::tcp ? kTcp : kUdp);
  Checksum sum;
  sum.add(header.subspan(headers.l3_offset + (v4 ? 12u : 8u), v4 ? 8 : 32));
  sum.add(tail);
  return sum.partial();
}

}  // namespace vmux::packet

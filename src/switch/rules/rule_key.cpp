// SPDX-License-Identifier: BSD-3-Clause
#include "switch/rules/rule_key.hpp"

#include "packet/bytes.hpp"
#include "switch/rules/rule.hpp"

namespace vmux::switching {
namespace {

using packet::get16;
using packet::get8;

static_assert(std::endian::native == std::endian::little, "words of a key are made of loads");

constexpr std::size_t kEthernet = 14, kUdpEnd = 42, kTcpEnd = 54;  // bytes, of a frame without options
constexpr std::uint16_t kTypeIpv4 = 0x0800, kTypeIpv6 = 0x86dd;
constexpr std::uint8_t kTcp = 6, kUdp = 17, kSctp = 132;

template <class T>
std::uint64_t load(packet::Slice bytes, std::size_t at) noexcept {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::uint64_t last_word(const RuleContext& context) noexcept {
  return (static_cast<std::uint64_t>(context.port) | static_cast<std::uint64_t>(context.mark) << 16) << 32;
}
std::uint64_t vlan_of(const RuleContext& context) noexcept {
  return static_cast<std::uint64_t>(__builtin_bswap16(context.vlan)) << 48;
}

// A header that a rule may ask for, and that nobody can read here.
bool is_unreadable(packet::Slice bytes, const packet::Headers& headers) noexcept {
  const bool says_ip = headers.ethertype == kTypeIpv4 || headers.ethertype == kTypeIpv6;
  if (!says_ip) return false;
  if (headers.l3 == packet::L3::other || headers.protocol == packet::Headers::kUnknown) return true;
  const bool has_ports = headers.protocol == kTcp || headers.protocol == kUdp || headers.protocol == kSctp;
  if (!has_ports || headers.l4 != packet::L4::other) return false;
  if (!headers.is_later_fragment) return true;
  // Of a later fragment it is elsewhere. But what begins 8 bytes behind the first one could lie over the flags.
  const bool is_v4 = headers.l3 == packet::L3::ipv4;
  const std::size_t at = is_v4 ? headers.l3_offset + 6u : headers.payload_offset - 6u;
  const unsigned offset = is_v4 ? get16(bytes, at) & 0x1fffu : get16(bytes, at) >> 3;
  return offset == 1 && headers.protocol == kTcp;
}

// Any frame, the long way.
[[gnu::noinline]] bool other_key(const packet::FrameView& view, const RuleContext& context,
                                 const RuleWords& of_interest, RuleWords& key) noexcept {
  const auto headers = packet::parse(view.header);
  if (!headers) return false;
  packet::FlowFields fields = packet::flow_fields(view, *headers);
  if (headers->l3 != packet::L3::other) fields.protocol = headers->protocol;
  fields.vlan = {static_cast<std::uint8_t>(context.vlan >> 8), static_cast<std::uint8_t>(context.vlan)};
  fields.spi = {};
  fields.spare = spare_of(context.port, context.mark);
  key = words_of(fields);
  for (std::size_t i = 0; i < key.size(); ++i)
    key[i] &= of_interest[i];
  return !is_unreadable(view.header, *headers);
}

}  // namespace

bool operator==(const RuleMatch& a, const RuleMatch& b) noexcept {
  return words_of(a.value) == words_of(b.value) && words_of(a.mask) == words_of(b.mask) &&
         a.source_port == b.source_port && a.destination_port == b.destination_port && a.mark == b.mark;
}

bool PlainFields::is_plain(packet::Slice bytes) noexcept {
  if (bytes.size() < kUdpEnd || get16(bytes, 12) != kTypeIpv4 || get8(bytes, kEthernet) != 0x45 ||
      (get16(bytes, 20) & 0x3fff) != 0)
    return false;
  const std::uint8_t protocol = get8(bytes, kProtocol);
  if (protocol == kUdp) return true;
  if (protocol != kTcp || bytes.size() < kTcpEnd) return false;
  const std::size_t size = static_cast<std::size_t>(get8(bytes, kDataOffset) >> 4) * 4;
  return size >= 20 && 34 + size <= bytes.size();
}

// What makes a frame plain counts, whatever rules look at: the type, IP's version and length, the fragment, the
// protocol.
PlainFields::PlainFields(const RuleWords& fields) noexcept : ports_(static_cast<std::uint32_t>(fields[6])) {
  const std::uint64_t tos = fields[6] >> 48 & 0xff, ttl = fields[6] >> 56;
  masks_[0] = fields[0];
  masks_[1] = (fields[1] & 0xffff'ffff) | 0x00ff'ffffull << 32 | tos << 56;
  masks_[2] = 0xff3full << 32 | ttl << 48 | 0xffull << 56;
  masks_[3] = (fields[2] & 0xffff'ffff) | fields[4] << 32;
}

void plain_key(packet::Slice bytes, const RuleContext& context, const RuleWords& fields, RuleWords& key) noexcept {
  const std::uint64_t about = 4u | load<std::uint8_t>(bytes, 23) << 8 | load<std::uint8_t>(bytes, 15) << 16 |
                              load<std::uint8_t>(bytes, 22) << 24;
  key[0] = load<std::uint64_t>(bytes, 0) & fields[0];
  key[1] = ((load<std::uint64_t>(bytes, 8) & 0xffff'ffff'ffff) | vlan_of(context)) & fields[1];
  key[2] = load<std::uint32_t>(bytes, 26) & fields[2];
  key[3] = key[5] = 0;
  key[4] = load<std::uint32_t>(bytes, 30) & fields[4];
  key[6] = (load<std::uint32_t>(bytes, 34) | about << 32) & fields[6];
  key[7] = last_word(context) & fields[7];
}

bool rule_key(const packet::FrameView& view, const RuleContext& context, const RuleWords& fields,
              RuleWords& key) noexcept {
  if (!PlainFields::is_plain(view.header)) return other_key(view, context, fields, key);
  plain_key(view.header, context, fields, key);
  return true;
}

RuleHash::RuleHash(std::uint64_t seed) noexcept {
  const auto next = [&seed] {  // splitmix64
    std::uint64_t z = seed += 0x9e37'79b9'7f4a'7c15ull;
    z = (z ^ z >> 30) * 0xbf58'476d'1ce4'e5b9ull;
    z = (z ^ z >> 27) * 0x94d0'49bb'1331'11ebull;
    return z ^ z >> 31;
  };
  for (std::uint64_t& factor : factors_)
    factor = next() | 1;
}

}  // namespace vmux::switching

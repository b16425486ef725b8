// SPDX-License-Identifier: BSD-3-Clause
#include "intel/rules/flow_table.hpp"

#include <algorithm>
#include <cstring>

#include "packet/bytes.hpp"

namespace vmux::intel {
namespace {

using Words = std::array<std::uint64_t, sizeof(FlowFields) / 8>;

bool matches(const Words& fields, const FlowRule& rule) noexcept {
  const auto value = std::bit_cast<Words>(rule.value), mask = std::bit_cast<Words>(rule.mask);
  std::uint64_t different = 0;
  for (std::size_t i = 0; i < fields.size(); ++i)
    different |= (fields[i] ^ value[i]) & mask[i];
  return different == 0;
}

template <std::size_t N>
void take(std::array<std::uint8_t, N>& into, packet::Slice from, std::size_t at, std::size_t size = N) noexcept {
  std::memcpy(into.data(), from.data() + at, size);
}

}  // namespace

bool is_same(const FlowRule& a, const FlowRule& b) noexcept {
  return std::memcmp(&a.value, &b.value, sizeof a.value) == 0 && std::memcmp(&a.mask, &b.mask, sizeof a.mask) == 0;
}

bool FlowTable::add(const FlowRule& rule) {
  if (rules_.size() == kMaxRules) return false;
  rules_.push_back(rule);
  return true;
}

bool FlowTable::remove(std::uint32_t id) noexcept {
  return std::erase_if(rules_, [id](const FlowRule& rule) { return rule.id == id; }) > 0;
}

const FlowRule* FlowTable::match(const FlowFields& fields) const noexcept {
  const auto words = std::bit_cast<Words>(fields);
  const auto at =
      std::find_if(rules_.begin(), rules_.end(), [&](const FlowRule& rule) { return matches(words, rule); });
  return at == rules_.end() ? nullptr : &*at;
}

FlowFields flow_fields(const packet::FrameView& view, const packet::Headers& headers) noexcept {
  constexpr std::uint8_t kEsp = 50, kAh = 51;
  FlowFields fields;
  const packet::Slice bytes = view.header;
  take(fields.destination, bytes, 0);
  take(fields.source, bytes, 6);
  fields.ethertype = {static_cast<std::uint8_t>(headers.ethertype >> 8), static_cast<std::uint8_t>(headers.ethertype)};
  const std::uint16_t tci = view.offload.has_vlan ? view.offload.vlan_tci : headers.vlan_tci.value_or(0);
  fields.vlan = {static_cast<std::uint8_t>(tci >> 8), static_cast<std::uint8_t>(tci)};
  const std::size_t l3 = headers.l3_offset;
  if (headers.l3 == packet::L3::ipv4) {
    fields.ip_version = 4;
    fields.tos = packet::get8(bytes, l3 + 1);
    fields.ttl = packet::get8(bytes, l3 + 8);
    const bool later_fragment = (packet::get16(bytes, l3 + 6) & 0x1fff) != 0;
    fields.protocol = later_fragment ? std::uint8_t{0} : packet::get8(bytes, l3 + 9);
    take(fields.source_ip, bytes, l3 + 12, 4);
    take(fields.destination_ip, bytes, l3 + 16, 4);
  } else if (headers.l3 == packet::L3::ipv6) {
    fields.ip_version = 6;
    fields.tos = static_cast<std::uint8_t>(packet::get16(bytes, l3) >> 4);
    fields.ttl = packet::get8(bytes, l3 + 7);
    fields.protocol = packet::get8(bytes, l3 + 6);
    take(fields.source_ip, bytes, l3 + 8);
    take(fields.destination_ip, bytes, l3 + 24);
  }
  if (headers.l4 != packet::L4::other) {
    constexpr std::uint8_t kNumbers[] = {0, 6, 17, 132};  // by packet::L4
    fields.protocol = kNumbers[static_cast<std::size_t>(headers.l4)];
    take(fields.source_port, bytes, headers.l4_offset);
    take(fields.destination_port, bytes, headers.l4_offset + 2u);
  } else if (fields.protocol == kEsp && bytes.size() >= headers.payload_offset + 4u) {
    take(fields.spi, bytes, headers.payload_offset);
  } else if (fields.protocol == kAh && bytes.size() >= headers.payload_offset + 8u) {
    take(fields.spi, bytes, headers.payload_offset + 4u);
  }
  return fields;
}

}  // namespace vmux::intel

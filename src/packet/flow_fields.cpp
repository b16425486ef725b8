// SPDX-License-Identifier: BSD-3-Clause
#include "packet/flow_fields.hpp"

#include <cstring>

#include "packet/bytes.hpp"

namespace vmux::packet {
namespace {

template <std::size_t N>
void take(std::array<std::uint8_t, N>& into, Slice from, std::size_t at, std::size_t size = N) noexcept {
  std::memcpy(into.data(), from.data() + at, size);
}

}  // namespace

FlowFields flow_fields(const FrameView& view, const Headers& headers) noexcept {
  constexpr std::uint8_t kEsp = 50, kAh = 51;
  FlowFields fields;
  const Slice bytes = view.header;
  take(fields.destination, bytes, 0);
  take(fields.source, bytes, 6);
  fields.ethertype = {static_cast<std::uint8_t>(headers.ethertype >> 8), static_cast<std::uint8_t>(headers.ethertype)};
  const std::uint16_t tci = view.offload.has_vlan ? view.offload.vlan_tci : headers.vlan_tci.value_or(0);
  fields.vlan = {static_cast<std::uint8_t>(tci >> 8), static_cast<std::uint8_t>(tci)};
  const std::size_t l3 = headers.l3_offset;
  if (headers.l3 == L3::ipv4) {
    fields.ip_version = 4;
    fields.tos = get8(bytes, l3 + 1);
    fields.ttl = get8(bytes, l3 + 8);
    const bool later_fragment = (get16(bytes, l3 + 6) & 0x1fff) != 0;
    fields.protocol = later_fragment ? std::uint8_t{0} : get8(bytes, l3 + 9);
    take(fields.source_ip, bytes, l3 + 12, 4);
    take(fields.destination_ip, bytes, l3 + 16, 4);
  } else if (headers.l3 == L3::ipv6) {
    fields.ip_version = 6;
    fields.tos = static_cast<std::uint8_t>(get16(bytes, l3) >> 4);
    fields.ttl = get8(bytes, l3 + 7);
    fields.protocol = get8(bytes, l3 + 6);
    take(fields.source_ip, bytes, l3 + 8);
    take(fields.destination_ip, bytes, l3 + 24);
  }
  if (headers.l4 != L4::other) {
    constexpr std::uint8_t kNumbers[] = {0, 6, 17, 132};  // by L4
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

}  // namespace vmux::packet

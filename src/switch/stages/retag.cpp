// SPDX-License-Identifier: BSD-3-Clause
#include "switch/stages/retag.hpp"

#include <cstring>

#include "packet/bytes.hpp"

namespace vmux::switching {
namespace {

// What an offload points at moves with the bytes.
void shift(packet::Offload& offload, int by) noexcept {
  const auto moved = [by](std::uint16_t at) { return static_cast<std::uint16_t>(at + by); };
  if (offload.needs_checksum) offload.csum_start = moved(offload.csum_start);
  if (offload.gso != packet::Gso::none) offload.header_length = moved(offload.header_length);
  if (offload.tunnel != 0) offload.tunnel = moved(offload.tunnel);
}

}  // namespace

// Also in place: `room` may be where the header is.
bool push_tag(packet::FrameView& view, std::uint16_t type, std::uint16_t tci, std::span<std::byte> room) noexcept {
  const std::size_t size = view.header.size();
  if (size < kMacBytes + 2 || size + kVlanTagBytes > room.size()) return false;
  std::memmove(room.data() + kMacBytes + kVlanTagBytes, view.header.data() + kMacBytes, size - kMacBytes);
  std::memmove(room.data(), view.header.data(), kMacBytes);
  packet::put16(room, kMacBytes, type);
  packet::put16(room, kMacBytes + 2, tci);
  view.header = packet::Slice{room}.first(size + kVlanTagBytes);
  view.length += kVlanTagBytes;
  shift(view.offload, +static_cast<int>(kVlanTagBytes));
  return true;
}

bool pop_tag(packet::FrameView& view, std::span<std::byte> room) noexcept {
  const std::size_t size = view.header.size();
  if (size < kMacBytes + kVlanTagBytes + 2 || size > room.size()) return false;
  std::memmove(room.data(), view.header.data(), kMacBytes);
  std::memmove(room.data() + kMacBytes, view.header.data() + kMacBytes + kVlanTagBytes,
               size - kMacBytes - kVlanTagBytes);
  view.header = packet::Slice{room}.first(size - kVlanTagBytes);
  view.length -= kVlanTagBytes;
  shift(view.offload, -static_cast<int>(kVlanTagBytes));
  return true;
}

bool retag_on_entry(packet::FrameView& view, bool has_service_tags, std::span<std::byte> room) noexcept {
  packet::Offload& offload = view.offload;
  if (offload.has_vlan) {
    if (!push_tag(view, kTypeVlan, offload.vlan_tci, room)) return false;
    offload.has_vlan = false;
  }
  const bool is_service_tagged = has_service_tags && view.header.size() >= kMacBytes + kVlanTagBytes + 2 &&
                                 packet::get16(view.header, kMacBytes) == kTypeServiceVlan;
  if (!is_service_tagged) return true;
  const std::uint16_t tci = packet::get16(view.header, kMacBytes + 2);
  if (!pop_tag(view, room)) return false;
  offload.has_vlan = true;
  offload.vlan_tci = tci;
  return true;
}

}  // namespace vmux::switching

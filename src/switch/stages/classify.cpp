// SPDX-License-Identifier: BSD-3-Clause
// What a frame is: its VLAN, its two stations, or why it may not enter.
#include <cstring>

#include "packet/bytes.hpp"
#include "switch/stages/burst.hpp"
#include "switch/stages/retag.hpp"

namespace vmux::switching {
namespace {

using port::DropReason;

constexpr std::size_t kEthernet = 14, kTagged = 18;                // bytes
constexpr std::uint16_t kVidMask = 0x0fff, kReservedVid = 0x0fff;  // IEEE 802.1Q table 9-2

// Addresses as numbers: the first byte on the wire is the highest.
std::uint64_t mac_at(packet::Slice header, std::size_t at) noexcept {
  return (static_cast<std::uint64_t>(packet::get16(header, at)) << 32) | packet::get32(header, at + 2);
}
constexpr bool is_group(std::uint64_t mac) noexcept { return (mac >> 40 & 1) != 0; }
// IEEE 802.1Q 8.6.3, table 8-1: spanning tree, pause, LACP, LLDP and their like end at a bridge, unless it is told to
// let them pass.
constexpr bool ends_here(std::uint64_t mac, std::uint16_t forwarded_groups) noexcept {
  return (mac & ~0xfull) == 0x0180'c200'0000 && (forwarded_groups >> (mac & 0xf) & 1) == 0;
}

// A tag behind a priority tag would come to the front where the frame leaves untagged, and lead it into a VLAN that its
// port has no part in.
bool has_tag_behind(const packet::FrameView& view) noexcept {
  const std::size_t at = view.offload.has_vlan ? 12 : 16;
  return view.header.size() >= at + 2 && packet::get16(view.header, at) == kTypeVlan;
}

// A port's own tag, which is behind that of the switch: its VLAN there, and its priority for that here.
std::uint16_t own_tci(packet::Slice header) noexcept {
  const bool has_one = header.size() >= kTagged && packet::get16(header, 12) == kTypeVlan;
  return has_one ? packet::get16(header, 14) : std::uint16_t{0};
}

// Of a port whose tags are not those of the switch (retag.hpp). False: the frame's VLAN is none here.
bool find_vlan(const VlanRules& rules, const packet::FrameView& view, Frame& frame) noexcept {
  std::uint16_t vid = 0;
  if (rules.keeps_tags) {
    const std::uint16_t tci = own_tci(view.header);
    vid = tci & kVidMask;
    frame.tci = static_cast<std::uint16_t>(tci & ~kVidMask);
    frame.has_tag = false;
  } else {
    if (rules.has_service_tags && !view.offload.has_vlan) frame.has_tag = false;
    vid = frame.has_tag ? frame.tci & kVidMask : 0;
  }
  if (vid == 0 && !rules.keeps_tags) {
    frame.vlan = rules.untagged;
    return rules.untagged != kNoVlan && !(frame.has_tag && has_tag_behind(view));
  }
  frame.vlan = rules.map != nullptr ? rules.map->in[vid] : vid;
  return vid != kReservedVid && frame.vlan != kNoVlan && rules.carries(frame.vlan);
}

// In place: a result that is copied right after its flags were stored byte by byte stalls the copy for each frame.
DropReason classify(const Ingress& ingress, const packet::FrameView& view, Frame& frame) noexcept {
  frame = {};
  frame.from = ingress.from;
  const packet::Slice header = view.header;
  if (header.size() < kEthernet || header.size() > packet::kLongestHeader) return DropReason::malformed;
  const bool tag_follows = packet::get16(header, 12) == kTypeVlan;
  if (view.offload.has_vlan) {
    frame.has_tag = true;
    frame.tci = view.offload.vlan_tci;
  } else if (tag_follows) {
    if (header.size() < kTagged) return DropReason::malformed;
    frame.has_tag = frame.tag_in_bytes = true;
    frame.tci = packet::get16(header, 14);
  }
  // A tag of VLAN 0 carries a priority only (IEEE 802.1Q 6.9.1).
  const VlanRules& rules = ingress.vlan;
  const auto vid = static_cast<std::uint16_t>(frame.tci & kVidMask);
  frame.vlan = vid == 0 ? rules.untagged : vid;
  const std::uint64_t to = mac_at(header, 0), from = mac_at(header, 6);
  const bool admitted = rules.is_retagged ? find_vlan(rules, view, frame)
                        : vid == 0        ? rules.untagged != kNoVlan && !(frame.has_tag && has_tag_behind(view))
                                          : rules.mode == VlanMode::trunk && vid != kReservedVid && rules.carries(vid);
  if (!admitted || ends_here(to, ingress.forwarded_groups)) return DropReason::filtered;
  // A group address cannot send, and nobody's address is 0: neither is learnt, both are forwarded.
  if (!is_group(from) && from != 0) frame.source = station_key(from, frame.vlan);
  frame.is_flood = is_group(to);
  if (!frame.is_flood) frame.target = station_key(to, frame.vlan);
  return DropReason::none;
}

// True when all that classify() looks at is as in the frame before: addresses, type, and a tag if there is one (what
// stands behind a tag counts if that is for a priority only).
bool is_like(const Frame& frame, const packet::FrameView& before, const packet::FrameView& view) noexcept {
  return !view.offload.has_vlan && !before.offload.has_vlan && view.header.size() == before.header.size() &&
         view.header.size() >= kTagged && std::memcmp(view.header.data(), before.header.data(), 16) == 0 &&
         (!frame.has_tag || (frame.tci & kVidMask) != 0);
}

}  // namespace

void retag_on_entry(const VlanRules& rules, HeaderRooms& rooms, Burst& burst) noexcept {
  if (!rules.keeps_tags && !rules.has_service_tags) return;
  for (std::size_t i = 0; i < burst.count; ++i) {
    packet::FrameView& view = burst.views[i];
    if (!retag_on_entry(view, rules.has_service_tags, rooms[i])) view.header = view.header.first(0);
  }
}

void classify(const Ingress& ingress, Burst& burst) noexcept {
  burst.results.fill({});
  burst.run_count = burst.dropped = 0;
  Run* run = nullptr;
  DropReason verdict = DropReason::none;
  for (std::size_t i = 0; i < burst.count; ++i) {
    if (run != nullptr && is_like(run->frame, burst.views[i - 1], burst.views[i])) {
      ++run->count;
    } else {
      run = &burst.runs[burst.run_count++];
      run->first = static_cast<std::uint8_t>(i);
      run->count = 1;
      verdict = classify(ingress, burst.views[i], run->frame);
    }
    if (verdict != DropReason::none) burst.drop(i, verdict);
  }
}

}  // namespace vmux::switching

// SPDX-License-Identifier: BSD-3-Clause
// What a frame is (its VLAN, its source) and where it goes. Decided on bytes that the sender cannot change any more.
#include "packet/bytes.hpp"
#include "switch/shard.hpp"

namespace vmux::switching {
namespace {

constexpr std::size_t kEthernet = 14, kTagged = 18;  // bytes
constexpr std::uint16_t kTypeVlan = 0x8100;
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

}  // namespace

// In place: a result that is copied right after its flags were stored byte by byte stalls the copy for each frame.
void Shard::classify(Member& member, const packet::FrameView& view, Frame& frame) noexcept {
  frame = {};
  frame.from = member.id;
  frame.is_dropped = true;
  port::PortCounters& counters = member.port.counters();
  const packet::Slice header = view.header;
  if (header.size() < kEthernet || header.size() > packet::kLongestHeader) {
    counters.drops(port::DropReason::malformed).add();
    return;
  }
  const bool tag_follows = packet::get16(header, 12) == kTypeVlan;
  if (view.offload.has_vlan) {
    frame.has_tag = true;
    frame.tci = view.offload.vlan_tci;
  } else if (tag_follows) {
    if (header.size() < kTagged) {
      counters.drops(port::DropReason::malformed).add();
      return;
    }
    frame.has_tag = frame.tag_in_bytes = true;
    frame.tci = packet::get16(header, 14);
  }
  // A tag of VLAN 0 carries a priority only (IEEE 802.1Q 6.9.1).
  const auto vid = static_cast<std::uint16_t>(frame.tci & kVidMask);
  frame.vlan = vid == 0 ? member.vlan.untagged : vid;
  const std::uint64_t to = mac_at(header, 0), from = mac_at(header, 6);
  const bool admitted = vid == 0
                            ? member.vlan.untagged != kNoVlan && !(frame.has_tag && has_tag_behind(view))
                            : member.vlan.mode == VlanMode::trunk && vid != kReservedVid && member.vlan.carries(vid);
  if (!admitted || ends_here(to, forwarded_groups_)) {
    counters.drops(port::DropReason::filtered).add();
    return;
  }
  // A group address cannot send, and nobody's address is 0: neither is learnt, both are forwarded.
  if (!is_group(from) && from != 0) {
    frame.source = station_key(from, frame.vlan);
    if (frame.source != last_.source) learn(frame, poller_.now_ns());
    last_.source = frame.source;
  }
  frame.is_flood = is_group(to);
  if (!frame.is_flood) {
    look_up(station_key(to, frame.vlan));
    if (last_.is_known && last_.port == member.id) {  // it is where it came from
      counters.drops(port::DropReason::filtered).add();
      return;
    }
    frame.is_flood = !last_.is_known;
    frame.to = last_.port;
  }
  frame.is_dropped = false;
}

void Shard::look_up(StationKey to) noexcept {
  if (to == last_.to) return;
  const MacTable::Entry* const known = macs_.find(to, poller_.now_ns());
  last_.to = to;
  last_.is_known = known != nullptr;
  last_.port = known != nullptr ? known->port : PortId{};
}

void Shard::learn(const Frame& frame, std::uint64_t heard_ns) noexcept {
  if (frame.source == 0) return;
  MacTable::Entry* entry = nullptr;
  if (macs_.learn(frame.source, frame.from, heard_ns, &entry) != Learnt::known) last_.to = 0;  // may be it
  if (entry == nullptr || peers_.empty() || sender_ == nullptr) return;
  if (entry->told_ns == 0 || heard_ns - entry->told_ns >= republish_ns_) tell_peers(frame, *entry);
}

// Other pollers see only the frames that cross to them: without this they would miss a station's move, or forget it
// while it talks to neighbours.
void Shard::tell_peers(const Frame& frame, MacTable::Entry& entry) noexcept {
  const Item item{.source = frame.source, .heard_ns = poller_.now_ns(), .from = frame.from};
  bool all_told = true;
  for (Peer& peer : peers_) {
    const bool told = peer.to->items.push(item);
    all_told = all_told && told;
    peer.is_touched = peer.is_touched || told;
  }
  if (all_told) entry.told_ns = poller_.now_ns();
}

}  // namespace vmux::switching

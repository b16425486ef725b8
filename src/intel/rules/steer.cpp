// SPDX-License-Identifier: BSD-3-Clause
#include "intel/rules/steer.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "intel/descriptors.hpp"
#include "intel/ptypes.hpp"
#include "packet/bytes.hpp"
#include "packet/headers.hpp"
#include "packet/sum/checksum.hpp"
#include "packet/sum/short_sum.hpp"

namespace vmux::intel {
namespace {

constexpr std::size_t kEthernet = 14;  // bytes
constexpr std::uint16_t kTypeIpv4 = 0x0800, kTypeArp = 0x0806, kTypeIpv6 = 0x86dd, kTypeOldVlan = 0x9100,
                        kTypeLldp = 0x88cc;
constexpr std::uint8_t kIcmp = 1, kTcp = 6, kUdp = 17, kIcmp6 = 58, kSctp = 132;

// What L4 is, beside its number: packet type, classifier type, how much of its header must be there, and where in it
// the checksum stands.
struct Kind {
  std::uint8_t ptype = ptype::other;
  std::uint8_t pctype4 = pctype::ipv4_other, pctype6 = pctype::ipv6_other;
  std::uint8_t size = 0;  // bytes; 0: not a transport with ports
};
constexpr auto kKinds = [] {
  std::array<Kind, 256> kinds;
  kinds.fill(Kind{});  // g++ 12 leaves out the member initializers of elements that nobody names
  kinds[kTcp] = {ptype::tcp, pctype::ipv4_tcp, pctype::ipv6_tcp, 20};
  kinds[kUdp] = {ptype::udp, pctype::ipv4_udp, pctype::ipv6_udp, 8};
  kinds[kSctp] = {ptype::sctp, pctype::ipv4_sctp, pctype::ipv6_sctp, 12};
  kinds[kIcmp] = kinds[kIcmp6] = {ptype::icmp};
  return kinds;
}();

// The headers of one frame as they are found.
struct Look {
  std::uint8_t classifier = pctype::none;
  std::uint16_t ports = 0;  // where they are; 0: none
};

inline Look note_transport(std::uint8_t classifier, Kind kind, std::size_t at, std::uint8_t protocol,
                           packet::Slice bytes, RxInfo& info) noexcept {
  if (kind.size == 0 || at + kind.size > bytes.size()) return {classifier};
  // RFC 768: a UDP checksum of zero was not computed.
  const bool is_summed = protocol != kUdp || packet::get16(bytes, at + 6) != 0;
  info.l4 = is_summed ? static_cast<std::uint16_t>(at) : std::uint16_t{0};
  info.protocol = protocol;
  return {classifier, static_cast<std::uint16_t>(at)};
}

inline Look look_at_ipv4(packet::Slice bytes, std::size_t at, RxInfo& info) noexcept {  // RFC 791 3.1
  if (bytes.size() < at + 20) return {};
  const std::uint8_t first = packet::get8(bytes, at);
  const std::size_t size = std::size_t{first & 0xfu} * 4;
  if (first >> 4 != 4 || size < 20 || at + size > bytes.size()) return {};
  info.l3 = static_cast<std::uint16_t>(at);
  const bool is_right = size == 20
                            ? packet::is_all_ones(packet::short_sum(bytes.data() + at, 20))
                            : packet::ipv4_header_checksum(bytes.subspan(at, size)) == packet::get16(bytes, at + 10);
  info.flags |= is_right ? RxInfo::is_ip : RxInfo::is_ip | RxInfo::bad_ip;
  if ((packet::get16(bytes, at + 6) & 0x3fff) != 0) {  // more fragments, or an offset
    info.ptype = ptype::ipv4 + ptype::fragment;
    return {pctype::ipv4_fragment};
  }
  const std::uint8_t protocol = packet::get8(bytes, at + 9);
  const Kind kind = kKinds[protocol];
  info.ptype = static_cast<std::uint8_t>(ptype::ipv4 + kind.ptype);
  return note_transport(kind.pctype4, kind, at + size, protocol, bytes, info);
}

Look look_at_ipv6(packet::Slice bytes, std::size_t at, RxInfo& info) noexcept {  // RFC 8200 3
  if (bytes.size() < at + 40 || packet::get8(bytes, at) >> 4 != 6) return {};
  info.l3 = static_cast<std::uint16_t>(at);
  info.flags |= RxInfo::is_ip;
  std::uint8_t protocol = packet::get8(bytes, at + 6);
  std::size_t l4 = at + 40;
  Kind kind = kKinds[protocol];
  if (kind.ptype == ptype::other) {  // extension headers: rare, so the general parser does
    const auto headers = packet::parse(bytes);
    if (headers && headers->is_fragment) {
      info.ptype = ptype::ipv6 + ptype::fragment;
      return {pctype::ipv6_fragment};
    }
    constexpr std::uint8_t kNumbers[] = {0, kTcp, kUdp, kSctp};  // by packet::L4
    if (headers && headers->l4 != packet::L4::other) {
      protocol = kNumbers[static_cast<std::size_t>(headers->l4)];
      kind = kKinds[protocol];
      l4 = headers->l4_offset;
    }
  }
  info.ptype = static_cast<std::uint8_t>(ptype::ipv6 + kind.ptype);
  return note_transport(kind.pctype6, kind, l4, protocol, bytes, info);
}

inline bool is_tag(std::uint16_t ethertype) noexcept {
  return ethertype == kTpid || ethertype == kServiceTpid || ethertype == kTypeOldVlan;
}

inline Look look_at(packet::Slice bytes, RxInfo& info) noexcept {
  std::size_t at = kEthernet;
  std::uint16_t ethertype = packet::get16(bytes, at - 2);
  if (ethertype == kTypeIpv4) return look_at_ipv4(bytes, at, info);
  for (unsigned tags = 0; tags < 2 && is_tag(ethertype) && bytes.size() >= at + kTag; ++tags) {
    at += kTag;
    ethertype = packet::get16(bytes, at - 2);
  }
  info.ptype = ptype::ethernet;
  if (ethertype == kTypeIpv4) return look_at_ipv4(bytes, at, info);
  if (ethertype == kTypeIpv6) return look_at_ipv6(bytes, at, info);
  if (ethertype == kTypeArp) info.ptype = ptype::arp;
  if (ethertype == kTypeLldp) info.ptype = ptype::lldp;
  return {};
}

void put_tag(const VlanTag& rule, std::uint16_t tci, RxInfo& info) noexcept {
  const bool second = rule.place == TagPlace::l2tag2;
  (second ? info.l2tag2 : info.l2tag1) = tci;
  info.flags |= second ? RxInfo::has_tag2 : RxInfo::has_tag1;
}

// The tags of a frame: a VLAN that is not wanted ends it, and those to be stripped go to the write-back.
bool take_tags(const RxRules& rules, const packet::FrameView& view, RxInfo& info) noexcept {
  bool is_beside = view.offload.has_vlan;
  std::size_t at = kMacs;
  const auto next = [&](std::uint16_t& tpid, std::uint16_t& tci) {
    if (is_beside) {
      tpid = kTpid;
      tci = view.offload.vlan_tci;
      return true;
    }
    if (view.header.size() < at + kTag + sizeof tpid) return false;  // the tag, and the type behind it
    tpid = packet::get16(view.header, at);
    tci = packet::get16(view.header, at + 2);
    return is_tag(tpid);
  };
  std::uint16_t tpid = 0, tci = 0;
  if (!next(tpid, tci)) return true;
  if (!rules.filters.admits_vlan(tpid, tci)) return false;
  for (const VlanTag* rule : {&rules.vlan.outer, &rules.vlan.inner}) {
    if (!rule->strip || !next(tpid, tci) || tpid != rule->tpid) continue;
    put_tag(*rule, tci, info);
    if (is_beside) {
      is_beside = false;
    } else {
      info.cut = static_cast<std::uint8_t>(info.cut + kTag);
      at += kTag;
    }
  }
  return true;
}

/// Both directions alike: each half becomes what the two have in difference.
void fold(std::span<std::byte> halves) noexcept {
  const std::size_t half = halves.size() / 2;
  for (std::size_t i = 0; i < half; ++i)
    halves[i] = halves[half + i] = halves[i] ^ halves[half + i];
}

// The fields that the driver has chosen for this type, one behind the other.
std::uint32_t hash_of_chosen(const RxRules& rules, packet::Slice bytes, const RxInfo& info, std::size_t ports,
                             unsigned chosen) noexcept {
  const bool v4 = info.is_ipv4();
  const std::size_t address = v4 ? 4 : 16, from = info.l3 + (v4 ? 12u : 8u);
  std::array<std::byte, Toeplitz::kMaxInput> input{};
  std::size_t size = 0;
  const auto take = [&](std::size_t at, std::size_t length) {
    std::memcpy(input.data() + size, bytes.data() + at, length);
    size += length;
  };
  if ((chosen & kHashSource) != 0) take(from, address);
  if ((chosen & kHashDestination) != 0) take(from + address, address);
  const std::size_t addresses = size;
  if (ports != 0 && (chosen & kHashSourcePort) != 0) take(ports, 2);
  if (ports != 0 && (chosen & kHashDestinationPort) != 0) take(ports + 2, 2);
  if (rules.rss.symmetric && addresses == 2 * address) fold(std::span{input}.first(addresses));
  if (rules.rss.symmetric && size - addresses == 4) fold(std::span{input}.subspan(addresses, 4));
  return (*rules.toeplitz)(packet::Slice{input}.first(size));
}

std::uint32_t hash_of(const RxRules& rules, packet::Slice bytes, const RxInfo& info, std::size_t ports) noexcept {
  const bool v4 = info.is_ipv4();
  const std::size_t addresses = v4 ? 8 : 32, from = info.l3 + (v4 ? 12u : 8u);
  if (!rules.rss.symmetric && from + addresses == ports) {  // no options: all of it side by side
    return v4 ? (*rules.toeplitz)(bytes.subspan(from).first<12>()) : (*rules.toeplitz)(bytes.subspan(from).first<36>());
  }
  std::array<std::byte, Toeplitz::kMaxInput> input{};
  std::size_t size = addresses;
  std::memcpy(input.data(), bytes.data() + from, addresses);
  if (ports != 0) {
    std::memcpy(input.data() + addresses, bytes.data() + ports, 4);
    size += 4;
  }
  if (rules.rss.symmetric) {
    fold(std::span{input}.first(addresses));
    if (ports != 0) fold(std::span{input}.subspan(addresses, 4));
  }
  return (*rules.toeplitz)(packet::Slice{input}.first(size));
}

// False: a rule drops the frame.
bool apply_flow_rule(const RxRules& rules, const packet::FrameView& view, RxInfo& info) noexcept {
  const auto headers = packet::parse(view.header);
  if (!headers) return true;
  const FlowRule* const rule = rules.flows.match(flow_fields(view, *headers));
  if (rule == nullptr) return true;
  if (rule->mark) {
    info.mark = *rule->mark;
    info.flags |= RxInfo::has_mark;
  }
  if (rule->action == FlowAction::drop) return false;
  if (rule->action == FlowAction::pass) return true;
  info.queue = rule->queue;
  if (rule->action == FlowAction::queue_group) {
    info.queue = static_cast<std::uint16_t>(rule->queue + info.hash % rule->group_size);
  }
  return true;
}

std::uint64_t destination_of(packet::Slice header) noexcept {
  Le<std::uint64_t> first;
  std::memcpy(&first, header.data(), sizeof first);
  return first & kBroadcastKey;
}

// What is left once the headers are known: the hash, the rules, the queue.
inline void choose_queue(const RxRules& rules, bool has_flows, const packet::FrameView& view, const Look& look,
                         RxInfo& info) noexcept {
  info.queue = rules.first_queue;
  if (rules.rss.enabled && (rules.rss.hena >> look.classifier & 1) != 0 && look.classifier != pctype::none) {
    const unsigned chosen = rules.rss.fields[look.classifier];
    info.hash = chosen == 0 ? hash_of(rules, view.header, info, look.ports)
                            : hash_of_chosen(rules, view.header, info, look.ports, chosen);
    info.flags |= RxInfo::has_hash;
    info.queue = rules.lut[info.hash & rules.lut_mask];
  }
  if (has_flows && !apply_flow_rule(rules, view, info)) {
    info.queue = RxInfo::kNobody;
    return;
  }
  if (info.queue >= rules.queues) info.queue = rules.first_queue;
}

// False: it is not for this station.
inline bool look_at_frame(const RxRules& rules, const packet::FrameView& view, RxInfo& info, Look& look) noexcept {
  if (view.header.size() < kEthernet) return false;
  const std::uint64_t to = destination_of(view.header);
  if (!rules.filters.admits(to)) return false;
  if (is_group(to)) info.flags |= to == kBroadcastKey ? RxInfo::broadcast : RxInfo::multicast;
  if ((view.offload.has_vlan || is_tag(packet::get16(view.header, kMacs))) && !take_tags(rules, view, info)) {
    return false;
  }
  look = look_at(view.header, info);
  return true;
}

// Frames of a burst are mostly alike: untagged UDP or TCP over IPv4 without options, whole, to the same address. What
// the first of them was found to be is so of all whose bytes say the same; only their sums are their own.
class HeaderCache {
 public:
  void note(const packet::FrameView& view, const RxInfo& info, const Look& look) noexcept {
    if (look.ports != kPorts || info.l3 != kEthernet || !info.is_ipv4() || view.offload.has_vlan) return;
    key_ = key_of(view);
    first_ = &info;
    look_ = look;
  }
  [[nodiscard]] bool fits(const packet::FrameView& view) const noexcept {
    return first_ != nullptr && view.header.size() >= kLeast && !view.offload.has_vlan && key_of(view) == key_ &&
           (first_->protocol != kUdp || (packet::get16(view.header, kPorts + 6) != 0) == (first_->l4 != 0));
  }
  void put(const packet::FrameView& view, RxInfo& info) const noexcept {
    constexpr std::uint8_t kOwn = RxInfo::bad_ip | RxInfo::has_hash | RxInfo::has_mark;
    info = *first_;
    info.hash = info.mark = 0;
    info.flags &= static_cast<std::uint8_t>(~kOwn);
    if (!packet::is_all_ones(packet::short_sum(view.header.data() + kEthernet, 20))) info.flags |= RxInfo::bad_ip;
  }
  [[nodiscard]] const Look& look() const noexcept { return look_; }

 private:
  static constexpr std::size_t kPorts = kEthernet + 20, kLeast = kPorts + 20;  // bytes; of UDP 8 would do
  struct Key {
    std::uint64_t to = 0, ip = 0;  // the address; Ethernet's type, IP's version and size, fragment, protocol
    bool operator==(const Key&) const = default;
  };
  template <class Word>
  static Word load(const std::byte* at) noexcept {
    Le<Word> word;
    std::memcpy(&word, at, sizeof word);
    return word;
  }
  static Key key_of(const packet::FrameView& view) noexcept {
    const std::byte* const bytes = view.header.data();
    return {load<std::uint64_t>(bytes) & kBroadcastKey,
            std::uint64_t{load<std::uint32_t>(bytes + kEthernet - 2) & 0x00ff'ffff} << 32 |
                (load<std::uint32_t>(bytes + kEthernet + 6) & 0xff00'ff3f)};
  }

  const RxInfo* first_ = nullptr;  // as it lies there: a copy of its own would be put together anew for each frame
  Key key_;
  Look look_;
};

}  // namespace

void RxRules::prepare_hash() noexcept {
  if (hashed_key != rss.key) {  // 36 KiB, and most changes are of something else
    toeplitz = std::make_shared<const Toeplitz>(rss.key);
    hashed_key = rss.key;
  }
  const std::span<const std::uint8_t> table =
      rss.large_lut.empty() ? std::span<const std::uint8_t>{rss.lut} : std::span<const std::uint8_t>{rss.large_lut};
  std::copy(table.begin(), table.end(), lut.begin());
  lut_mask = static_cast<std::uint32_t>(table.size()) - 1;
  if (channels.count == 0) return;
  for (std::uint8_t& queue : std::span{lut}.first(table.size()))
    queue = static_cast<std::uint8_t>(queue % channels.ranges[0].queues);
}

void steer(const RxRules& rules, std::span<const packet::FrameView> frames, std::span<RxInfo> into) noexcept {
  const bool has_flows = !rules.flows.empty();
  HeaderCache cache;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    RxInfo& info = into[i];  // in place: a copy of what has just been stored byte by byte would wait for it
    if (cache.fits(frames[i])) {
      cache.put(frames[i], info);
      choose_queue(rules, has_flows, frames[i], cache.look(), info);
      continue;
    }
    info = {};
    Look look;
    if (!look_at_frame(rules, frames[i], info, look)) continue;
    cache.note(frames[i], info, look);
    choose_queue(rules, has_flows, frames[i], look, info);
  }
}

packet::Accepts accepts(const RxRules& rules, std::uint32_t max_frame_with_fcs) noexcept {
  packet::Accepts takes;
  // A tag beside the bytes can stay there when it goes to the write-back; else it has to be put in.
  const auto strips = [](const VlanTag& tag) { return tag.strip && tag.tpid == 0x8100; };
  takes.vlan = strips(rules.vlan.outer) || strips(rules.vlan.inner);
  takes.max_frame = max_frame_with_fcs < kFcs ? 0 : max_frame_with_fcs - kFcs;
  return takes;
}

}  // namespace vmux::intel

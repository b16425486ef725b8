// SPDX-License-Identifier: BSD-3-Clause
#include "intel/tx_offload.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/crc.hpp"
#include "packet/bytes.hpp"
#include "packet/headers.hpp"
#include "packet/sum/checksum.hpp"
#include "packet/transfer.hpp"

namespace vmux::intel {
namespace {

constexpr std::uint32_t kEthernet = 14, kIpv4 = 20, kIpv6 = 40, kTcp = 20, kUdp = 8, kSctp = 12;  // bytes
constexpr std::uint8_t kTcpNumber = 6, kUdpNumber = 17;

enum class Ip : std::uint8_t { none = 0, v6 = 1, v4 = 2, v4_checksum = 3 };
enum class L4 : std::uint8_t { none = 0, tcp = 1, sctp = 2, udp = 3 };

/// Where the headers lie, as the descriptors say: bytes from the start of the frame.
struct Layout {
  Ip ip = Ip::none;
  L4 l4_kind = L4::none;
  std::uint32_t l3 = 0, l4 = 0, payload = 0;  // the inner ones of a tunnel
  // The outer headers of a tunnel (8.4.2.2.1).
  std::uint64_t external = external_ip::none;
  bool is_udp_tunnel = false, wants_outer_checksum = false;
  std::uint32_t outer_l3 = 0, outer_l4 = 0;

  [[nodiscard]] bool is_tunnel() const noexcept { return external != external_ip::none; }
};

Layout layout_of(const TxRequest& request) noexcept {
  const std::uint64_t high = request.data_high, low = request.context_low;
  const auto bytes = [](std::uint64_t words, std::uint32_t size) { return static_cast<std::uint32_t>(words) * size; };
  Layout at;
  at.ip = static_cast<Ip>(tx_cmd::iipt::get(request.cmd()));
  at.l4_kind = static_cast<L4>(tx_cmd::l4t::get(request.cmd()));
  at.l3 = bytes(tx_high::maclen::get(high), 2);
  if (request.has_context && tx_low::eipt::get(low) != external_ip::none) {
    at.external = tx_low::eipt::get(low);
    at.is_udp_tunnel = tx_low::l4tunt::get(low) == 1;
    at.wants_outer_checksum = at.is_udp_tunnel && tx_low::l4t_cs::is_set(low);
    at.outer_l3 = at.l3;
    at.outer_l4 = at.outer_l3 + bytes(tx_low::eiplen::get(low), 4);
    at.l3 = at.outer_l4 + bytes(tx_low::l4tunlen::get(low), 2);
  }
  at.l4 = at.l3 + bytes(tx_high::iplen::get(high), 4);
  at.payload = at.l4 + bytes(tx_high::l4len::get(high), 4);
  return at;
}

constexpr std::uint32_t size_of(L4 kind) noexcept {
  return kind == L4::tcp ? kTcp : kind == L4::udp ? kUdp : kind == L4::sctp ? kSctp : 0;
}

/// Whether the outer headers lie in the first `header_size` bytes and are as long as such headers are at least.
bool is_outer_sound(const Layout& at, std::size_t header_size) noexcept {
  const std::uint32_t ip_size = at.external == external_ip::ipv6 ? kIpv6 : kIpv4;
  return at.outer_l3 >= kEthernet && at.outer_l4 >= at.outer_l3 + ip_size &&
         at.l3 >= at.outer_l4 + (at.is_udp_tunnel ? kUdp : 0) && at.l3 <= header_size;
}

/// The same of the inner ones, or of those of a frame without a tunnel.
bool is_inner_sound(const Layout& at, std::size_t header_size) noexcept {
  return at.ip != Ip::none && at.l3 >= kEthernet && at.l4 >= at.l3 + (at.ip == Ip::v6 ? kIpv6 : kIpv4) &&
         at.l4 + size_of(at.l4_kind) <= header_size;
}

void put_ipv4_checksum(std::span<std::byte> header, std::uint32_t l3, std::uint32_t end) noexcept {
  packet::put16(header, l3 + 10, packet::ipv4_header_checksum(packet::Slice{header}.subspan(l3, end - l3)));
}

constexpr std::uint16_t checksum_offset(L4 kind) noexcept { return kind == L4::tcp ? 16 : 6; }

void ask_for_checksum(const Layout& at, packet::Offload& offload) noexcept {
  offload.needs_checksum = true;
  offload.csum_start = static_cast<std::uint16_t>(at.l4);
  offload.csum_offset = checksum_offset(at.l4_kind);
}

// Lengths and checksums of the headers in front of the inner IP header, for a frame of this length as it is. False:
// they are not where the descriptor says.
bool finish_outer(const Layout& at, std::span<std::byte> header, packet::FrameView& view, bool set_lengths) noexcept {
  const bool is_wanted = set_lengths || at.external == external_ip::ipv4_checksum || at.wants_outer_checksum;
  if (!at.is_tunnel() || !is_wanted) return true;
  if (!is_outer_sound(at, header.size())) return false;
  if (set_lengths) {
    const bool is_v6 = at.external == external_ip::ipv6;
    const std::uint32_t from = is_v6 ? at.outer_l3 + kIpv6 : at.outer_l3;
    packet::put16(header, at.outer_l3 + (is_v6 ? 4 : 2), static_cast<std::uint16_t>(view.length - from));
    if (at.is_udp_tunnel) packet::put16(header, at.outer_l4 + 4, static_cast<std::uint16_t>(view.length - at.outer_l4));
  }
  if (at.external == external_ip::ipv4_checksum || (set_lengths && at.external == external_ip::ipv4)) {
    put_ipv4_checksum(header, at.outer_l3, at.outer_l4);
  }
  if (!at.wants_outer_checksum || view.offload.gso != packet::Gso::none) return true;
  const auto outer = packet::parse(header);
  if (!outer || outer->l4 != packet::L4::udp || outer->l4_offset != at.outer_l4) return false;
  const std::uint32_t l4_length = view.length - at.outer_l4;
  if (view.offload.needs_checksum) {
    const std::uint16_t sum = packet::outer_udp_checksum(header, *outer, at.l4, view.offload.csum_offset, l4_length);
    packet::put16(header, at.outer_l4 + 6, sum);
    return true;
  }
  // Nothing inside to be finished: then the outer checksum is the one that is still due.
  packet::put16(header, at.outer_l4 + 6, packet::pseudo_header_sum(header, *outer, l4_length));
  view.offload.needs_checksum = true;
  view.offload.csum_start = static_cast<std::uint16_t>(at.outer_l4);
  view.offload.csum_offset = 6;
  return true;
}

// 8.4.2.2: the device writes lengths into the headers of every segment; here they are made whole for the super-frame,
// and the checksum field gets the pseudo-header sum over the whole, as everyone behind us expects it. (One that is
// longer than its headers can say is cut before anyone reads them.) False: it cannot be cut.
bool segment(const TxRequest& request, const Layout& at, std::span<std::byte> header,
             packet::FrameView& view) noexcept {
  const auto mss = static_cast<std::uint16_t>(tx_high::mss::get(request.context_high));
  const bool has_kind = at.l4_kind == L4::tcp || at.l4_kind == L4::udp;
  if (mss == 0 || !has_kind || !is_inner_sound(at, header.size())) return false;
  if (at.payload < at.l4 + size_of(at.l4_kind) || at.payload > header.size()) return false;
  const bool is_v4 = at.ip != Ip::v6, is_tcp = at.l4_kind == L4::tcp;
  const std::uint32_t l4_length = view.length - at.l4;
  packet::Checksum pseudo;
  if (is_v4) {
    packet::put16(header, at.l3 + 2, static_cast<std::uint16_t>(view.length - at.l3));
    put_ipv4_checksum(header, at.l3, at.l4);
    pseudo.add(header.subspan(at.l3 + 12, 8));
  } else {
    packet::put16(header, at.l3 + 4, static_cast<std::uint16_t>(view.length - at.l3 - kIpv6));
    pseudo.add(header.subspan(at.l3 + 8, 32));
  }
  std::array<std::byte, 8> tail{};
  packet::put32(tail, 0, l4_length);
  packet::put32(tail, 4, is_tcp ? kTcpNumber : kUdpNumber);
  pseudo.add(tail);
  if (!is_tcp) packet::put16(header, at.l4 + 4, static_cast<std::uint16_t>(l4_length));
  packet::put16(header, at.l4 + checksum_offset(at.l4_kind), pseudo.partial());

  packet::Offload& offload = view.offload;
  ask_for_checksum(at, offload);
  if (view.length - at.payload > mss) {  // otherwise it fits one frame as it is
    offload.gso = !is_tcp ? packet::Gso::udp : is_v4 ? packet::Gso::tcp4 : packet::Gso::tcp6;
    offload.header_length = static_cast<std::uint16_t>(at.payload);
    offload.gso_size = mss;
    if (at.is_tunnel()) {
      offload.tunnel = static_cast<std::uint16_t>(at.l3);
      offload.tunnel_checksum = at.wants_outer_checksum;
      offload.tunnel_fixed_id = tx_low::eip_noinc::is_set(request.context_low);
    }
  }
  return finish_outer(at, header, view, true);
}

// RFC 9260 6.8: over the SCTP packet, which ends where the IP header says. The payload is read here and once more when
// it is copied; a guest that changes it in between spoils its own frame.
void put_sctp_checksum(const Layout& at, std::span<std::byte> header, const packet::FrameView& view) noexcept {
  const bool is_v6 = at.ip == Ip::v6;
  const std::uint32_t end =
      is_v6 ? at.l3 + kIpv6 + packet::get16(header, at.l3 + 4) : at.l3 + packet::get16(header, at.l3 + 2);
  std::size_t left = std::min(end, view.length) - std::min(at.l4, end);
  std::memset(header.data() + at.l4 + 8, 0, 4);
  Crc32c crc;
  const auto add = [&](packet::Slice part) {
    const packet::Slice taken = part.first(std::min(left, part.size()));
    crc.add(taken);
    left -= taken.size();
  };
  add(packet::Slice{header}.subspan(at.l4));
  for (const packet::Slice part : view.payload)
    add(part);
  const Le<std::uint32_t> sum = crc.finish();
  std::memcpy(header.data() + at.l4 + 8, &sum, sizeof sum);
}

// As many as can be. False: not all. Linux leaves the lengths 0 when it has summed the frame itself, behind a tunnel of
// which it has already told; so what is not asked for is not looked at.
bool insert_checksums(const Layout& at, std::span<std::byte> header, packet::FrameView& view) noexcept {
  const bool is_wanted = at.ip == Ip::v4_checksum || at.l4_kind != L4::none;
  const bool is_sound = is_inner_sound(at, header.size());
  if (is_wanted && is_sound) {
    if (at.ip == Ip::v4_checksum) put_ipv4_checksum(header, at.l3, at.l4);
    if (at.l4_kind == L4::sctp) put_sctp_checksum(at, header, view);
    if (at.l4_kind == L4::tcp || at.l4_kind == L4::udp) ask_for_checksum(at, view.offload);
  }
  return finish_outer(at, header, view, false) && (is_sound || !is_wanted);
}

void insert_tag(std::span<std::byte> room, std::uint16_t tpid, std::uint16_t tci, packet::FrameView& view) noexcept {
  const std::size_t size = view.header.size();
  std::memmove(room.data() + kMacs + kTag, room.data() + kMacs, size - kMacs);
  packet::put16(room, kMacs, tpid);
  packet::put16(room, kMacs + 2, tci);
  view.header = packet::Slice{room}.first(size + kTag);
  view.length += kTag;
  packet::Offload& offload = view.offload;
  const auto shift = [](std::uint16_t& at) { at = static_cast<std::uint16_t>(at + kTag); };
  if (offload.needs_checksum) shift(offload.csum_start);
  if (offload.gso != packet::Gso::none) shift(offload.header_length);
  if (offload.tunnel != 0) shift(offload.tunnel);
}

std::optional<std::uint16_t> tag_at(const TxRequest& request, TagPlace place) noexcept {
  if (place == TagPlace::l2tag1) {
    if ((request.cmd() & tx_cmd::IL2TAG1) == 0) return std::nullopt;
    return static_cast<std::uint16_t>(tx_high::l2tag1::get(request.data_high));
  }
  const bool is_given =
      request.has_context && (tx_high::context_cmd::get(request.context_high) & context_cmd::IL2TAG2) != 0;
  if (!is_given) return std::nullopt;
  return static_cast<std::uint16_t>(tx_low::l2tag2::get(request.context_low));
}

/// A tag goes beside the bytes if it is an 802.1Q one and the outermost; otherwise into them. False: a frame without
/// room for a tag; without it it would go where it must not.
bool insert_tags(const TxRequest& request, const VlanOffload& vlan, std::span<std::byte> room,
                 packet::FrameView& view) noexcept {
  const auto tag_of = [&](const VlanTag& rule) { return rule.insert ? tag_at(request, rule.place) : std::nullopt; };
  const auto outer = tag_of(vlan.outer), inner = tag_of(vlan.inner);
  const auto outermost = outer ? outer : inner;
  if (!outermost) return true;
  if (view.header.size() < kEthernet) return false;
  if (outer && inner) insert_tag(room, vlan.inner.tpid, *inner, view);
  const std::uint16_t tpid = outer ? vlan.outer.tpid : vlan.inner.tpid;
  if (tpid != 0x8100) {
    insert_tag(room, tpid, *outermost, view);
  } else {
    view.offload.has_vlan = true;
    view.offload.vlan_tci = *outermost;
  }
  return true;
}

}  // namespace

std::uint32_t header_length(const TxRequest& request) noexcept {
  const Layout at = layout_of(request);
  return std::max(at.payload, at.l4 + size_of(at.l4_kind));
}

Outcome apply(const TxRequest& request, const VlanOffload& vlan, std::span<std::byte> room,
              packet::FrameView& view) noexcept {
  const Layout at = layout_of(request);
  const std::span<std::byte> header = room.first(view.header.size());
  const bool is_segmented = request.is_segmented();
  if (is_segmented && !segment(request, at, header, view)) return Outcome::lost;
  const bool is_finished = is_segmented || insert_checksums(at, header, view);
  if (!insert_tags(request, vlan, room, view) || !packet::is_consistent(view)) return Outcome::lost;
  return is_finished ? Outcome::done : Outcome::unfinished;
}

}  // namespace vmux::intel

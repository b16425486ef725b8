// SPDX-License-Identifier: BSD-3-Clause
#include "device/iavf/tx_offload.hpp"

#include <algorithm>
#include <cstring>

#include "packet/bytes.hpp"
#include "packet/checksum.hpp"

namespace vmux::device::iavf {
namespace {

constexpr std::uint32_t kEthernet = 14, kIpv4 = 20, kIpv6 = 40, kTcp = 20, kUdp = 8, kSctp = 12;  // bytes
constexpr std::uint8_t kTcpNumber = 6, kUdpNumber = 17;

enum class Ip : std::uint8_t { none = 0, v6 = 1, v4 = 2, v4_checksum = 3 };
enum class L4 : std::uint8_t { none = 0, tcp = 1, sctp = 2, udp = 3 };

/// Where the headers lie, as the descriptors say: bytes from the start of the frame.
struct Layout {
  Ip ip = Ip::none;
  L4 l4_kind = L4::none;
  std::uint32_t l3 = 0, l4 = 0, payload = 0;
};

Layout layout_of(const TxRequest& request) noexcept {
  const std::uint64_t high = request.data_high;
  Layout at;
  at.ip = static_cast<Ip>(tx_cmd::iipt::get(request.cmd()));
  at.l4_kind = static_cast<L4>(tx_cmd::l4t::get(request.cmd()));
  at.l3 = static_cast<std::uint32_t>(tx_high::maclen::get(high) * 2);
  at.l4 = at.l3 + static_cast<std::uint32_t>(tx_high::iplen::get(high) * 4);
  at.payload = at.l4 + static_cast<std::uint32_t>(tx_high::l4len::get(high) * 4);
  return at;
}

bool is_sound(const Layout& at, std::size_t header_size) noexcept {
  if (at.ip == Ip::none || at.l3 < kEthernet) return false;
  if (at.l4 < at.l3 + (at.ip == Ip::v6 ? kIpv6 : kIpv4)) return false;
  const std::uint32_t l4_size = at.l4_kind == L4::tcp    ? kTcp
                                : at.l4_kind == L4::udp  ? kUdp
                                : at.l4_kind == L4::sctp ? kSctp
                                                         : 0;
  return at.payload >= at.l4 + l4_size && at.payload <= header_size;
}

void put_ipv4_checksum(std::span<std::byte> header, const Layout& at) noexcept {
  packet::put16(header, at.l3 + 10, packet::ipv4_header_checksum(packet::Slice{header}.subspan(at.l3, at.l4 - at.l3)));
}

constexpr std::uint16_t checksum_offset(L4 kind) noexcept { return kind == L4::tcp ? 16 : 6; }

// 8.4.2.2: the device writes lengths into the headers of every segment; here they are made whole for the super-frame,
// and the checksum field gets the pseudo-header sum over the whole, as everyone behind us expects it.
Outcome segment(const TxRequest& request, const Layout& at, std::span<std::byte> header,
                packet::FrameView& view) noexcept {
  const auto mss = static_cast<std::uint16_t>(tx_high::mss::get(request.context_high));
  if (mss == 0 || at.l4_kind == L4::none || at.l4_kind == L4::sctp || !is_sound(at, header.size())) {
    return Outcome::impossible;
  }
  if (view.length < at.payload || view.length - at.l3 > 0xffff) return Outcome::impossible;
  const bool is_v4 = at.ip != Ip::v6, is_tcp = at.l4_kind == L4::tcp;
  const std::uint32_t l4_length = view.length - at.l4;
  packet::Checksum pseudo;
  if (is_v4) {
    packet::put16(header, at.l3 + 2, static_cast<std::uint16_t>(view.length - at.l3));
    put_ipv4_checksum(header, at);
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
  offload.needs_checksum = true;
  offload.csum_start = static_cast<std::uint16_t>(at.l4);
  offload.csum_offset = checksum_offset(at.l4_kind);
  if (view.length - at.payload <= mss) return Outcome::done;  // fits one frame as it is
  offload.gso = !is_tcp ? packet::Gso::udp : is_v4 ? packet::Gso::tcp4 : packet::Gso::tcp6;
  offload.header_length = static_cast<std::uint16_t>(at.payload);
  offload.gso_size = mss;
  return Outcome::done;
}

Outcome insert_checksums(const Layout& at, std::span<std::byte> header, packet::FrameView& view) noexcept {
  if (at.ip == Ip::none && at.l4_kind == L4::none) return Outcome::done;
  if (!is_sound(at, header.size())) return Outcome::impossible;
  if (at.ip == Ip::v4_checksum) put_ipv4_checksum(header, at);
  if (at.l4_kind == L4::none || at.l4_kind == L4::sctp) return Outcome::done;
  view.offload.needs_checksum = true;
  view.offload.csum_start = static_cast<std::uint16_t>(at.l4);
  view.offload.csum_offset = checksum_offset(at.l4_kind);
  return Outcome::done;
}

}  // namespace

std::uint32_t header_length(const TxRequest& request) noexcept { return layout_of(request).payload; }

Outcome apply(const TxRequest& request, const VlanOffload& vlan, std::span<std::byte> room,
              packet::FrameView& view) noexcept {
  const Layout at = layout_of(request);
  const std::span<std::byte> header = room.first(view.header.size());
  const Outcome outcome =
      request.is_segmented() ? segment(request, at, header, view) : insert_checksums(at, header, view);
  if (outcome != Outcome::done) return outcome;
  if ((request.cmd() & tx_cmd::IL2TAG1) != 0 && vlan.outer.insert && vlan.outer.place == TagPlace::l2tag1) {
    view.offload.has_vlan = true;
    view.offload.vlan_tci = static_cast<std::uint16_t>(tx_high::l2tag1::get(request.data_high));
  }
  return Outcome::done;
}

}  // namespace vmux::device::iavf

// SPDX-License-Identifier: BSD-3-Clause
// Checksums of what has arrived, as RXCSUM wants them. Manual 3.2.9.
#include <array>

#include "device/e1000/rx/rx.hpp"
#include "packet/bytes.hpp"
#include "packet/headers.hpp"
#include "packet/spans.hpp"
#include "packet/sum/checksum.hpp"

namespace vmux::device::e1000 {
namespace {

constexpr std::uint32_t kTag = 4;  // bytes of a VLAN tag

}  // namespace

bool Receiver::is_transport_sum_right(const packet::Headers& headers, packet::Slice header, std::uint32_t length,
                                      std::span<const std::span<std::byte>> stored,
                                      std::uint32_t removed) const noexcept {
  const std::size_t l3 = headers.l3_offset, l4 = headers.l4_offset;
  // The IP header says where the segment ends: what follows is padding.
  const std::size_t end =
      headers.l3 == packet::L3::ipv4 ? l3 + packet::get16(header, l3 + 2) : l3 + 40 + packet::get16(header, l3 + 4);
  if (end < l4 || end > length) return false;
  const std::uint16_t pseudo = packet::pseudo_header_sum(header, headers, static_cast<std::uint32_t>(end - l4));
  packet::Checksum sum;
  packet::for_range(stored, l4 - removed, end - l4, [&sum](std::span<std::byte> part) { sum.add(part); });
  if (((end - l4) & 1) != 0) sum.add(packet::Slice{std::array<std::byte, 1>{}});
  const std::array<std::byte, 2> field{static_cast<std::byte>(pseudo >> 8), static_cast<std::byte>(pseudo & 0xff)};
  sum.add(field);
  return sum.finish() == 0;
}

// 3.2.9: what RXCSUM asks for, told in status and errors.
void Receiver::check_sums(const packet::Piece& piece, std::span<const std::span<std::byte>> stored, bool stripped,
                          bool is_verified, RxMeta& meta) const noexcept {
  const std::uint32_t wanted = registers_.get(reg::RXCSUM);
  const bool check_ip = rxcsum::ipofld::is_set(wanted), check_transport = rxcsum::tuofld::is_set(wanted);
  const auto headers = check_ip || check_transport ? packet::parse(piece.header) : std::nullopt;
  if (!headers || headers->l3 == packet::L3::other) {
    meta.status |= rx_status::IXSM;
    return;
  }
  const bool is_v4 = headers->l3 == packet::L3::ipv4;
  const bool has_port = headers->l4 == packet::L4::tcp || headers->l4 == packet::L4::udp;
  const std::size_t l3 = headers->l3_offset, l4 = headers->l4_offset;
  if (is_v4 && check_ip && piece.header.size() >= l3 + 20) {
    const std::size_t size = (std::to_integer<std::size_t>(piece.header[l3]) & 0xf) * 4;
    if (size >= 20 && piece.header.size() >= l3 + size) {
      meta.status |= rx_status::IPCS;
      const std::uint16_t right = packet::ipv4_header_checksum(piece.header.subspan(l3, size));
      if (right != packet::get16(piece.header, l3 + 10)) meta.errors |= rx_errors::IPE;
    }
  }
  if (has_port && check_transport && !headers->is_fragment && piece.header.size() >= l4 + 8) {
    const bool is_bare_udp =
        headers->l4 == packet::L4::udp && is_v4 && !is_verified && packet::get16(piece.header, l4 + 6) == 0;
    if (!is_bare_udp) {  // RFC 768: no checksum was sent
      meta.status |= rx_status::TCPCS;
      const std::uint32_t removed = stripped ? kTag : 0;
      if (!is_verified && !is_transport_sum_right(*headers, piece.header, piece.length, stored, removed)) {
        meta.errors |= rx_errors::TCPE;
      }
    }
  }
  if ((meta.status & (rx_status::IPCS | rx_status::TCPCS)) == 0) meta.status |= rx_status::IXSM;
}

}  // namespace vmux::device::e1000

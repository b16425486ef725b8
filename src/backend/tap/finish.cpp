// SPDX-License-Identifier: BSD-3-Clause
#include "backend/tap/finish.hpp"

#include <algorithm>
#include <cstring>

#include "packet/bytes.hpp"
#include "packet/sum/checksum.hpp"
#include "packet/transfer.hpp"

namespace vmux::backend {
namespace {

constexpr std::uint16_t kTypeIpv6 = 0x86dd, kTypeVlan = 0x8100, kTypeServiceVlan = 0x88a8;
constexpr std::size_t kMacs = 12, kTag = 4, kIpv6 = 40, kTcp = 20, kUdp = 8;  // bytes
constexpr std::uint16_t kTcpChecksum = 16, kUdpChecksum = 6;
constexpr std::uint8_t kFin = 0x01, kPush = 0x08, kCwr = 0x80;  // RFC 9293 3.1

// Where the IPv6 header begins; 0: there is none.
std::size_t ipv6_offset(packet::Slice frame) noexcept {
  std::size_t at = kMacs;
  while (at + 2 <= frame.size()) {
    const std::uint16_t type = packet::get16(frame, at);
    if (type == kTypeIpv6) return at + 2;
    if (type != kTypeVlan && type != kTypeServiceVlan) return 0;
    at += kTag;
  }
  return 0;
}

// RFC 1624: a one's complement sum without one 16-bit word, and with another.
std::uint16_t replaced(std::uint16_t sum, std::size_t old_word, std::size_t new_word) noexcept {
  std::uint64_t result = sum + (~std::uint64_t{old_word} & 0xffff) + new_word;
  while (result > 0xffff)
    result = (result & 0xffff) + (result >> 16);
  return static_cast<std::uint16_t>(result);
}

}  // namespace

bool finish_checksum(std::span<std::byte> frame, std::size_t start, std::size_t offset) noexcept {
  if (start + offset + 2 > frame.size()) return false;
  packet::Checksum sum;
  sum.add(frame.subspan(start));
  const std::uint16_t value = sum.finish();
  const bool is_udp = offset == kUdpChecksum;  // RFC 768: zero says "no checksum"
  packet::put16(frame, start + offset, is_udp && value == 0 ? std::uint16_t{0xffff} : value);
  return true;
}

bool LongCutter::begin(std::span<const std::byte> frame, const packet::Offload& offload) noexcept {
  const bool is_udp = offload.gso == packet::Gso::udp;
  if (!is_udp && offload.gso != packet::Gso::tcp6) return false;
  if (!offload.needs_checksum || offload.csum_offset != (is_udp ? kUdpChecksum : kTcpChecksum)) return false;
  l3_ = ipv6_offset(frame);
  l4_ = offload.csum_start;
  if (l3_ == 0 || l4_ < l3_ + kIpv6 || l4_ + (is_udp ? kUdp : kTcp) > frame.size()) return false;
  const std::size_t l4_size = is_udp ? kUdp : static_cast<std::size_t>(packet::get8(frame, l4_ + 12) >> 4) * 4;
  header_ = l4_ + l4_size;
  if ((!is_udp && l4_size < kTcp) || header_ >= frame.size() || offload.gso_size == 0) return false;
  if ((frame.size() - header_) / offload.gso_size >= packet::kMaxPieces) return false;
  frame_ = frame;
  offload_ = offload;
  payload_ = frame.size() - header_;
  sent_ = 0;
  return true;
}

std::size_t LongCutter::next(std::span<std::byte> into) noexcept {
  if (is_done()) return 0;
  const std::size_t payload = std::min<std::size_t>(offload_.gso_size, payload_ - sent_);
  const std::span<std::byte> piece = into.first(header_ + payload);
  std::memcpy(piece.data(), frame_.data(), header_);
  std::memcpy(piece.data() + header_, frame_.data() + header_ + sent_, payload);
  packet::put16(piece, l3_ + 4, static_cast<std::uint16_t>(piece.size() - l3_ - kIpv6));
  if (offload_.gso == packet::Gso::udp) {
    packet::put16(piece, l4_ + 4, static_cast<std::uint16_t>(piece.size() - l4_));
  } else {
    std::uint8_t flags = packet::get8(piece, l4_ + 13);
    if (sent_ + payload < payload_) flags &= static_cast<std::uint8_t>(~(kFin | kPush));
    if (sent_ > 0) flags &= static_cast<std::uint8_t>(~kCwr);  // RFC 3168 6.1.2: only on the first
    packet::put32(piece, l4_ + 4, packet::get32(piece, l4_ + 4) + static_cast<std::uint32_t>(sent_));
    packet::put8(piece, l4_ + 13, flags);
  }
  // The sum that stands in the field has the length of the whole. It is not made anew: behind a routing header the
  // address that counts is another than the IPv6 header's (RFC 8200 8.1).
  const std::size_t field = l4_ + offload_.csum_offset;
  packet::put16(piece, field, replaced(packet::get16(piece, field), frame_.size() - l4_, piece.size() - l4_));
  static_cast<void>(finish_checksum(piece, l4_, offload_.csum_offset));
  sent_ += payload;
  return piece.size();
}

}  // namespace vmux::backend

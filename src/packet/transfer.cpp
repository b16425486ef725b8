// SPDX-License-Identifier: BSD-3-Clause
#include "packet/transfer.hpp"

#include <algorithm>
#include <cstring>

#include "packet/bytes.hpp"
#include "packet/sum/checksum.hpp"

namespace vmux::packet {
namespace {

constexpr std::size_t kEthernet = 14;                                // bytes
constexpr std::size_t kMacs = 12;                                    // bytes of the two addresses
constexpr std::uint8_t kFin = 0x01, kPush = 0x08, kCwr = 0x80;       // RFC 9293 3.1
constexpr std::uint16_t kTcpChecksum = 16, kUdpChecksum = 6;         // offset of the field in the L4 header
constexpr std::size_t kTcpMinimum = 20, kUdpHeader = 8, kIpv6 = 40;  // bytes

std::size_t header_limit(const FrameView& view) noexcept { return std::min(view.header.size(), kLongestHeader); }

// A super-frame that is longer than an IP header can say has no length: only its pieces have.
bool takes(const Accepts& accepts, const FrameView& view) noexcept {
  constexpr std::uint32_t kLongest = 0xffff;
  const Offload& offload = view.offload;
  if (!accepts.checksum || offload.tunnel != 0 || view.length > kLongest) return false;
  const Gso kind = offload.gso;
  return (kind == Gso::tcp4 && accepts.gso_tcp4) || (kind == Gso::tcp6 && accepts.gso_tcp6) ||
         (kind == Gso::udp && accepts.gso_udp);
}

bool is_checksum_inside(const FrameView& view) noexcept {
  const std::size_t field = std::size_t{view.offload.csum_start} + view.offload.csum_offset;
  return view.offload.csum_start >= kEthernet && field + 2 <= header_limit(view);
}

bool is_kind(const Headers& headers, Gso kind) noexcept {
  if (headers.is_fragment) return false;
  switch (kind) {
    case Gso::tcp4:
      return headers.l3 == L3::ipv4 && headers.l4 == L4::tcp;
    case Gso::tcp6:
      return headers.l3 == L3::ipv6 && headers.l4 == L4::tcp;
    case Gso::udp:
      return headers.l4 == L4::udp;
    case Gso::none:
      break;
  }
  return false;
}

// The outer headers of a tunnel: IP, and whatever follows in front of the inner IP header.
bool is_tunnel(Slice header, std::size_t inner) noexcept {
  const auto outer = parse(header);
  if (!outer || outer->l3 == L3::other || outer->is_fragment) return false;
  const std::size_t end = outer->l4 == L4::udp ? outer->l4_offset + kUdpHeader : outer->l3_offset + kTcpMinimum;
  return inner >= end;
}

// A super-frame that can be cut: returns its headers, the inner ones of a tunnel.
std::optional<Headers> check_super_frame(const FrameView& view) noexcept {
  const Offload& offload = view.offload;
  if (offload.gso_size == 0 || offload.header_length > header_limit(view)) return std::nullopt;
  if (offload.header_length > view.length) return std::nullopt;
  if ((view.length - offload.header_length) / offload.gso_size >= kMaxPieces) return std::nullopt;
  const auto headers = offload.tunnel != 0 ? parse_ip(view.header, offload.tunnel) : parse(view.header);
  if (!headers || !is_kind(*headers, offload.gso)) return std::nullopt;
  if (offload.tunnel != 0 && !is_tunnel(view.header, offload.tunnel)) return std::nullopt;
  const std::size_t l4 = headers->l4 == L4::tcp ? kTcpMinimum : kUdpHeader;
  if (offload.header_length < headers->l4_offset + l4) return std::nullopt;
  return headers;
}

// Writes bytes one after another into buffers.
class Writer {
 public:
  explicit Writer(std::span<const std::span<std::byte>> to) noexcept : to_(to) {}
  // The rest of the current buffer, at most `bytes`; empty at the end.
  std::span<std::byte> take(std::size_t bytes) noexcept {
    while (index_ < to_.size() && offset_ == to_[index_].size()) {
      ++index_;
      offset_ = 0;
    }
    if (index_ == to_.size()) return {};
    const auto room = to_[index_].subspan(offset_, std::min(bytes, to_[index_].size() - offset_));
    offset_ += room.size();
    return room;
  }
  void write(Slice bytes) noexcept {
    while (!bytes.empty()) {
      const auto room = take(bytes.size());
      if (room.empty()) return;
      std::memmove(room.data(), bytes.data(), room.size());  // a VM's two ports may be given the same memory
      bytes = bytes.subspan(room.size());
    }
  }
  void write_summed(Slice bytes, Checksum& sum) noexcept {
    while (!bytes.empty()) {
      const auto room = take(bytes.size());
      if (room.empty()) return;
      sum.copy(room, bytes.first(room.size()));
      bytes = bytes.subspan(room.size());
    }
  }
  void skip(std::size_t bytes) noexcept {
    while (bytes > 0) {
      const auto room = take(bytes);
      if (room.empty()) return;
      bytes -= room.size();
    }
  }

 private:
  std::span<const std::span<std::byte>> to_;
  std::size_t index_ = 0, offset_ = 0;
};

}  // namespace

Pieces::Pieces(const FrameView& view, const Accepts& accepts) noexcept : view_(view) {
  const Offload& offload = view.offload;
  piece_.length = view.length;
  piece_.offload = offload;
  piece_.header = view.header;
  base_ = static_cast<std::uint32_t>(view.header.size());
  piece_.payload_offset = base_;
  takes_checksum_ = accepts.checksum;
  tag_size_ = offload.has_vlan && !accepts.vlan ? 4 : 0;
  cut_ = offload.gso != Gso::none && !takes(accepts, view);
  finish_checksum_ = (offload.needs_checksum || cut_) && !accepts.checksum;
  if (cut_ || finish_checksum_ || tag_size_ != 0) prepare();
}

// Something changes: the headers are made anew in header_.
void Pieces::prepare() noexcept {
  const bool malformed =
      (tag_size_ != 0 && view_.header.size() < kMacs) || (finish_checksum_ && !cut_ && !is_checksum_inside(view_));
  if (malformed) {
    count_ = 0;
    return;
  }
  if (cut_) return prepare_cut();
  put_header(header_limit(view_));
  if (finish_checksum_) {
    piece_.offload.needs_checksum = false;
    piece_.offload.checksum_verified = true;
  }
}

void Pieces::put_header(std::size_t bytes) noexcept {
  Offload& offload = piece_.offload;
  if (tag_size_ == 0) {
    std::memcpy(header_.data(), view_.header.data(), bytes);
  } else {
    std::memcpy(header_.data(), view_.header.data(), kMacs);
    put16(header_, kMacs, 0x8100);  // IEEE 802.1Q 9.6
    put16(header_, kMacs + 2, offload.vlan_tci);
    std::memcpy(header_.data() + kMacs + 4, view_.header.data() + kMacs, bytes - kMacs);
    offload.has_vlan = false;
    if (offload.needs_checksum) offload.csum_start = static_cast<std::uint16_t>(offload.csum_start + 4);
    if (offload.gso != Gso::none) offload.header_length = static_cast<std::uint16_t>(offload.header_length + 4);
    if (offload.tunnel != 0) offload.tunnel = static_cast<std::uint16_t>(offload.tunnel + 4);
    piece_.length += 4;
  }
  base_ = static_cast<std::uint32_t>(bytes);
  piece_.payload_offset = base_;
  piece_.header = Slice{header_.data(), bytes + tag_size_};
}

void Pieces::prepare_cut() noexcept {
  const auto headers = check_super_frame(view_);
  if (!headers) {
    count_ = 0;
    return;
  }
  const std::uint32_t payload = view_.length - view_.offload.header_length;
  count_ = std::max(1u, (payload + view_.offload.gso_size - 1) / view_.offload.gso_size);
  headers_ = *headers;
  put_header(view_.offload.header_length);
  headers_.l3_offset = static_cast<std::uint16_t>(headers_.l3_offset + tag_size_);
  headers_.l4_offset = static_cast<std::uint16_t>(headers_.l4_offset + tag_size_);
  if (headers_.l3 == L3::ipv4) first_id_ = get16(header_, headers_.l3_offset + 4u);
  if (headers_.l4 == L4::tcp) {
    first_sequence_ = get32(header_, headers_.l4_offset + 4u);
    tcp_flags_ = get8(header_, headers_.l4_offset + 13u);
  }
  if (view_.offload.tunnel != 0) {
    outer_ = *parse(view_.header);  // check_super_frame() has seen that it is one
    outer_.l3_offset = static_cast<std::uint16_t>(outer_.l3_offset + tag_size_);
    outer_.l4_offset = static_cast<std::uint16_t>(outer_.l4_offset + tag_size_);
    if (outer_.l3 == L3::ipv4) first_outer_id_ = get16(header_, outer_.l3_offset + 4u);
  }
  Offload& offload = piece_.offload;
  offload.tunnel = 0;
  offload.tunnel_checksum = offload.tunnel_fixed_id = false;
  offload.gso = Gso::none;
  offload.gso_size = 0;
  offload.header_length = 0;
  offload.needs_checksum = takes_checksum_;
  offload.checksum_verified = !takes_checksum_;
  offload.csum_start = headers_.l4_offset;
  offload.csum_offset = headers_.l4 == L4::tcp ? kTcpChecksum : kUdpChecksum;
}

const Piece* Pieces::next() noexcept {
  if (index_ == count_) return nullptr;
  if (index_ > 0) advance(cursor_, piece_.length - piece_.header.size());
  ++index_;
  if (cut_) shape_cut_piece();
  return &piece_;
}

// Lengths, id, sequence number, flags and checksums of the piece that index_ has just counted.
void Pieces::shape_cut_piece() noexcept {
  const std::uint32_t size = view_.offload.gso_size;
  const std::uint32_t start = (index_ - 1) * size;
  const std::uint32_t payload = std::min(size, view_.length - base_ - start);
  const std::size_t l3 = headers_.l3_offset, l4 = headers_.l4_offset;
  piece_.length = static_cast<std::uint32_t>(piece_.header.size()) + payload;
  piece_.payload_offset = base_ + start;

  if (headers_.l3 == L3::ipv4) {
    put16(header_, l3 + 2, static_cast<std::uint16_t>(piece_.length - l3));
    put16(header_, l3 + 4, static_cast<std::uint16_t>(first_id_ + index_ - 1));
    const std::size_t ip_size = static_cast<std::size_t>(get8(header_, l3) & 0xf) * 4;
    put16(header_, l3 + 10, ipv4_header_checksum(Slice{header_}.subspan(l3, ip_size)));
  } else {
    put16(header_, l3 + 4, static_cast<std::uint16_t>(piece_.length - l3 - kIpv6));
  }
  if (headers_.l4 == L4::tcp) {
    std::uint8_t flags = tcp_flags_;
    if (index_ != count_) flags &= static_cast<std::uint8_t>(~(kFin | kPush));
    if (index_ != 1) flags &= static_cast<std::uint8_t>(~kCwr);  // RFC 3168 6.1.2: only on the first
    put32(header_, l4 + 4, first_sequence_ + start);
    put8(header_, l4 + 13, flags);
  } else {
    put16(header_, l4 + 4, static_cast<std::uint16_t>(piece_.length - l4));
  }
  const auto l4_length = static_cast<std::uint32_t>(piece_.length - l4);
  put16(header_, l4 + piece_.offload.csum_offset, pseudo_header_sum(header_, headers_, l4_length));
  if (view_.offload.tunnel != 0) shape_outer_headers();
}

// The same for what stands in front of a tunnel's inner IP header. The outer UDP checksum needs no look at the payload:
// once the inner one is right, all that it covers sums up to the complement of the pseudo-header that stands there now.
void Pieces::shape_outer_headers() noexcept {
  const std::size_t l3 = outer_.l3_offset, l4 = outer_.l4_offset, inner_l4 = headers_.l4_offset;
  if (outer_.l3 == L3::ipv4) {
    const std::uint32_t step = view_.offload.tunnel_fixed_id ? 0 : index_ - 1;
    put16(header_, l3 + 2, static_cast<std::uint16_t>(piece_.length - l3));
    put16(header_, l3 + 4, static_cast<std::uint16_t>(first_outer_id_ + step));
    const std::size_t ip_size = static_cast<std::size_t>(get8(header_, l3) & 0xf) * 4;
    put16(header_, l3 + 10, ipv4_header_checksum(Slice{header_}.subspan(l3, ip_size)));
  } else {
    put16(header_, l3 + 4, static_cast<std::uint16_t>(piece_.length - l3 - kIpv6));
  }
  if (outer_.l4 != L4::udp) return;
  put16(header_, l4 + 4, static_cast<std::uint16_t>(piece_.length - l4));
  if (!view_.offload.tunnel_checksum) return;
  put16(header_, l4 + kUdpChecksum,
        outer_udp_checksum(header_, outer_, inner_l4, piece_.offload.csum_offset,
                           static_cast<std::uint32_t>(piece_.length - l4)));
}

// The view's bytes behind those that stand in piece_.header: what is left of its header, then its payload.
Slice Pieces::part(std::size_t index) const noexcept {
  if (index == 0) return view_.header.subspan(std::min<std::size_t>(base_, view_.header.size()));
  return view_.payload[index - 1];
}

Slice Pieces::take(Cursor& cursor, std::size_t at_most) const noexcept {
  while (cursor.part <= view_.payload.size()) {
    const Slice rest = part(cursor.part).subspan(cursor.offset);
    if (!rest.empty()) {
      const Slice taken = rest.first(std::min(rest.size(), at_most));
      cursor.offset += taken.size();
      return taken;
    }
    ++cursor.part;
    cursor.offset = 0;
  }
  return {};
}

void Pieces::advance(Cursor& cursor, std::size_t bytes) const noexcept {
  while (bytes > 0) {
    const Slice skipped = take(cursor, bytes);
    if (skipped.empty()) return;
    bytes -= skipped.size();
  }
}

void Pieces::copy(std::span<const std::span<std::byte>> to) noexcept {
  if (finish_checksum_) return copy_payload_summed(to);
  Writer writer{to};
  writer.write(piece_.header);
  Cursor cursor = cursor_;
  std::size_t left = piece_.length - piece_.header.size();
  while (left > 0) {
    const Slice bytes = take(cursor, left);
    if (bytes.empty()) return;
    writer.write(bytes);
    left -= bytes.size();
  }
}

// The checksum stands before the bytes that it covers, so the headers are written last.
void Pieces::copy_payload_summed(std::span<const std::span<std::byte>> to) noexcept {
  const Offload& offload = piece_.offload;
  Checksum sum;
  sum.add(piece_.header.subspan(offload.csum_start));
  Writer writer{to};
  writer.skip(piece_.header.size());
  Cursor cursor = cursor_;
  std::size_t left = piece_.length - piece_.header.size();
  while (left > 0) {
    const Slice bytes = take(cursor, left);
    if (bytes.empty()) break;
    writer.write_summed(bytes, sum);
    left -= bytes.size();
  }
  const std::size_t field = std::size_t{offload.csum_start} + offload.csum_offset;
  const std::uint16_t pending = get16(header_, field);
  std::uint16_t result = sum.finish();
  if (result == 0 && offload.csum_offset == kUdpChecksum) result = 0xffff;  // RFC 768: zero says "no checksum"
  put16(header_, field, result);
  Writer{to}.write(piece_.header);
  put16(header_, field, pending);  // copy() may be called again
}

std::size_t Pieces::gather(std::span<Slice> into) const noexcept {
  Cursor cursor = cursor_;
  std::size_t left = piece_.length - piece_.header.size(), count = 0;
  while (left > 0) {
    const Slice bytes = take(cursor, left);
    if (bytes.empty()) break;
    if (count == into.size()) return count + 1;
    into[count++] = bytes;
    left -= bytes.size();
  }
  return count;
}

std::uint16_t outer_udp_checksum(std::span<std::byte> header, const Headers& outer, std::size_t inner_l4,
                                 std::size_t inner_offset, std::uint32_t l4_length) noexcept {
  put16(header, outer.l4_offset + std::size_t{kUdpChecksum}, 0);
  std::array<std::byte, 4> words{};
  put16(words, 0, pseudo_header_sum(header, outer, l4_length));
  put16(words, 2, static_cast<std::uint16_t>(~get16(header, inner_l4 + inner_offset)));
  Checksum sum;
  sum.add(words);
  sum.add(Slice{header}.subspan(outer.l4_offset, inner_l4 - outer.l4_offset));
  const std::uint16_t result = sum.finish();
  return result == 0 ? std::uint16_t{0xffff} : result;  // RFC 768: zero says "no checksum"
}

bool is_consistent(const FrameView& view) noexcept {
  std::size_t bytes = view.header.size();
  for (const Slice& slice : view.payload)
    bytes += slice.size();
  if (bytes != view.length || view.header.size() > kLongestHeader) return false;
  if (view.offload.needs_checksum && !is_checksum_inside(view)) return false;
  if (view.offload.gso == Gso::none) return true;
  return check_super_frame(view).has_value();
}

}  // namespace vmux::packet

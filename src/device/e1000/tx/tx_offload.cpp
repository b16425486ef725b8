// SPDX-License-Identifier: BSD-3-Clause
// Frames that the device is to do something to: headers, checksums, segmentation, tags. Manual 3.4 and 3.5.
#include <algorithm>
#include <cstring>

#include "device/e1000/tx/tx.hpp"
#include "packet/bytes.hpp"
#include "packet/sum/checksum.hpp"
#include "packet/transfer.hpp"

namespace vmux::device::e1000 {
namespace {

constexpr std::uint32_t kTag = 4;        // bytes of a VLAN tag
constexpr std::uint32_t kMacs = 12;      // bytes of the two addresses
constexpr std::uint32_t kEthernet = 14;  // bytes of the header
constexpr std::uint16_t kUsualTag = 0x8100;

}  // namespace

std::uint32_t Transmitter::header_length(const Draft& draft) const noexcept {
  const TxContext& context = draft.is_segmented ? segment_ : checksum_;
  std::uint32_t want = kUsualHeader;
  if (draft.is_segmented) want = std::max<std::uint32_t>(64, context.hdrlen);
  if (draft.is_legacy) {
    want = std::max<std::uint32_t>({want, draft.css, draft.cso + 2u});
  } else if (draft.options != 0 && !draft.is_segmented) {
    want = std::max<std::uint32_t>({want, context.tucss, context.tucso + 2u, context.ipcso + 2u});
  }
  static_assert(kFarRoom >= 255 + 2 + kTag);  // whatever an offset may say, and a tag
  return std::min(want, draft.length);
}

// 3.5: the device writes lengths into the headers of every piece; here they are made whole for the super-frame, and the
// checksum field gets the pseudo-header sum over the whole, as everyone behind us expects it.
bool Transmitter::segment(std::span<std::byte> header, std::uint32_t length, packet::Offload& offload) noexcept {
  const TxContext& context = segment_;
  const bool is_v4 = (context.tucmd & tu_cmd::IP) != 0;
  const bool is_tcp = (context.tucmd & tu_cmd::TCP) != 0;
  const std::uint32_t l3 = context.ipcss, l4 = context.tucss;
  const bool fits_headers = context.mss > 0 && context.hdrlen <= header.size() && l3 >= kEthernet &&
                            l4 >= l3 + (is_v4 ? 20u : 40u) && context.hdrlen >= l4 + (is_tcp ? 20u : 8u) &&
                            context.tucso >= l4 && context.tucso + 2u <= context.hdrlen;
  if (!fits_headers || length < context.hdrlen || length - l3 > 0xffff) return false;
  packet::Checksum pseudo;
  if (is_v4) {
    packet::put16(header, l3 + 2, static_cast<std::uint16_t>(length - l3));
    packet::put16(header, l3 + 10, 0);
    packet::put16(header, l3 + 10, packet::ipv4_header_checksum(header.subspan(l3, l4 - l3)));
    pseudo.add(header.subspan(l3 + 12, 8));
  } else {
    packet::put16(header, l3 + 4, static_cast<std::uint16_t>(length - l3 - 40));
    pseudo.add(header.subspan(l3 + 8, 32));
  }
  const std::uint32_t l4_length = length - l4;
  std::array<std::byte, 4> tail{};
  packet::put16(tail, 0, is_tcp ? 6 : 17);
  packet::put16(tail, 2, static_cast<std::uint16_t>(l4_length));
  pseudo.add(tail);
  packet::put16(header, context.tucso, pseudo.partial());
  if (!is_tcp) packet::put16(header, l4 + 4, static_cast<std::uint16_t>(l4_length));
  offload.needs_checksum = true;
  offload.csum_start = context.tucss;
  offload.csum_offset = static_cast<std::uint16_t>(context.tucso - context.tucss);
  if (length - context.hdrlen <= context.mss) return true;  // fits one frame as it is
  offload.gso = !is_tcp ? packet::Gso::udp : is_v4 ? packet::Gso::tcp4 : packet::Gso::tcp6;
  offload.header_length = context.hdrlen;
  offload.gso_size = context.mss;
  return true;
}

// Tables 3-9 and 3-14: any bytes of the frame, even those of its Ethernet header. What lies outside it is not summed,
// and a sum that would be stored outside it is not. Bytes behind the header are looked at here and copied later: a
// guest that changes them meanwhile sends itself a frame with a wrong sum, as it could have done anyway.
bool Transmitter::insert_sum(const SumRange& range, const Bytes& frame, bool is_udp) noexcept {
  if (range.start >= frame.length || range.at + 2 > frame.header.size()) return false;
  const std::uint32_t end = range.end == 0 ? frame.length : std::min(range.end + 1, frame.length);
  const auto split = static_cast<std::uint32_t>(frame.header.size());
  packet::Checksum sum;
  if (range.start < std::min(end, split)) {
    sum.add(frame.header.subspan(range.start, std::min(end, split) - range.start));
  }
  std::uint32_t at = split;
  for (const packet::Slice part : frame.payload) {
    const std::uint32_t begin = std::max(range.start, at);
    const std::uint32_t until = std::min(end, at + static_cast<std::uint32_t>(part.size()));
    if (begin < until) sum.add(part.subspan(begin - at, until - begin));
    at += static_cast<std::uint32_t>(part.size());
  }
  const std::uint16_t result = sum.finish();
  packet::put16(frame.header, range.at, result == 0 && is_udp ? std::uint16_t{0xffff} : result);  // RFC 768
  return true;
}

// The transport's sum is left to the receiver where it is what transports use: from somewhere in the header on to the
// end, stored behind its start. Linux writes offsets beyond 255, behind long extension headers, cut to their eight
// bits: such a sum is nobody's, but the part does it.
void Transmitter::insert_checksums(const Draft& draft, const Bytes& frame, packet::Offload& offload) noexcept {
  const TxContext& context = checksum_;
  if ((draft.options & popts::IXSM) != 0 &&
      !insert_sum({.start = context.ipcss, .at = context.ipcso, .end = context.ipcse}, frame, false)) {
    counters_.tx_unsupported.add();
  }
  if ((draft.options & popts::TXSM) == 0) return;
  const SumRange range = draft.is_legacy ? SumRange{.start = draft.css, .at = draft.cso, .end = 0}
                                         : SumRange{.start = context.tucss, .at = context.tucso, .end = context.tucse};
  const bool is_usual = (range.end == 0 || range.end + 1 >= frame.length) && range.start >= kEthernet &&
                        range.start <= range.at && range.at + 2 <= frame.header.size();
  if (!is_usual) {
    constexpr std::uint32_t kUdpField = 6;
    if (!insert_sum(range, frame, range.at == range.start + kUdpField)) counters_.tx_unsupported.add();
    return;
  }
  offload.needs_checksum = true;
  offload.csum_start = static_cast<std::uint16_t>(range.start);
  offload.csum_offset = static_cast<std::uint16_t>(range.at - range.start);
}

// 13.4.12: the tag has the type of VET. Only the usual one can go beside the bytes.
void Transmitter::insert_tag(std::uint16_t tci, std::span<std::byte> room, packet::FrameView& view) noexcept {
  packet::Offload& offload = view.offload;
  const auto type = static_cast<std::uint16_t>(registers_.get(reg::VET));
  if (type == kUsualTag || view.length < kMacs) {
    offload.has_vlan = true;
    offload.vlan_tci = tci;
    return;
  }
  const std::size_t size = view.header.size();
  std::memmove(room.data() + kMacs + kTag, room.data() + kMacs, size - kMacs);
  packet::put16(room, kMacs, type);
  packet::put16(room, kMacs + 2, tci);
  view.header = room.first(size + kTag);
  view.length += kTag;
  if (offload.needs_checksum) offload.csum_start = static_cast<std::uint16_t>(offload.csum_start + kTag);
  if (offload.gso != packet::Gso::none) {
    offload.header_length = static_cast<std::uint16_t>(offload.header_length + kTag);
  }
}

// False: there is no way to send it as it is wanted.
bool Transmitter::build(const Draft& draft, std::size_t slot, packet::FrameView& view) noexcept {
  const std::uint32_t header_size = header_length(draft);
  std::size_t first = draft.slice_begin, copied = 0;
  const bool is_far = header_size + kTag > packet::kHeaderRoom;
  const std::span<std::byte> room = is_far ? std::span<std::byte>{far_headers_[slot]} : headers_[slot];
  while (copied < header_size) {  // the only look at these bytes
    packet::Slice& slice = slices_[first];
    const std::size_t part = std::min<std::size_t>(slice.size(), header_size - copied);
    std::memcpy(room.data() + copied, slice.data(), part);
    copied += part;
    slice = slice.subspan(part);
    if (slice.empty()) ++first;
  }
  view = packet::FrameView{};
  view.payload = std::span{slices_}.subspan(first, draft.slice_end - first);
  const Bytes frame{.header = room.first(header_size), .payload = view.payload, .length = draft.length};
  if (draft.is_segmented) {
    if (!segment(frame.header, draft.length, view.offload)) return false;
  } else if (draft.options != 0) {
    insert_checksums(draft, frame, view.offload);
  }
  view.length = draft.length;
  view.header = frame.header;
  if (view.length < kMinFrame && tctl::psp::is_set(registers_.get(reg::TCTL))) {
    std::memset(room.data() + view.length, 0, kMinFrame - view.length);
    view.length = kMinFrame;
    view.header = room.first(kMinFrame);
  }
  if (draft.has_vlan) insert_tag(draft.vlan_tci, room, view);
  return packet::is_consistent(view);
}

}  // namespace vmux::device::e1000

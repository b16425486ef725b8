// SPDX-License-Identifier: BSD-3-Clause
// Frames that the device is to do something to: headers, checksums, segmentation. Manual 3.4 and 3.5.
#include <algorithm>
#include <cstring>

#include "device/e1000/tx.hpp"
#include "packet/checksum.hpp"
#include "packet/transfer.hpp"

namespace vmux::device::e1000 {
namespace {

void put_be16(std::span<std::byte> bytes, std::size_t at, std::uint16_t value) noexcept {
  bytes[at] = static_cast<std::byte>(value >> 8);
  bytes[at + 1] = static_cast<std::byte>(value & 0xff);
}

}  // namespace

std::uint32_t Transmitter::header_length(const Draft& draft) const noexcept {
  const TxContext& context = draft.is_segmented ? segment_ : checksum_;
  std::uint32_t want = kUsualHeader;
  if (draft.is_segmented) want = std::max<std::uint32_t>(64, context.hdrlen);
  if (draft.is_legacy) {
    want = std::max<std::uint32_t>({want, draft.css, draft.cso + 2u});
  } else if (draft.options != 0 && !draft.is_segmented) {
    want = std::max<std::uint32_t>({want, context.tucss, context.tucso + 2u, context.ipcso + 2u});
    if (context.ipcse < packet::kHeaderRoom) want = std::max(want, context.ipcse + 1u);
  }
  return std::min({want, static_cast<std::uint32_t>(packet::kHeaderRoom), draft.length});
}

// 3.5: the device writes lengths into the headers of every piece; here they are made whole for the super-frame, and the
// checksum field gets the pseudo-header sum over the whole, as everyone behind us expects it.
bool Transmitter::segment(std::span<std::byte> header, std::uint32_t length, packet::Offload& offload) noexcept {
  const TxContext& context = segment_;
  const bool is_v4 = (context.tucmd & tu_cmd::IP) != 0;
  const bool is_tcp = (context.tucmd & tu_cmd::TCP) != 0;
  const std::uint32_t l3 = context.ipcss, l4 = context.tucss;
  const bool fits_headers = context.mss > 0 && context.hdrlen <= header.size() && l3 >= 14 &&
                            l4 >= l3 + (is_v4 ? 20u : 40u) && context.hdrlen >= l4 + (is_tcp ? 20u : 8u) &&
                            context.tucso >= l4 && context.tucso + 2u <= context.hdrlen;
  if (!fits_headers || length < context.hdrlen || length - l3 > 0xffff) return false;
  packet::Checksum pseudo;
  if (is_v4) {
    put_be16(header, l3 + 2, static_cast<std::uint16_t>(length - l3));
    put_be16(header, l3 + 10, 0);
    put_be16(header, l3 + 10, packet::ipv4_header_checksum(header.subspan(l3, l4 - l3)));
    pseudo.add(header.subspan(l3 + 12, 8));
  } else {
    put_be16(header, l3 + 4, static_cast<std::uint16_t>(length - l3 - 40));
    pseudo.add(header.subspan(l3 + 8, 32));
  }
  const std::uint32_t l4_length = length - l4;
  std::array<std::byte, 4> tail{};
  put_be16(tail, 0, is_tcp ? 6 : 17);
  put_be16(tail, 2, static_cast<std::uint16_t>(l4_length));
  pseudo.add(tail);
  put_be16(header, context.tucso, static_cast<std::uint16_t>(~pseudo.finish()));
  if (!is_tcp) put_be16(header, l4 + 4, static_cast<std::uint16_t>(l4_length));
  offload.needs_checksum = true;
  offload.csum_start = context.tucss;
  offload.csum_offset = static_cast<std::uint16_t>(context.tucso - context.tucss);
  if (length - context.hdrlen <= context.mss) return true;  // fits one frame as it is
  offload.gso = !is_tcp ? packet::Gso::udp : is_v4 ? packet::Gso::tcp4 : packet::Gso::tcp6;
  offload.header_length = context.hdrlen;
  offload.gso_size = context.mss;
  return true;
}

void Transmitter::insert_checksums(const Draft& draft, std::span<std::byte> header, std::uint32_t length,
                                   packet::Offload& offload) noexcept {
  const TxContext& context = checksum_;
  if ((draft.options & popts::IXSM) != 0) {  // all of it lies in the headers, which are ours: done here
    const std::uint32_t end = context.ipcse + 1u;
    const bool in_header = context.ipcse != 0 && end <= header.size() && context.ipcss < end;
    if (in_header && context.ipcso + 2u <= header.size()) {
      packet::Checksum sum;
      sum.add(header.subspan(context.ipcss, end - context.ipcss));
      put_be16(header, context.ipcso, sum.finish());
    } else {
      counters_.tx_unsupported.add();
    }
  }
  if ((draft.options & popts::TXSM) == 0) return;
  const std::uint32_t start = draft.is_legacy ? draft.css : context.tucss;
  const std::uint32_t at = draft.is_legacy ? draft.cso : context.tucso;
  const bool to_the_end = draft.is_legacy || context.tucse == 0 || context.tucse + 1u >= length;
  if (!to_the_end || at < start || at + 2 > header.size()) return counters_.tx_unsupported.add();
  offload.needs_checksum = true;
  offload.csum_start = static_cast<std::uint16_t>(start);
  offload.csum_offset = static_cast<std::uint16_t>(at - start);
}

bool Transmitter::build(const Draft& draft, std::size_t slot, packet::FrameView& view) noexcept {
  std::uint32_t header_size = header_length(draft);
  std::size_t first = draft.slice_begin, copied = 0;
  auto& room = headers_[slot];
  while (copied < header_size) {  // the only look at these bytes
    packet::Slice& slice = slices_[first];
    const std::size_t part = std::min<std::size_t>(slice.size(), header_size - copied);
    std::memcpy(room.data() + copied, slice.data(), part);
    copied += part;
    slice = slice.subspan(part);
    if (slice.empty()) ++first;
  }
  view = packet::FrameView{};
  view.length = draft.length;
  if (view.length < kMinFrame && tctl::psp::is_set(registers_.get(reg::TCTL))) {
    std::memset(room.data() + view.length, 0, kMinFrame - view.length);
    view.length = header_size = kMinFrame;
  }
  const std::span<std::byte> header{room.data(), header_size};
  if (draft.has_vlan) {
    view.offload.has_vlan = true;
    view.offload.vlan_tci = draft.vlan_tci;
  }
  if (draft.is_segmented) {
    if (!segment(header, draft.length, view.offload)) return stop(Fault::bad_descriptor);
  } else if (draft.options != 0) {
    insert_checksums(draft, header, draft.length, view.offload);
  }
  view.header = header;
  view.payload = std::span{slices_}.subspan(first, draft.slice_end - first);
  return packet::is_consistent(view) ? true : stop(Fault::bad_descriptor);
}

}  // namespace vmux::device::e1000

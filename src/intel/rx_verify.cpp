// SPDX-License-Identifier: BSD-3-Clause
#include "intel/rx_verify.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/crc.hpp"
#include "packet/bytes.hpp"
#include "packet/spans.hpp"
#include "packet/sum/checksum.hpp"
#include "packet/sum/short_sum.hpp"
#include "packet/sum/sum_kernels.hpp"

namespace vmux::intel {
namespace {

constexpr std::size_t kSctpChecksum = 8;  // offset of the field, RFC 9260 3.1

bool is_sctp_right(packet::Slice header, std::span<const std::span<std::byte>> stored, std::size_t l4, std::size_t end,
                   std::uint32_t removed) noexcept {
  Crc32c crc;
  crc.add(header.subspan(l4, kSctpChecksum));
  crc.add(packet::Slice{std::array<std::byte, 4>{}});
  packet::for_range(stored, l4 + kSctpChecksum + 4 - removed, end - l4 - kSctpChecksum - 4,
                    [&crc](packet::Slice part) { crc.add(part); });
  Le<std::uint32_t> field;
  std::memcpy(&field, header.data() + l4 + kSctpChecksum, sizeof field);
  return crc.finish() == field;
}

// Where the segment ends, as the IP header says: what follows is padding.
std::size_t end_of_segment(packet::Slice header, bool is_v4, std::size_t l3) noexcept {
  return is_v4 ? l3 + packet::get16(header, l3 + 2) : l3 + 40 + packet::get16(header, l3 + 4);
}

// RFC 9293 3.1, RFC 8200 8.1: addresses, length, protocol; of even size.
void add_pseudo_header(packet::Slice header, const RxInfo& info, std::size_t l3, std::size_t length,
                       packet::Checksum& sum) noexcept {
  std::array<std::byte, 40> bytes;
  std::size_t size = 8;
  if (info.is_ipv4()) {
    std::memcpy(bytes.data(), header.data() + l3 + 12, 8);
  } else {
    size = 32;
    std::memcpy(bytes.data(), header.data() + l3 + 8, 32);
  }
  packet::put32(bytes, size, static_cast<std::uint32_t>(length));
  packet::put32(bytes, size + 4, info.protocol);
  sum.add(packet::Slice{bytes}.first(size + 8));
}

// Of the pseudo-header and what follows it in the header, as short_sum() has it. The addresses stand before L4 unless
// there are options between them.
inline std::uint64_t sum_of_headers(packet::Slice header, const RxInfo& info, std::size_t end,
                                    std::size_t in_header) noexcept {
  const std::size_t l3 = info.l3, l4 = info.l4;
  const Be<std::uint32_t> size = static_cast<std::uint32_t>(end - l4), protocol = info.protocol;
  const std::uint64_t rest = std::uint64_t{std::bit_cast<std::uint32_t>(size)} + std::bit_cast<std::uint32_t>(protocol);
  const std::size_t from = l3 + (info.is_ipv4() ? 12u : 8u), addresses = info.is_ipv4() ? 8 : 32;
  if (from + addresses == l4) return packet::sum::plus(rest, packet::short_sum(header.data() + from, in_header - from));
  return packet::sum::plus(packet::sum::plus(rest, packet::short_sum(header.data() + from, addresses)),
                           packet::short_sum(header.data() + l4, in_header - l4));
}

}  // namespace

bool is_short_transport_right(packet::Slice frame, const RxInfo& info) noexcept {
  const std::size_t l4 = info.l4, end = end_of_segment(frame, info.is_ipv4(), info.l3);
  if (end < l4 + 8 || end > frame.size()) return false;
  return packet::is_all_ones(sum_of_headers(frame, info, end, end));
}

bool is_transport_right(packet::Slice header, std::span<const std::span<std::byte>> stored, const RxInfo& info,
                        std::uint32_t length, std::uint32_t shift, std::uint32_t removed) noexcept {
  const std::size_t l3 = info.l3 + shift, l4 = info.l4 + shift, end = end_of_segment(header, info.is_ipv4(), l3);
  if (end < l4 + 8 || end > length) return false;
  if (info.protocol == kSctpNumber) return end >= l4 + 12 && is_sctp_right(header, stored, l4, end, removed);
  packet::Checksum sum;
  add_pseudo_header(header, info, l3, end - l4, sum);
  packet::for_range(stored, l4 - removed, end - l4, [&sum](packet::Slice part) { sum.add(part); });
  return sum.finish() == 0;
}

bool copy_and_verify(std::byte* to, packet::Slice header, packet::Slice payload, const RxInfo& info,
                     const packet::Ahead& ahead) noexcept {
  const std::size_t l4 = info.l4, end = end_of_segment(header, info.is_ipv4(), info.l3);
  if (end < l4 + 8 || end > header.size() + payload.size()) {
    std::memmove(to, payload.data(), payload.size());
    return false;
  }
  const std::size_t in_header = std::min(end, header.size()), covered = end - in_header;
  const std::uint64_t sum = packet::sum::run(to, payload.data(), covered, ahead);
  if (const packet::Slice padding = payload.subspan(covered); !padding.empty()) {
    std::memmove(to + covered, padding.data(), padding.size());
  }
  // Behind an odd number of bytes each of the payload's stands in the other half of its word: a turn by eight bits.
  return packet::is_all_ones(packet::sum::plus(sum_of_headers(header, info, end, in_header),
                                               (in_header - l4) % 2 == 0 ? sum : std::rotl(sum, 8)));
}

}  // namespace vmux::intel

// SPDX-License-Identifier: BSD-3-Clause
#include "device/iavf/rx_verify.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "packet/bytes.hpp"
#include "packet/checksum.hpp"
#include "packet/crc.hpp"
#include "packet/spans.hpp"

namespace vmux::device::iavf {
namespace {

constexpr std::size_t kSctpChecksum = 8;  // offset of the field, RFC 9260 3.1

bool is_sctp_right(packet::Slice header, std::span<const std::span<std::byte>> stored, std::size_t l4, std::size_t end,
                   std::uint32_t removed) noexcept {
  packet::Crc32c crc;
  crc.add(header.subspan(l4, kSctpChecksum));
  crc.add(packet::Slice{std::array<std::byte, 4>{}});
  packet::for_range(stored, l4 + kSctpChecksum + 4 - removed, end - l4 - kSctpChecksum - 4,
                    [&crc](packet::Slice part) { crc.add(part); });
  Le<std::uint32_t> field;
  std::memcpy(&field, header.data() + l4 + kSctpChecksum, sizeof field);
  return crc.finish() == field;
}

template <class Word>
Word load(const std::byte* at) noexcept {
  Word word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

std::uint64_t sum_of_eight(const std::byte* bytes) noexcept {
  const auto word = load<std::uint64_t>(bytes);
  return (word & 0xffff'ffff) + (word >> 32);
}

// RFC 1071 over a few bytes, in words as they lie in memory: no call, no set-up, no step for each of the last bytes.
std::uint64_t short_sum(const std::byte* bytes, std::size_t size) noexcept {
  std::uint64_t sum = 0;
  for (; size >= 8; size -= 8, bytes += 8)
    sum += sum_of_eight(bytes);
  if ((size & 4) != 0) {
    sum += load<std::uint32_t>(bytes);
    bytes += 4;
  }
  if ((size & 2) != 0) {
    sum += load<std::uint16_t>(bytes);
    bytes += 2;
  }
  return (size & 1) != 0 ? sum + std::to_integer<std::uint64_t>(*bytes) : sum;
}

// Whether such words, the checksum among them, add up to what they must.
bool is_right(std::uint64_t sum) noexcept {
  sum = (sum & 0xffff'ffff) + (sum >> 32);
  sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return sum == 0xffff;
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

// The same, as short_sum() has it.
std::uint64_t pseudo_header_sum(packet::Slice header, const RxInfo& info, std::size_t l3, std::size_t length) noexcept {
  const bool is_v4 = info.is_ipv4();
  const Be<std::uint32_t> size = static_cast<std::uint32_t>(length), protocol = info.protocol;
  return std::uint64_t{std::bit_cast<std::uint32_t>(size)} + std::bit_cast<std::uint32_t>(protocol) +
         (is_v4 ? sum_of_eight(header.data() + l3 + 12) : short_sum(header.data() + l3 + 8, 32));
}

}  // namespace

bool is_short_transport_right(packet::Slice frame, const RxInfo& info) noexcept {
  const std::size_t l4 = info.l4, end = end_of_segment(frame, info.is_ipv4(), info.l3);
  if (end < l4 + 8 || end > frame.size()) return false;
  return is_right(pseudo_header_sum(frame, info, info.l3, end - l4) + short_sum(frame.data() + l4, end - l4));
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
  packet::Checksum sum;
  sum.copy({to, covered}, payload.first(covered), ahead);
  if (const packet::Slice padding = payload.subspan(covered); !padding.empty()) {
    std::memmove(to + covered, padding.data(), padding.size());
  }
  // In the order of bytes in memory; behind an odd number of bytes each of the payload's stands in the other half.
  const Be<std::uint16_t> part = sum.partial();
  const auto word = std::bit_cast<std::uint16_t>(part);
  return is_right(pseudo_header_sum(header, info, info.l3, end - l4) + short_sum(header.data() + l4, in_header - l4) +
                  ((in_header - l4) % 2 == 0 ? word : byteswap(word)));
}

}  // namespace vmux::device::iavf

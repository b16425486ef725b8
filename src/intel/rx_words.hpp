// SPDX-License-Identifier: BSD-3-Clause
// The words of receive write-backs: what steer() found out, as each layout says it.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "intel/descriptors.hpp"
#include "intel/queue_config.hpp"
#include "intel/rules/steer.hpp"

namespace vmux::intel {

/// The words of a descriptor, but for DD, which finish() adds; the last two for wide ones.
using RxWriteBack = std::array<std::uint64_t, 4>;

namespace rx_words {

// RxInfo::flags as the write-backs say them.
constexpr bool has(std::size_t flags, unsigned flag) noexcept { return (flags & flag) != 0; }
inline constexpr auto kLegacyStatus = [] {
  std::array<std::uint32_t, 256> words{};  // status and errors: the low half of word 1
  for (std::size_t flags = 0; flags < words.size(); ++flags) {
    words[flags] =
        rx_status::EOP | (has(flags, RxInfo::multicast) ? rx_status::MULTICAST : 0) |
        (has(flags, RxInfo::broadcast) ? rx_status::BROADCAST : 0) |
        (has(flags, RxInfo::has_tag1) ? rx_status::L2TAG1P : 0) | (has(flags, RxInfo::has_hash) ? rx_status::HASH : 0) |
        (has(flags, RxInfo::has_mark) ? rx_status::FLM : 0) | (has(flags, RxInfo::is_ip) ? rx_status::L3L4P : 0) |
        (has(flags, RxInfo::bad_ip) ? rx_error::IPE << 19 : 0);
  }
  return words;
}();
inline constexpr auto kFlexStatus = [] {
  std::array<std::uint16_t, 256> words{};
  for (std::size_t flags = 0; flags < words.size(); ++flags) {
    words[flags] = static_cast<std::uint16_t>(
        flex_status0::EOP | (has(flags, RxInfo::has_tag1) ? flex_status0::L2TAG1P : 0) |
        (has(flags, RxInfo::has_hash) ? flex_status0::RSS_VALID : 0) |
        (has(flags, RxInfo::is_ip) ? flex_status0::L3L4P : 0) | (has(flags, RxInfo::bad_ip) ? flex_status0::IPE : 0));
  }
  return words;
}();

/// The write-back of a frame's last buffer.
inline RxWriteBack legacy(std::uint32_t length, const RxInfo& info, bool is_l4_bad) noexcept {
  RxWriteBack words;
  words[0] = std::uint64_t{info.l2tag1} << 16 | std::uint64_t{info.hash} << 32;
  words[1] = kLegacyStatus[info.flags] | (is_l4_bad ? std::uint64_t{rx_error::L4E} << 19 : 0) |
             std::uint64_t{info.ptype} << 30 | std::uint64_t{length} << 38;
  words[2] = (has(info.flags, RxInfo::has_tag2) ? rx_extended::L2TAG2P : 0) |
             (has(info.flags, RxInfo::has_mark) ? rx_extended::FD_ID : 0) | std::uint64_t{info.l2tag2} << 48;
  words[3] = std::uint64_t{info.mark} << 32;
  return words;
}

inline RxWriteBack flexible(std::uint32_t length, const RxInfo& info, bool is_l4_bad, std::uint8_t layout) noexcept {
  const std::uint64_t cast = (info.flags / RxInfo::multicast) & 3u;  // the two flags are the field
  const std::uint64_t flow = has(info.flags, RxInfo::has_mark) ? info.mark : kNoFlow;
  const bool swapped = layout == rxdid::comms_ovs;
  RxWriteBack words;
  words[0] = layout | cast << 14 | std::uint64_t{info.ptype} << 16 | std::uint64_t{length} << 32;
  words[1] = kFlexStatus[info.flags] | (is_l4_bad ? flex_status0::L4E : 0) | std::uint64_t{info.l2tag1} << 16 |
             (swapped ? flow : std::uint64_t{info.hash}) << 32;
  words[2] = (has(info.flags, RxInfo::has_tag2) ? flex_status1::L2TAG2P : 0) | std::uint64_t{info.l2tag2} << 48;
  words[3] = swapped ? std::uint64_t{info.hash} : flow;
  return words;
}
static_assert(RxInfo::broadcast == 2 * RxInfo::multicast);

inline RxWriteBack whole(std::uint8_t layout, std::uint32_t length, const RxInfo& info, bool is_l4_bad) noexcept {
  return layout >= rxdid::flex_nic ? flexible(length, info, is_l4_bad, layout) : legacy(length, info, is_l4_bad);
}

inline constexpr std::uint64_t kDone = 1;  // DD, the lowest bit of word 1 in all layouts
static_assert(rx_status::DD == kDone && flex_status0::DD == kDone);

static_assert(std::endian::native == std::endian::little, "words lie in memory as they are");

/// All but DD: drivers do not look at the rest before they see that.
template <std::uint32_t kSize>
inline void prepare(std::byte* at, const RxWriteBack& words) noexcept {
  std::memcpy(at, words.data(), kSize);
}
/// What is behind prepare(): one byte of it.
inline void finish(std::byte* at, const RxWriteBack&) noexcept {
  auto* const low = reinterpret_cast<std::uint8_t*>(at) + sizeof(std::uint64_t);
  __atomic_store_n(low, static_cast<std::uint8_t>(__atomic_load_n(low, __ATOMIC_RELAXED) | kDone), __ATOMIC_RELEASE);
}
/// Whether that is what stands there. A driver that has seen DD writes an address into word 0, or clears DD and what is
/// beside it.
[[nodiscard]] inline bool is_prepared(const std::byte* at, const RxWriteBack& words) noexcept {
  return std::memcmp(at, words.data(), 2 * sizeof words[0]) == 0;
}

}  // namespace rx_words
}  // namespace vmux::intel

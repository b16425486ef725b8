// SPDX-License-Identifier: BSD-3-Clause
// Numbers with a meaning: an address cannot become a length, and sums are checked where they are made.
#pragma once

#include <compare>
#include <concepts>
#include <cstdint>
#include <optional>

namespace vmux {

template <class Tag, std::unsigned_integral Rep>
struct Strong {
  Rep raw{};
  friend constexpr auto operator<=>(Strong, Strong) = default;
};

/// An address as the guest's device sees it (what a driver writes into a descriptor).
using Iova = Strong<struct IovaTag, std::uint64_t>;
/// A number of bytes.
using ByteCount = Strong<struct ByteCountTag, std::uint64_t>;
/// An offset into one region (BAR, ROM or config space) of a PCI function.
using RegionOffset = Strong<struct RegionOffsetTag, std::uint64_t>;

/// One past the last byte of [start, start + len), or nullopt when that wraps. A range that ends exactly at 2^64 wraps.
[[nodiscard]] constexpr std::optional<Iova> end_of(Iova start, ByteCount len) noexcept {
  const std::uint64_t end = start.raw + len.raw;
  if (end < start.raw) return std::nullopt;
  return Iova{end};
}

/// True when [offset, offset + len) lies within [0, limit), without overflow.
[[nodiscard]] constexpr bool fits(std::uint64_t offset, std::uint64_t len, std::uint64_t limit) noexcept {
  return len <= limit && offset <= limit - len;
}

}  // namespace vmux

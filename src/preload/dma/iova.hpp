// SPDX-License-Identifier: BSD-3-Clause
// Which I/O addresses a program may map: all but the window of message-signalled interrupts, as on any PC with an
// IOMMU.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace vmux::preload {

inline constexpr std::uint64_t kIovaPage = 4096;
/// Bytes of the largest bitmap of dirty pages: one of 2^31 - 1 pages (DIRTY_BITMAP_SIZE_MAX of vfio_iommu_type1.c).
inline constexpr std::uint64_t kLargestBitmap = std::uint64_t{1} << 28;

struct IovaSpan {
  std::uint64_t first, last;
};
inline constexpr std::array<IovaSpan, 2> kUsableIovas = {{{0, 0xfedf'ffff}, {0xfef0'0000, UINT64_MAX}}};

[[nodiscard]] constexpr bool is_usable(std::uint64_t first, std::uint64_t last) noexcept {
  return std::any_of(kUsableIovas.begin(), kUsableIovas.end(),
                     [&](const IovaSpan& span) { return first >= span.first && last <= span.last; });
}

}  // namespace vmux::preload

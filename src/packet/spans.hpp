// SPDX-License-Identifier: BSD-3-Clause
// Bytes that lie in several places.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

namespace vmux::packet {

/// Calls `each` with the parts of `spans` that hold bytes [from, from + count).
template <class F>
void for_range(std::span<const std::span<std::byte>> spans, std::size_t from, std::size_t count, F&& each) noexcept {
  for (const std::span<std::byte> span : spans) {
    if (count == 0) return;
    if (from >= span.size()) {
      from -= span.size();
      continue;
    }
    const std::size_t part = std::min(count, span.size() - from);
    each(span.subspan(from, part));
    count -= part;
    from = 0;
  }
}

}  // namespace vmux::packet

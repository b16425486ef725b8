// SPDX-License-Identifier: BSD-3-Clause
// Accesses to a BAR of 32-bit registers, as register accesses.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "vmux/base/le.hpp"
#include "vmux/base/strong.hpp"

namespace vmux::intel {

/// `read(offset)` of each dword that the access touches, once: some registers clear as they are read.
template <class Read>
void read_dwords(RegionOffset offset, std::span<std::byte> into, Read&& read) noexcept {
  std::size_t done = 0;
  while (done < into.size()) {
    const auto at = static_cast<std::uint32_t>(offset.raw + done);
    const Le<std::uint32_t> value = read(at & ~3u);
    const std::size_t skip = at & 3, part = std::min(sizeof value - skip, into.size() - done);
    std::memcpy(into.data() + done, reinterpret_cast<const std::byte*>(&value) + skip, part);
    done += part;
  }
}

/// `write(offset, value)` of each dword. Registers are written whole: of an access that is not, nothing is.
template <class Write>
void write_dwords(RegionOffset offset, std::span<const std::byte> from, Write&& write) noexcept {
  if ((offset.raw & 3) != 0) return;
  for (std::size_t done = 0; done + 4 <= from.size(); done += 4) {
    Le<std::uint32_t> value;
    std::memcpy(&value, from.data() + done, sizeof value);
    write(static_cast<std::uint32_t>(offset.raw + done), value);
  }
}

}  // namespace vmux::intel

// SPDX-License-Identifier: BSD-3-Clause
// Sums of bytes, alone or while they are copied: one routine per kind of vector unit, chosen when the program starts.
#pragma once

#include <cstddef>
#include <cstdint>

#include "packet/sum/checksum.hpp"

namespace vmux::packet::sum {

enum class Unit : std::uint8_t { words, avx2, avx512 };

[[nodiscard]] bool is_there(Unit unit) noexcept;  ///< in this machine

/// The one's complement sum of `size` bytes at `from` (64 bits, end-around carry; a last odd byte counts as if a zero
/// followed). Each byte is read once; with `to` what was added is stored there. `to` may be null. is_there(unit).
[[nodiscard]] std::uint64_t run(Unit unit, std::byte* to, const std::byte* from, std::size_t size,
                                const Ahead& ahead) noexcept;

/// By the best unit that is there, and worth it for so few bytes.
[[nodiscard]] std::uint64_t run(std::byte* to, const std::byte* from, std::size_t size, const Ahead& ahead) noexcept;

[[nodiscard]] constexpr std::uint64_t plus(std::uint64_t a, std::uint64_t b) noexcept {
  const std::uint64_t sum = a + b;
  return sum + (sum < b ? 1 : 0);
}

}  // namespace vmux::packet::sum

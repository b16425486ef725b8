// SPDX-License-Identifier: BSD-3-Clause
// Fields of a register, as the datasheet counts them: lowest bit and width.
#pragma once

#include <concepts>
#include <cstdint>

namespace vmux {

template <unsigned Low, unsigned Width = 1>
struct Bits {
  static_assert(Width >= 1 && Low + Width <= 64);
  static constexpr std::uint64_t kMask = (Width == 64 ? ~0ull : ((1ull << Width) - 1)) << Low;

  template <std::unsigned_integral R>
  [[nodiscard]] static constexpr R get(R reg) noexcept {
    return static_cast<R>((reg & kMask) >> Low);
  }
  template <std::unsigned_integral R>
  [[nodiscard]] static constexpr R set(R reg, std::uint64_t value) noexcept {
    return static_cast<R>((reg & ~kMask) | ((value << Low) & kMask));
  }
  template <std::unsigned_integral R>
  [[nodiscard]] static constexpr bool is_set(R reg) noexcept {
    return (reg & kMask) != 0;
  }
};

}  // namespace vmux

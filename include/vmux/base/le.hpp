// SPDX-License-Identifier: BSD-3-Clause
// Integers as they lie on a wire: bytes plus bit_cast, alignment 1, one mov to read.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>

namespace vmux {

template <std::unsigned_integral T>
[[nodiscard]] constexpr T byteswap(T value) noexcept {
  if constexpr (sizeof(T) == 1) return value;
  if constexpr (sizeof(T) == 2) return static_cast<T>(__builtin_bswap16(value));
  if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
  if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
}

template <std::unsigned_integral T, std::endian Order>
class WireInt {
 public:
  constexpr WireInt() noexcept = default;
  // Implicit both ways: a wire field reads and assigns like the integer that it holds.
  constexpr WireInt(T value) noexcept : bytes_(std::bit_cast<Bytes>(ordered(value))) {}
  constexpr operator T() const noexcept { return ordered(std::bit_cast<T>(bytes_)); }

 private:
  using Bytes = std::array<std::byte, sizeof(T)>;
  static constexpr T ordered(T value) noexcept { return Order == std::endian::native ? value : byteswap(value); }
  Bytes bytes_{};
};

template <std::unsigned_integral T>
using Le = WireInt<T, std::endian::little>;
template <std::unsigned_integral T>
using Be = WireInt<T, std::endian::big>;

}  // namespace vmux

// SPDX-License-Identifier: BSD-3-Clause
// RFC 1071 over a few bytes, in words as they lie in memory: no call, no set-up, no loop, no step for each last byte.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "packet/sum/sum_kernels.hpp"

namespace vmux::packet {

/// The next of `bytes`, added.
template <class Word>
[[nodiscard]] inline std::uint64_t add_next(std::uint64_t sum, const std::byte*& bytes) noexcept {
  Word word;
  std::memcpy(&word, bytes, sizeof word);
  bytes += sizeof word;
  return sum::plus(sum, word);
}

inline constexpr unsigned kFirstOfTwo =
    std::endian::native == std::endian::big ? 8 : 0;  // bits that a byte is moved by

/// A last odd byte counts as if a zero followed.
[[nodiscard]] inline std::uint64_t short_sum(const std::byte* bytes, std::size_t size) noexcept {
  std::uint64_t sum = 0;
  for (; size >= 32; size -= 32) {
    sum = add_next<std::uint64_t>(sum, bytes);
    sum = add_next<std::uint64_t>(sum, bytes);
    sum = add_next<std::uint64_t>(sum, bytes);
    sum = add_next<std::uint64_t>(sum, bytes);
  }
  if ((size & 16) != 0) {
    sum = add_next<std::uint64_t>(sum, bytes);
    sum = add_next<std::uint64_t>(sum, bytes);
  }
  if ((size & 8) != 0) sum = add_next<std::uint64_t>(sum, bytes);
  if ((size & 4) != 0) sum = add_next<std::uint32_t>(sum, bytes);
  if ((size & 2) != 0) sum = add_next<std::uint16_t>(sum, bytes);
  if ((size & 1) != 0) sum = sum::plus(sum, std::to_integer<std::uint64_t>(*bytes) << kFirstOfTwo);
  return sum;
}

/// Whether words, a checksum among them, add up to what they must: all ones, which is 0 as well but for words that are
/// all 0. 2^16, and so 2^64, leave 1 when divided by 2^16 - 1.
[[nodiscard]] inline bool is_all_ones(std::uint64_t sum) noexcept { return sum != 0 && sum % 0xffff == 0; }

}  // namespace vmux::packet

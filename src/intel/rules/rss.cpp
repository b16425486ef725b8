// SPDX-License-Identifier: BSD-3-Clause
#include "intel/rules/rss.hpp"

namespace vmux::intel {

// The hash is the exclusive or of the 32 key bits that stand at each set input bit, counted from the left. All values
// of a byte follow from its eight single bits.
Toeplitz::Toeplitz(std::span<const std::uint8_t, Rss::kKeySize> key) noexcept {
  for (std::size_t at = 0; at < kMaxInput; ++at) {
    std::uint64_t window = 0;  // 40 bits of the key from this byte on
    for (std::size_t i = 0; i < 5; ++i)
      window = window << 8 | key[at + i];
    auto& row = table_[at];
    for (unsigned bit = 0; bit < 8; ++bit) {
      const auto value = static_cast<std::uint32_t>(window >> (1 + bit));  // of input bit `bit`, the lowest being 0
      const unsigned size = 1u << bit;
      for (unsigned i = 0; i < size; ++i)
        row[size + i] = row[i] ^ value;
    }
  }
}

const std::shared_ptr<const Toeplitz>& Toeplitz::of_zeros() {
  static const auto zeros = std::make_shared<const Toeplitz>();
  return zeros;
}

}  // namespace vmux::intel

// SPDX-License-Identifier: BSD-3-Clause
// A model's register table turned into a lookup that is one load. A row has `at` (bytes into the BAR), `count`
// registers and the `stride` in bytes between them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace vmux::pci {

inline constexpr std::uint8_t kNoRow = 0xff;

/// Row number by offset / 4 for offsets below `End`, made when the model is compiled.
template <std::size_t End, class Row, std::size_t N>
[[nodiscard]] constexpr std::array<std::uint8_t, End / 4> rows_by_offset(const std::array<Row, N>& table) noexcept {
  static_assert(N < kNoRow);
  std::array<std::uint8_t, End / 4> rows{};
  for (auto& row : rows)
    row = kNoRow;
  for (std::size_t row = 0; row < N; ++row) {
    const Row& r = table[row];
    for (std::uint32_t i = 0; i < r.count; ++i)
      rows[(r.at + i * r.stride) / 4] = static_cast<std::uint8_t>(row);
  }
  return rows;
}

/// True when no two rows claim the same offset.
template <class Row, std::size_t N, std::size_t M>
[[nodiscard]] constexpr bool is_disjoint(const std::array<Row, N>& table,
                                         const std::array<std::uint8_t, M>& rows) noexcept {
  std::size_t registers = 0, claimed = 0;
  for (const Row& r : table)
    registers += r.count;
  for (const std::uint8_t row : rows)
    claimed += row != kNoRow ? 1 : 0;
  return claimed == registers;
}

/// The row of the register at `offset`, or nullptr where there is none.
template <class Row, std::size_t N, std::size_t M>
[[nodiscard]] constexpr const Row* find_row(const std::array<Row, N>& table, const std::array<std::uint8_t, M>& rows,
                                            std::uint32_t offset) noexcept {
  if (offset / 4 >= M || rows[offset / 4] == kNoRow) return nullptr;
  return &table[rows[offset / 4]];
}

}  // namespace vmux::pci

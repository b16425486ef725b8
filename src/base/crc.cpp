// SPDX-License-Identifier: BSD-3-Clause
#include "base/crc.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "vmux/base/le.hpp"

namespace vmux {
namespace {

constexpr std::uint32_t kCastagnoli = 0x82f6'3b78, kEthernet = 0xedb8'8320;  // reflected polynomials

/// tables[k][b]: what byte b does to the remainder when k bytes follow it.
using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables tables_of(std::uint32_t polynomial) noexcept {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t rest = byte;
    for (int bit = 0; bit < 8; ++bit)
      rest = (rest >> 1) ^ ((rest & 1) != 0 ? polynomial : 0);
    tables[0][byte] = rest;
  }
  for (std::size_t k = 1; k < tables.size(); ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte)
      tables[k][byte] = (tables[k - 1][byte] >> 8) ^ tables[0][tables[k - 1][byte] & 0xff];
  }
  return tables;
}
constexpr Tables kCastagnoliTables = tables_of(kCastagnoli), kEthernetTables = tables_of(kEthernet);

std::uint32_t advance(const Tables& tables, std::uint32_t state, std::span<const std::byte> bytes) noexcept {
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, at += 8) {
    Le<std::uint64_t> word;
    std::memcpy(&word, at, sizeof word);
    const std::uint64_t mixed = word ^ state;
    state = 0;
    for (unsigned i = 0; i < 8; ++i)
      state ^= tables[7 - i][mixed >> (8 * i) & 0xff];
  }
  for (; left > 0; --left, ++at)
    state = (state >> 8) ^ tables[0][(state ^ std::to_integer<std::uint32_t>(*at)) & 0xff];
  return state;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t advance_sse42(std::uint32_t state,
                                                              std::span<const std::byte> bytes) noexcept {
  std::uint64_t wide = state;
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, at += 8) {
    std::uint64_t word;
    std::memcpy(&word, at, sizeof word);
    wide = _mm_crc32_u64(wide, word);
  }
  auto narrow = static_cast<std::uint32_t>(wide);
  for (; left > 0; --left, ++at)
    narrow = _mm_crc32_u8(narrow, std::to_integer<std::uint8_t>(*at));
  return narrow;
}
const bool g_has_sse42 = __builtin_cpu_supports("sse4.2") != 0;
#endif

}  // namespace

void Crc32c::add(std::span<const std::byte> bytes) noexcept {
#if defined(__x86_64__)
  if (g_has_sse42) {
    state_ = advance_sse42(state_, bytes);
    return;
  }
#endif
  state_ = advance(kCastagnoliTables, state_, bytes);
}

void EthernetCrc::add(std::span<const std::byte> bytes) noexcept { state_ = advance(kEthernetTables, state_, bytes); }

}  // namespace vmux

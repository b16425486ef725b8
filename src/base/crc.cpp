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

/// x^n modulo Ethernet's polynomial, bit-reflected, and shifted as products of reflected numbers want it.
constexpr long long power_of_x(unsigned n) noexcept {
  std::uint32_t rest = 0x8000'0000;
  while (n-- > 0)
    rest = (rest >> 1) ^ ((rest & 1) != 0 ? kEthernet : 0);
  return static_cast<long long>(rest) << 1;
}

// By carry-less multiplication (Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ", 2009): 16
// bytes of the message are replaced by their remainder at the place of the 16, or 64, bytes behind them. The last 16
// are an ordinary message again.
__attribute__((target("pclmul,sse4.1"))) inline __m128i fold(__m128i bytes, __m128i by, __m128i onto) noexcept {
  const __m128i low = _mm_clmulepi64_si128(bytes, by, 0x00), high = _mm_clmulepi64_si128(bytes, by, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), onto);
}

__attribute__((target("pclmul,sse4.1"))) inline __m128i load(const std::byte* at) noexcept {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

/// `bytes`: at least 64.
__attribute__((target("pclmul,sse4.1"))) std::uint32_t advance_pclmul(std::uint32_t state,
                                                                      std::span<const std::byte> bytes) noexcept {
  constexpr unsigned kWord = 128;  // bits
  constexpr long long kFour[] = {power_of_x(4 * kWord + 32), power_of_x(4 * kWord - 32)};
  constexpr long long kOne[] = {power_of_x(kWord + 32), power_of_x(kWord - 32)};
  const __m128i by_four = _mm_set_epi64x(kFour[1], kFour[0]), by_one = _mm_set_epi64x(kOne[1], kOne[0]);
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size() - 64;
  __m128i a = _mm_xor_si128(load(at), _mm_cvtsi32_si128(static_cast<int>(state)));
  __m128i b = load(at + 16), c = load(at + 32), d = load(at + 48);
  at += 64;
  for (; left >= 64; left -= 64, at += 64) {
    a = fold(a, by_four, load(at));
    b = fold(b, by_four, load(at + 16));
    c = fold(c, by_four, load(at + 32));
    d = fold(d, by_four, load(at + 48));
  }
  a = fold(fold(fold(a, by_one, b), by_one, c), by_one, d);
  for (; left >= 16; left -= 16, at += 16)
    a = fold(a, by_one, load(at));
  std::array<std::byte, 16> last;
  _mm_storeu_si128(reinterpret_cast<__m128i*>(last.data()), a);
  return advance(kEthernetTables, advance(kEthernetTables, 0, last), {at, left});
}
const bool g_has_pclmul = __builtin_cpu_supports("pclmul") != 0 && __builtin_cpu_supports("sse4.1") != 0;
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

void EthernetCrc::add(std::span<const std::byte> bytes) noexcept {
#if defined(__x86_64__)
  if (g_has_pclmul && bytes.size() >= 64) {
    state_ = advance_pclmul(state_, bytes);
    return;
  }
#endif
  state_ = advance(kEthernetTables, state_, bytes);
}

}  // namespace vmux

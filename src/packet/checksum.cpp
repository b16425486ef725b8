// SPDX-License-Identifier: BSD-3-Clause
#include "packet/checksum.hpp"

#include <bit>
#include <cstring>

#include "vmux/base/le.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace vmux::packet {
namespace {

// Where a sum is faster by vector instructions: shorter pieces do not pay for the reduction at the end.
constexpr std::size_t kVectorFrom = 128;

constexpr std::uint64_t plus(std::uint64_t a, std::uint64_t b) noexcept {
  const std::uint64_t sum = a + b;
  return sum + (sum < b ? 1 : 0);
}

constexpr std::uint16_t fold(std::uint64_t sum) noexcept {
  sum = (sum & 0xffff'ffff) + (sum >> 32);
  sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>((sum & 0xffff) + (sum >> 16));
}

std::uint64_t load(const std::byte* from) noexcept {
  std::uint64_t word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

// One word: read once, stored, added. (Loops of a fixed few rounds are written out: compilers leave them alone at -O2.)
template <bool kCopy>
void step(std::uint64_t& sum, std::byte* to, const std::byte* from) noexcept {
  const std::uint64_t word = load(from);
  if constexpr (kCopy) std::memcpy(to, &word, sizeof word);
  sum = plus(sum, word);
}

// RFC 1071 2.(B), (C): any word size and byte order will do, as long as the fold at the end agrees.
template <bool kCopy>
std::uint64_t sum_words(std::byte* to, const std::byte* from, std::size_t size) noexcept {
  std::uint64_t a = 0, b = 0, c = 0, d = 0;
  const auto room = [to](std::size_t offset) { return kCopy ? to + offset : nullptr; };
  std::size_t at = 0;
  for (; at + 32 <= size; at += 32) {
    step<kCopy>(a, room(at), from + at);
    step<kCopy>(b, room(at + 8), from + at + 8);
    step<kCopy>(c, room(at + 16), from + at + 16);
    step<kCopy>(d, room(at + 24), from + at + 24);
  }
  for (; at + 8 <= size; at += 8)
    step<kCopy>(a, room(at), from + at);
  if (at < size) {
    std::uint64_t word = 0;
    std::memcpy(&word, from + at, size - at);
    if constexpr (kCopy) std::memcpy(to + at, &word, size - at);
    b = plus(b, word);
  }
  return plus(plus(a, b), plus(c, d));
}

#if defined(__x86_64__)
// 32-bit halves in 64-bit lanes: no carry can be lost below 2^32 words.
template <bool kCopy>
__attribute__((target("avx2"))) inline void step_avx2(__m256i& low, __m256i& high, std::byte* to,
                                                      const std::byte* from) noexcept {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  if constexpr (kCopy) _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
  low = _mm256_add_epi64(low, _mm256_and_si256(bytes, _mm256_set1_epi64x(0xffff'ffff)));
  high = _mm256_add_epi64(high, _mm256_srli_epi64(bytes, 32));
}

template <bool kCopy>
__attribute__((target("avx2"))) std::uint64_t sum_avx2(std::byte* to, const std::byte* from,
                                                       std::size_t size) noexcept {
  __m256i low = _mm256_setzero_si256(), high = low, low2 = low, high2 = low;
  std::size_t at = 0;
  for (; at + 64 <= size; at += 64) {
    step_avx2<kCopy>(low, high, kCopy ? to + at : nullptr, from + at);
    step_avx2<kCopy>(low2, high2, kCopy ? to + at + 32 : nullptr, from + at + 32);
  }
  const __m256i all = _mm256_add_epi64(_mm256_add_epi64(low, low2), _mm256_add_epi64(high, high2));
  alignas(32) std::uint64_t lanes[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), all);
  const std::uint64_t sum = plus(plus(lanes[0], lanes[1]), plus(lanes[2], lanes[3]));
  return plus(sum, sum_words<kCopy>(kCopy ? to + at : nullptr, from + at, size - at));
}

const bool g_has_avx2 = __builtin_cpu_supports("avx2") != 0;
#endif

template <bool kCopy>
std::uint64_t sum(std::byte* to, const std::byte* from, std::size_t size) noexcept {
#if defined(__x86_64__)
  if (size >= kVectorFrom && g_has_avx2) return sum_avx2<kCopy>(to, from, size);
#endif
  return sum_words<kCopy>(to, from, size);
}

constexpr std::uint16_t to_host(std::uint16_t word) noexcept {
  return std::endian::native == std::endian::little ? byteswap(word) : word;
}

}  // namespace

void Checksum::join(std::uint64_t chunk, std::size_t size) noexcept {
  sum_ = plus(sum_, odd_ ? byteswap(fold(chunk)) : chunk);
  odd_ ^= (size & 1) != 0;
}

void Checksum::add(Slice bytes) noexcept { join(sum<false>(nullptr, bytes.data(), bytes.size()), bytes.size()); }

void Checksum::copy(std::span<std::byte> to, Slice from) noexcept {
  join(sum<true>(to.data(), from.data(), from.size()), from.size());
}

std::uint16_t Checksum::partial() const noexcept { return to_host(fold(sum_)); }

std::uint16_t Checksum::finish() const noexcept { return static_cast<std::uint16_t>(~partial()); }

std::uint16_t ipv4_header_checksum(Slice header) noexcept {
  constexpr std::size_t kField = 10;  // RFC 791 3.1
  Checksum sum;
  sum.add(header.first(kField));
  sum.add(header.subspan(kField + 2));
  return sum.finish();
}

}  // namespace vmux::packet

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

// One word: read once, stored, added. (Loops of a fixed few rounds are written out: compilers leave them alone at -O2.)
template <bool kCopy, class Word = std::uint64_t>
inline void step(std::uint64_t& sum, std::byte* to, const std::byte* from) noexcept {
  Word word;
  std::memcpy(&word, from, sizeof word);
  if constexpr (kCopy) std::memcpy(to, &word, sizeof word);
  if constexpr (sizeof word == 1 && std::endian::native == std::endian::big) {
    sum = plus(sum, std::uint64_t{word} << 8);  // the last byte of an odd number stands first in its word
  } else {
    sum = plus(sum, word);
  }
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
  const std::size_t left = size - at;  // below 8: moves of a fixed size, no call into libc
  if ((left & 4) != 0) {
    step<kCopy, std::uint32_t>(b, room(at), from + at);
    at += 4;
  }
  if ((left & 2) != 0) {
    step<kCopy, std::uint16_t>(c, room(at), from + at);
    at += 2;
  }
  if ((left & 1) != 0) step<kCopy, std::uint8_t>(d, room(at), from + at);
  return plus(plus(a, b), plus(c, d));
}

#if defined(__x86_64__)
// Sums in 64-bit lanes: of whole words, which drops the carries, and of their upper halves, which cannot overflow below
// 2^32 words. lower_and_upper() has the sum of the lower halves from the difference: no mask for each word.
struct Lanes {
  __m256i words, upper;
};

template <bool kCopy>
__attribute__((target("avx2"))) inline void step_avx2(Lanes& lanes, std::byte* to, const std::byte* from) noexcept {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  if constexpr (kCopy) _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
  lanes.words = _mm256_add_epi64(lanes.words, bytes);
  lanes.upper = _mm256_add_epi64(lanes.upper, _mm256_srli_epi64(bytes, 32));
}

__attribute__((target("avx2"))) inline __m256i lower_and_upper(const Lanes& lanes) noexcept {
  const __m256i lower = _mm256_sub_epi64(lanes.words, _mm256_slli_epi64(lanes.upper, 32));
  return _mm256_add_epi64(lower, lanes.upper);
}

template <bool kCopy>
__attribute__((target("avx2"))) std::uint64_t sum_avx2(std::byte* to, const std::byte* from,
                                                       std::size_t size) noexcept {
  const auto room = [to](std::size_t offset) { return kCopy ? to + offset : nullptr; };
  Lanes a{_mm256_setzero_si256(), _mm256_setzero_si256()}, b = a;
  std::size_t at = 0;
  for (; at + 128 <= size; at += 128) {
    step_avx2<kCopy>(a, room(at), from + at);
    step_avx2<kCopy>(b, room(at + 32), from + at + 32);
    step_avx2<kCopy>(a, room(at + 64), from + at + 64);
    step_avx2<kCopy>(b, room(at + 96), from + at + 96);
  }
  for (; at + 32 <= size; at += 32)
    step_avx2<kCopy>(a, room(at), from + at);
  const __m256i all = _mm256_add_epi64(lower_and_upper(a), lower_and_upper(b));
  const __m128i half = _mm_add_epi64(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  const auto first = static_cast<std::uint64_t>(_mm_cvtsi128_si64(half));
  const auto second = static_cast<std::uint64_t>(_mm_extract_epi64(half, 1));
  return plus(plus(first, second), sum_words<kCopy>(room(at), from + at, size - at));
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

// SPDX-License-Identifier: BSD-3-Clause
#include "packet/sum/sum_kernels.hpp"

#include <bit>
#include <cstring>

#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 finds it in its own header: bug 105593
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#endif

namespace vmux::packet::sum {
namespace {

constexpr std::size_t kLine = 64;  // bytes of a cache line

// Where a sum is faster by vector instructions: shorter pieces do not pay for the reduction at the end.
constexpr std::size_t kVectorFrom = 128;

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
// Two lines of what is copied next, for each two that are copied: the misses of the one hide behind the work on the
// other, and never fill all the buffers that the core has for them.
inline void ask_for_two(const Ahead& ahead, std::size_t at) noexcept {
  if (at >= ahead.size) return;
  __builtin_prefetch(ahead.from + at);
  __builtin_prefetch(ahead.from + at + kLine);
  // The right to write them, too; the built-in needs -mprfchw for that.
  asm volatile("prefetchw %0" : : "m"(ahead.to[at]));
  asm volatile("prefetchw %0" : : "m"(ahead.to[at + kLine]));
}

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
__attribute__((target("avx2"))) std::uint64_t sum_avx2(std::byte* to, const std::byte* from, std::size_t size,
                                                       const Ahead& ahead) noexcept {
  const auto room = [to](std::size_t offset) { return kCopy ? to + offset : nullptr; };
  Lanes a{_mm256_setzero_si256(), _mm256_setzero_si256()}, b = a;
  std::size_t at = 0;
  for (; at + 128 <= size; at += 128) {
    if constexpr (kCopy) ask_for_two(ahead, at);
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

template <bool kCopy>
__attribute__((target("avx512f,avx512bw,bmi2"))) std::uint64_t sum_avx512(std::byte* to, const std::byte* from,
                                                                          std::size_t size,
                                                                          const Ahead& ahead) noexcept {
  __m512i words[2] = {}, upper[2] = {};  // as in Lanes
  std::size_t at = 0;
  for (; at + 2 * kLine <= size; at += 2 * kLine) {
    if constexpr (kCopy) ask_for_two(ahead, at);
    const __m512i a = _mm512_loadu_si512(from + at), b = _mm512_loadu_si512(from + at + kLine);
    if constexpr (kCopy) {
      _mm512_storeu_si512(to + at, a);
      _mm512_storeu_si512(to + at + kLine, b);
    }
    words[0] = _mm512_add_epi64(words[0], a);
    upper[0] = _mm512_add_epi64(upper[0], _mm512_srli_epi64(a, 32));
    words[1] = _mm512_add_epi64(words[1], b);
    upper[1] = _mm512_add_epi64(upper[1], _mm512_srli_epi64(b, 32));
  }
  for (; at < size; at += kLine) {  // at most twice; what lies behind the end is neither read nor written
    const __mmask64 mask = size - at >= kLine ? ~__mmask64{0} : _bzhi_u64(~0ull, static_cast<unsigned>(size - at));
    const __m512i a = _mm512_maskz_loadu_epi8(mask, from + at);
    if constexpr (kCopy) _mm512_mask_storeu_epi8(to + at, mask, a);
    words[0] = _mm512_add_epi64(words[0], a);
    upper[0] = _mm512_add_epi64(upper[0], _mm512_srli_epi64(a, 32));
  }
  const __m512i all = _mm512_add_epi64(words[0], words[1]), high = _mm512_add_epi64(upper[0], upper[1]);
  const __m512i low = _mm512_sub_epi64(all, _mm512_slli_epi64(high, 32));
  return static_cast<std::uint64_t>(_mm512_reduce_add_epi64(_mm512_add_epi64(low, high)));  // far below 2^64
}

bool has_avx2() noexcept { return __builtin_cpu_supports("avx2") != 0; }
// Those that lack VBMI2 (Skylake and its next of kin) lower their clock when 512 bits are used now and then.
bool has_avx512() noexcept {
  return __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vbmi2") != 0 &&
         __builtin_cpu_supports("bmi2") != 0;
}
#endif

template <bool kCopy>
std::uint64_t run_as(Unit unit, std::byte* to, const std::byte* from, std::size_t size, const Ahead& ahead) noexcept {
  switch (unit) {
#if defined(__x86_64__)
    case Unit::avx512:
      return sum_avx512<kCopy>(to, from, size, ahead);
    case Unit::avx2:
      return sum_avx2<kCopy>(to, from, size, ahead);
#endif
    default:
      return sum_words<kCopy>(to, from, size);
  }
}

Unit best() noexcept {
  if (is_there(Unit::avx512)) return Unit::avx512;
  return is_there(Unit::avx2) ? Unit::avx2 : Unit::words;
}

const Unit g_best = best();

}  // namespace

bool is_there(Unit unit) noexcept {
#if defined(__x86_64__)
  if (unit == Unit::avx512) return has_avx512();
  if (unit == Unit::avx2) return has_avx2();
#endif
  return unit == Unit::words;
}

std::uint64_t run(Unit unit, std::byte* to, const std::byte* from, std::size_t size, const Ahead& ahead) noexcept {
  return to != nullptr ? run_as<true>(unit, to, from, size, ahead) : run_as<false>(unit, to, from, size, ahead);
}

std::uint64_t run(std::byte* to, const std::byte* from, std::size_t size, const Ahead& ahead) noexcept {
  return run(size >= kVectorFrom ? g_best : Unit::words, to, from, size, ahead);
}

}  // namespace vmux::packet::sum

// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <cstdlib>

#include "memory/table.hpp"

namespace vmux::memory {
namespace {

constexpr unsigned kPageShift = 12;
constexpr std::uint64_t kWordBits = 64;

/// Bits [from, to) of one word; to <= 64.
constexpr std::uint64_t bits_between(std::uint64_t from, std::uint64_t to) noexcept {
  const std::uint64_t below_to = to >= kWordBits ? ~0ull : (1ull << to) - 1;
  return below_to & ~((1ull << from) - 1);
}

}  // namespace

std::unique_ptr<DirtyBitmap> DirtyBitmap::create(std::uint64_t pages) noexcept {
  std::unique_ptr<DirtyBitmap> bitmap{new DirtyBitmap};
  bitmap->count_ = static_cast<std::size_t>((pages + kWordBits - 1) / kWordBits);
  bitmap->words_ = static_cast<std::uint64_t*>(std::calloc(bitmap->count_, sizeof(std::uint64_t)));
  bitmap->again_ = static_cast<std::uint64_t*>(std::calloc(bitmap->count_, sizeof(std::uint64_t)));
  if (bitmap->words_ == nullptr || bitmap->again_ == nullptr) return nullptr;
  return bitmap;
}

DirtyBitmap::~DirtyBitmap() {
  std::free(words_);
  std::free(again_);
}

std::uint64_t DirtyBitmap::take(std::size_t index, std::uint64_t mask, Repeat repeat) noexcept {
  // Most words are empty, and looking at them must not make the kernel allocate their pages.
  std::uint64_t fresh = __atomic_load_n(&words_[index], __ATOMIC_RELAXED) & mask;
  if (fresh != 0) fresh = __atomic_fetch_and(&words_[index], ~mask, __ATOMIC_ACQUIRE) & mask;
  const std::uint64_t old = again_[index] & mask;
  const std::uint64_t kept = (repeat.drops_kept ? 0 : old) | (repeat.keeps ? fresh : 0);
  if (old != kept) again_[index] = (again_[index] & ~mask) | kept;
  return fresh | (repeat.reports_kept ? old : 0);
}

void mark_dirty(const Window& window, std::uint64_t offset, std::uint64_t length) noexcept {
  if (length == 0) return;
  const std::uint64_t first = offset >> kPageShift;
  const std::uint64_t end = ((offset + length - 1) >> kPageShift) + 1;
  for (std::uint64_t page = first; page < end;) {
    const std::uint64_t word = page / kWordBits;
    const std::uint64_t word_end = std::min(end, (word + 1) * kWordBits);
    const std::uint64_t mask = bits_between(page % kWordBits, word_end - word * kWordBits);
    // Release: whoever takes the bit sees the bytes that were written before it.
    __atomic_fetch_or(&window.dirty[word], mask, __ATOMIC_RELEASE);
    page = word_end;
  }
}

}  // namespace vmux::memory

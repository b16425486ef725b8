// SPDX-License-Identifier: BSD-3-Clause
#include "vhost_user/dirty_log.hpp"

#include <algorithm>
#include <utility>

namespace vmux::vhost_user {
namespace {

constexpr std::uint64_t kPage = wire::vhost_user::kLogPage;
constexpr std::uint64_t kWord = sizeof(std::uint64_t), kWordBits = 64;
constexpr std::uint64_t kChunkPages = 64 << 10;  // looked through at a time: 256 MiB of guest, 8 KiB of bits

}  // namespace

Result<std::unique_ptr<DirtyLog>> DirtyLog::create(UniqueFd fd, std::uint64_t offset, std::uint64_t size) {
  if (size < kWord || offset % kWord != 0 || !end_of(Iova{offset}, ByteCount{size})) {
    return fail(Errc::invalid_argument, "the dirty log is not made of 64-bit words");
  }
  std::unique_ptr<DirtyLog> log{new DirtyLog};
  const std::uint64_t words = size / kWord;
  auto backing = log->files_.acquire(std::move(fd), offset, words * kWord, /*needs_write=*/true);
  if (!backing) return tl::unexpected(backing.error());
  log->backing_ = std::move(*backing);
  log->offset_ = offset;
  log->words_ = {reinterpret_cast<std::uint64_t*>(log->backing_->at(offset)), static_cast<std::size_t>(words)};
  log->scratch_.resize(kChunkPages / kWordBits);
  return log;
}

// Release: a front end that takes the bit sees what was written before. Always a locked OR, even of a bit that is set:
// it may be taken this very moment by someone who has not seen those bytes.
void DirtyLog::set(std::uint64_t word, std::uint64_t bits) noexcept {
  if (bits != 0 && word < words_.size()) __atomic_fetch_or(&words_[word], bits, __ATOMIC_RELEASE);
}

void DirtyLog::mark(std::uint64_t address, std::uint64_t size) noexcept {
  if (size == 0 || !end_of(Iova{address}, ByteCount{size})) return;
  const std::uint64_t last = std::min((address + size - 1) / kPage, words_.size() * kWordBits - 1);
  for (std::uint64_t page = address / kPage; page <= last; ++page)
    set(page / kWordBits, 1ull << (page % kWordBits));
}

void DirtyLog::take_from(memory::AddressSpace& space) {
  if (!space.is_logging()) return;
  for (const memory::Window& window : space.windows())
    take_window(space, window);
}

void DirtyLog::take_window(memory::AddressSpace& space, const memory::Window& window) {
  const std::uint64_t pages = window.size / kPage;
  for (std::uint64_t done = 0; done < pages; done += kChunkPages) {
    const std::uint64_t count = std::min(kChunkPages, pages - done);
    const std::uint64_t first = window.start / kPage + done;
    std::fill(scratch_.begin(), scratch_.end(), 0);
    if (!space.take_dirty(Iova{first * kPage}, ByteCount{count * kPage}, kPage, scratch_)) return;
    const auto shift = static_cast<unsigned>(first % kWordBits);
    for (std::uint64_t i = 0; i < (count + kWordBits - 1) / kWordBits; ++i) {
      set(first / kWordBits + i, scratch_[i] << shift);
      if (shift != 0) set(first / kWordBits + i + 1, scratch_[i] >> (kWordBits - shift));
    }
  }
}

}  // namespace vmux::vhost_user

// SPDX-License-Identifier: BSD-3-Clause
// The bytes of ranges, and the log of what was written to them.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "capi/dma_map.hpp"

namespace vmux::capi {
namespace {

constexpr std::uint64_t kWordBits = 64;

/// All `length` bytes by `move` (pread or pwrite) at `offset`; EIO where the file ends.
template <class Move, class Byte>
int transfer(Move move, int fd, Byte* at, std::uint64_t length, std::uint64_t offset) noexcept {
  while (length > 0) {
    const ssize_t moved = move(fd, at, length, static_cast<off_t>(offset));
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) return EIO;
    at += moved;
    offset += static_cast<std::uint64_t>(moved);
    length -= static_cast<std::uint64_t>(moved);
  }
  return 0;
}

/// Sets bits [first, end) of `bitmap`, as far as it goes.
void set_bits(std::span<std::uint64_t> bitmap, std::uint64_t first, std::uint64_t end) noexcept {
  end = std::min(end, bitmap.size() * kWordBits);
  for (; first < end; ++first)
    bitmap[first / kWordBits] |= std::uint64_t{1} << (first % kWordBits);
}

}  // namespace

std::size_t bitmap_bytes(std::uint64_t length, std::uint64_t page_size) noexcept {
  if (page_size == 0 || length < page_size) return 0;
  const std::uint64_t pages = length / page_size + (length % page_size != 0 ? 1 : 0);
  return static_cast<std::size_t>((pages + kWordBits - 1) / kWordBits * 8);
}

int DmaMap::read(const dma_sg& piece, std::byte* into) const noexcept {
  const std::shared_lock lock{mutex_};  // held while copying: the range stays
  const Region* const region = region_of(piece);
  if (region == nullptr) return EINVAL;
  if (region->mode == DmaMode::message) return -1;
  if (region->mode == DmaMode::file) {
    return transfer(::pread, region->fd->get(), into, piece.length, region->offset + piece.offset);
  }
  std::memcpy(into, static_cast<const std::byte*>(region->info.vaddr) + piece.offset, piece.length);
  return is_poisoned() ? EFAULT : 0;
}

int DmaMap::write(const dma_sg& piece, const std::byte* from) noexcept {
  const std::shared_lock lock{mutex_};
  const Region* const region = region_of(piece);
  if (region == nullptr) return EINVAL;
  if (region->mode == DmaMode::message) return -1;
  mark(*region, piece.offset, piece.length);  // nobody takes the log before the lock is free
  if (region->mode == DmaMode::file) {
    return transfer(::pwrite, region->fd->get(), from, piece.length, region->offset + piece.offset);
  }
  std::memcpy(static_cast<std::byte*>(region->info.vaddr) + piece.offset, from, piece.length);
  return is_poisoned() ? EFAULT : 0;
}

void DmaMap::mark_dirty(const dma_sg& piece) noexcept {
  const std::shared_lock lock{mutex_};
  const Region* const region = piece.writeable ? region_of(piece) : nullptr;
  if (region != nullptr) mark(*region, piece.offset, piece.length);
}

void DmaMap::mark(const Region& region, std::uint64_t offset, std::uint64_t length) noexcept {
  if (region.dirty.empty() || length == 0) return;
  // The bitmap is what other threads write, too, while all of them hold the lock for reading.
  auto* const words = const_cast<std::uint64_t*>(region.dirty.data());
  const std::uint64_t last = (offset + length - 1) / page_size_;
  for (std::uint64_t page = offset / page_size_; page <= last;) {
    const std::uint64_t count = std::min(kWordBits - page % kWordBits, last - page + 1);
    const std::uint64_t ones = count == kWordBits ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1;
    std::atomic_ref{words[page / kWordBits]}.fetch_or(ones << (page % kWordBits), std::memory_order_seq_cst);
    page += count;
  }
}

void DmaMap::reset_log(Region& region) const {
  region.dirty.clear();
  if (page_size_ == 0 || region.mode == DmaMode::message) return;
  region.dirty.resize((region.size() + page_size_ * kWordBits - 1) / (page_size_ * kWordBits));
}

int DmaMap::start_log(std::uint64_t page_size) {
  const std::unique_lock lock{mutex_};
  if (!std::has_single_bit(page_size) || page_size < 512) return EINVAL;
  if (page_size_ != 0) return page_size_ == page_size ? 0 : EINVAL;
  page_size_ = page_size;
  for (Region& region : regions_)
    reset_log(region);
  return 0;
}

void DmaMap::stop_log() noexcept {
  const std::unique_lock lock{mutex_};
  page_size_ = 0;
  for (Region& region : regions_)
    region.dirty = {};
}

void DmaMap::mark_all() noexcept {
  const std::unique_lock lock{mutex_};
  for (const Region& region : regions_)
    mark(region, 0, region.size());
}

int DmaMap::take_log(std::uint64_t start, std::uint64_t length, std::uint64_t page_size,
                     std::span<std::uint64_t> into) noexcept {
  const std::unique_lock lock{mutex_};
  const auto found = at_or_before(start);
  if (found == by_start_.end()) return ENOENT;
  Region& region = regions_[found->second];
  const std::uint64_t offset = start - region.start();
  if (offset >= region.size() || length > region.size() - offset) return ENOENT;
  if (offset != 0) return ENOTSUP;
  if (page_size_ == 0 || !std::has_single_bit(page_size) || region.mode == DmaMode::message) return EINVAL;

  const std::uint64_t room = into.size() * kWordBits;
  for (std::size_t word = 0; word < region.dirty.size(); ++word) {
    for (std::uint64_t bits = region.dirty[word]; bits != 0; bits &= bits - 1) {
      const std::uint64_t page = word * kWordBits + static_cast<unsigned>(std::countr_zero(bits));
      const std::uint64_t first = page * page_size_ / page_size;
      if (first >= room) continue;  // it stays in the log
      set_bits(into, first, ((page + 1) * page_size_ - 1) / page_size + 1);
      region.dirty[word] &= ~(std::uint64_t{1} << (page % kWordBits));
    }
  }
  return 0;
}

}  // namespace vmux::capi

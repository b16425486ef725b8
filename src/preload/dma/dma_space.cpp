// SPDX-License-Identifier: BSD-3-Clause
#include "preload/dma/dma_space.hpp"

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "preload/dma/iova.hpp"

namespace vmux::preload {
namespace {

constexpr std::size_t kKernelLimit = 65535;  // vfio_iommu_type1's dma_entry_limit
// Pages of one report of a server: 16 KiB of bits, which every server sends in one message.
constexpr std::uint64_t kReportPages = 16384ull * 8;

}  // namespace

int DmaSpace::map(const Request& request) {
  if (overlaps(request.iova, request.iova + request.size - 1)) return -EEXIST;
  const auto found = memory_.find(request.vaddr, request.size, request.writable);
  if (found.error != 0) return -found.error;
  return insert(request, found.pieces);
}

int DmaSpace::map_file(const Request& request, int fd, std::uint64_t offset) {
  if (overlaps(request.iova, request.iova + request.size - 1)) return -EEXIST;
  auto file = memory_.share(fd, request.writable);
  if (!file) return -EBADF;
  return insert(request, {Piece{0, request.size, std::move(file), offset}});
}

int DmaSpace::insert(const Request& request, const std::vector<Piece>& memory) {
  if (memory.size() > available()) return -ENOSPC;
  Range range{request.size, {}};
  std::uint64_t iova = request.iova;
  for (const Piece& piece : memory) {
    range.pieces.push_back({iova, piece, request.readable, request.writable});
    iova += piece.size;
  }
  for (std::size_t done = 0; done < users_.size(); ++done) {
    const int error = give(*users_[done], range.pieces);
    if (error == 0) continue;
    while (done-- > 0) {
      for (const DmaPiece& piece : range.pieces)
        (void)users_[done]->dma_unmap(piece);
    }
    return error;
  }
  piece_count_ += range.pieces.size();
  ranges_.emplace(request.iova, std::move(range));
  return 0;
}

int DmaSpace::give(DmaUser& user, const std::vector<DmaPiece>& pieces) {
  for (std::size_t done = 0; done < pieces.size(); ++done) {
    const int error = user.dma_map(pieces[done]);
    if (error == 0) continue;
    while (done-- > 0)
      (void)user.dma_unmap(pieces[done]);
    return error;
  }
  return 0;
}

bool DmaSpace::cuts(std::uint64_t iova, std::uint64_t last) const noexcept {
  auto after = ranges_.upper_bound(last);
  if (after == ranges_.begin()) return false;
  const auto end = std::prev(after);  // the last that begins in the range, or before it
  if (end->first < iova) return end->first + (end->second.size - 1) >= iova;
  if (end->first + (end->second.size - 1) > last) return true;
  const auto first = ranges_.lower_bound(iova);
  if (first == ranges_.begin()) return false;
  const auto before = std::prev(first);
  return before->first + (before->second.size - 1) >= iova;
}

DmaSpace::Unmapped DmaSpace::unmap(std::uint64_t iova, std::uint64_t last) {
  if (cuts(iova, last)) return {0, true};
  const auto first = ranges_.lower_bound(iova), end = ranges_.upper_bound(last);
  Unmapped result;
  for (auto entry = first; entry != end; ++entry) {
    result.bytes += entry->second.size;
    piece_count_ -= entry->second.pieces.size();
    for (DmaUser* user : users_) {
      // A server that is gone has forgotten the memory anyway; the program's mapping ends either way.
      for (const DmaPiece& piece : entry->second.pieces)
        (void)user->dma_unmap(piece);
    }
  }
  ranges_.erase(first, end);
  return result;
}

int DmaSpace::add(DmaUser& user) {
  if (piece_count_ > user.dma_limit()) return -ENOSPC;
  std::vector<const Range*> given;
  for (const auto& [iova, range] : ranges_) {
    const int error = give(user, range.pieces);
    if (error != 0) {
      for (const Range* back : given) {
        for (const DmaPiece& piece : back->pieces)
          (void)user.dma_unmap(piece);
      }
      return error;
    }
    given.push_back(&range);
  }
  users_.push_back(&user);
  if (is_tracking_ && user.dirty_start() == 0) loggers_.push_back(&user);
  return 0;
}

void DmaSpace::remove(DmaUser& user) noexcept {
  std::erase(users_, &user);
  std::erase(loggers_, &user);
}

void DmaSpace::start_dirty() {
  if (is_tracking_) return;
  is_tracking_ = true;
  for (DmaUser* user : users_) {
    if (user->dirty_start() == 0) loggers_.push_back(user);
  }
}

void DmaSpace::stop_dirty() {
  for (DmaUser* user : loggers_)
    user->dirty_stop();
  loggers_.clear();
  is_tracking_ = false;
}

void DmaSpace::take_dirty(std::uint64_t iova, std::uint64_t pages, std::span<std::uint64_t> bits) {
  const std::uint64_t last = iova + (pages * kIovaPage - 1);
  auto range = ranges_.upper_bound(iova);
  if (range != ranges_.begin()) --range;
  for (; range != ranges_.end() && range->first <= last; ++range) {
    const std::uint64_t range_last = range->first + (range->second.size - 1);
    if (range_last < iova) continue;
    const std::uint64_t from = std::max(iova, range->first), to = std::min(last, range_last);
    const std::uint64_t count = (to - from) / kIovaPage + 1;
    for (std::uint64_t done = 0; done < count; done += kReportPages) {
      const std::uint64_t at = from + done * kIovaPage;
      merge(ask(at, std::min(count - done, kReportPages)), (at - iova) / kIovaPage, bits);
    }
  }
}

/// What all devices together may have written.
DmaSpace::Report DmaSpace::ask(std::uint64_t iova, std::uint64_t pages) {
  Report report{pages, std::vector<std::uint64_t>((pages + 63) / 64)};
  bool is_unknown = false;
  for (DmaUser* user : users_) {  // each of them: a report clears what it tells
    const bool logs = std::find(loggers_.begin(), loggers_.end(), user) != loggers_.end();
    is_unknown |= !logs || user->dirty_report(iova, report.bits, pages) != 0;
  }
  if (is_unknown) std::fill(report.bits.begin(), report.bits.end(), ~std::uint64_t{0});
  return report;
}

void DmaSpace::merge(const Report& report, std::uint64_t first, std::span<std::uint64_t> into) {
  for (std::uint64_t page = 0; page < report.pages; ++page) {
    std::uint64_t& word = into[(first + page) / 64];
    const std::uint64_t bit = std::uint64_t{1} << ((first + page) % 64);
    word = (report.bits[page / 64] >> (page % 64) & 1) != 0 ? word | bit : word & ~bit;
  }
}

std::size_t DmaSpace::available() const noexcept {
  std::size_t limit = kKernelLimit;
  for (const DmaUser* user : users_)
    limit = std::min(limit, user->dma_limit());
  return limit - std::min(limit, piece_count_);
}

std::optional<std::uint64_t> DmaSpace::find_free(std::uint64_t size, std::uint64_t first,
                                                 std::uint64_t last) const noexcept {
  std::uint64_t at = first;
  for (const auto& [iova, range] : ranges_) {
    const std::uint64_t range_last = iova + (range.size - 1);
    if (range_last < at) continue;
    if (iova > at && iova - at >= size) break;
    if (range_last >= last) return std::nullopt;
    at = range_last + 1;
  }
  if (at > last || last - at < size - 1) return std::nullopt;
  return at;
}

bool DmaSpace::overlaps(std::uint64_t iova, std::uint64_t last) const noexcept {
  const auto after = ranges_.upper_bound(last);
  if (after == ranges_.begin()) return false;
  const auto candidate = std::prev(after);
  return candidate->first + (candidate->second.size - 1) >= iova;
}

}  // namespace vmux::preload

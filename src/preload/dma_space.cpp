// SPDX-License-Identifier: BSD-3-Clause
#include "preload/dma_space.hpp"

#include <algorithm>
#include <cerrno>
#include <iterator>

namespace vmux::preload {
namespace {

constexpr std::size_t kKernelLimit = 65535;  // vfio_iommu_type1's dma_entry_limit

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

DmaSpace::Unmapped DmaSpace::unmap(std::uint64_t iova, std::uint64_t last) {
  auto first = ranges_.lower_bound(iova);
  if (first != ranges_.begin()) {
    const auto before = std::prev(first);
    if (before->first + (before->second.size - 1) >= iova) return {0, true};
  }
  auto end = first;
  while (end != ranges_.end() && end->first <= last) {
    if (end->first + (end->second.size - 1) > last) return {0, true};
    ++end;
  }
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
  return 0;
}

void DmaSpace::remove(DmaUser& user) noexcept { std::erase(users_, &user); }

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

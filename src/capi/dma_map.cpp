// SPDX-License-Identifier: BSD-3-Clause
// Ranges: how they come and go, and how addresses are looked up.
#include "capi/dma_map.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <mutex>

namespace vmux::capi {
namespace {

constexpr std::uint64_t kMaxRange = std::uint64_t{8} << 40;  // ENOSPC beyond it
constexpr std::uint32_t kReadWrite = PROT_READ | PROT_WRITE;

std::uint64_t number_of(std::uint64_t region) noexcept { return (region & 0xffff'ffff) - 1; }
std::uint32_t generation_of(std::uint64_t region) noexcept { return static_cast<std::uint32_t>(region >> 32); }

}  // namespace

DmaMap::~DmaMap() {
  while (!by_start_.empty())
    remove(by_start_.begin()->first);
}

DmaMap::Iterator DmaMap::at_or_before(std::uint64_t address) const noexcept {
  const auto after = by_start_.upper_bound(address);
  return after == by_start_.begin() ? by_start_.end() : std::prev(after);
}

bool DmaMap::overlaps(std::uint64_t start, std::uint64_t size) const noexcept {
  const auto before = at_or_before(start + size - 1);
  if (before == by_start_.end()) return false;
  const Region& region = regions_[before->second];
  return region.start() + region.size() - 1 >= start;
}

int DmaMap::add(DmaRequest request, vfu_dma_info_t*& info) {
  if (request.size > kMaxRange) return ENOSPC;
  if (request.size == 0 || request.start + (request.size - 1) < request.start) return EINVAL;
  Region region;
  region.info.iova = {reinterpret_cast<void*>(request.start), request.size};
  region.info.page_size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  region.info.prot = static_cast<std::uint32_t>(request.prot);
  region.mode = request.mode;
  region.offset = request.offset;
  struct stat status {};
  if (request.mode != DmaMode::message) {
    if (::fstat(request.fd.get(), &status) != 0) return errno;
    region.file = {status.st_dev, status.st_ino};
    region.info.page_size =
        std::max(region.info.page_size, std::bit_floor(static_cast<std::size_t>(status.st_blksize)));
  }
  if (info = find(request.start, request.size); info != nullptr) {
    const Region& there = regions_[by_start_.find(request.start)->second];
    const bool is_same = there.file == region.file && there.offset == region.offset && there.mode == region.mode &&
                         there.info.prot == region.info.prot;
    return is_same ? 0 : EINVAL;
  }
  if (overlaps(request.start, request.size) || by_start_.size() >= max_regions_) return EINVAL;
  if (const int error = open_file(region, request, status); error != 0) return error;

  const std::unique_lock lock{mutex_};
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(regions_.size()));
    regions_.emplace_back();
  }
  const std::uint32_t number = free_.back();
  free_.pop_back();
  region.generation = regions_[number].generation + 1;
  reset_log(region);
  regions_[number] = std::move(region);
  by_start_.emplace(request.start, number);
  info = &regions_[number].info;
  return 0;
}

int DmaMap::open_file(Region& region, DmaRequest& request, const struct stat& status) {
  if (request.mode == DmaMode::message) return 0;
  if (request.mode == DmaMode::mapped) {
    // Clients map and unmap parts of few files, page by page behind an IOMMU: such a file is mapped once. A range that
    // may not be written, or whose file is shorter (which a client may change later), gets a mapping that says so; and
    // where descriptors are kept, each range has one of its own.
    const bool is_whole = S_ISREG(status.st_mode) && region.offset <= static_cast<std::uint64_t>(status.st_size) &&
                          region.size() <= static_cast<std::uint64_t>(status.st_size) - region.offset;
    const bool is_shared = is_whole && region.info.prot == kReadWrite && closing_ == nullptr &&
                           map_shared(region, std::move(request.fd), status);
    if (is_shared) return 0;  // else there are too many files, or too large ones: the range alone may still do
    const int error = map_alone(region, request.fd.get());
    if (error == 0 && closing_ != nullptr) region.fd = std::make_shared<UniqueFd>(std::move(request.fd));
    return error;
  }
  if (closing_ != nullptr) {  // none is shared: each has its own number
    region.fd = std::make_shared<UniqueFd>(std::move(request.fd));
    return 0;
  }
  std::erase_if(files_, [](const auto& entry) { return entry.second.expired(); });
  auto& kept = files_[{region.file, ::fcntl(request.fd.get(), F_GETFL) & O_ACCMODE}];
  region.fd = kept.lock();
  if (region.fd == nullptr) kept = region.fd = std::make_shared<UniqueFd>(std::move(request.fd));
  return 0;
}

bool DmaMap::map_shared(Region& region, UniqueFd&& fd, const struct stat& status) {
  auto backing = backings_.acquire(std::move(fd), status, region.offset, region.size(), /*needs_write=*/true);
  if (!backing) return false;
  region.backing = std::move(*backing);
  region.info.vaddr = region.backing->at(region.offset);
  const std::uint64_t page = region.info.page_size;
  std::uint64_t first = region.offset & ~(page - 1), end = (region.offset + region.size() + page - 1) & ~(page - 1);
  if (!region.backing->covers(first, end - first)) {  // the file's blocks are larger than pages
    first = region.offset;
    end = first + region.size();
  }
  region.info.mapping = {region.backing->at(first), end - first};
  return true;
}

// The mapping is in whole pages of the file, which may be huge ones.
int DmaMap::map_alone(Region& region, int fd) {
  const std::uint64_t page = region.info.page_size;
  const std::uint64_t first = region.offset & ~(page - 1);
  const std::uint64_t length = (region.offset - first + region.size() + page - 1) & ~(page - 1);
  void* const base =
      ::mmap(nullptr, length, static_cast<int>(region.info.prot), MAP_SHARED, fd, static_cast<off_t>(first));
  if (base == MAP_FAILED) return errno;
  static_cast<void>(::madvise(base, length, MADV_DONTDUMP));  // a guest's memory is not for this process's core
  region.info.mapping = {base, length};
  if (backings_.poison() != nullptr)
    region.guard = {{static_cast<std::byte*>(base), length}, memory::granule_of(fd), backings_.poison()};
  region.info.vaddr = static_cast<std::byte*>(base) + (region.offset - first);
  return 0;
}

vfu_dma_info_t* DmaMap::find(std::uint64_t start, std::uint64_t size) noexcept {
  const auto found = by_start_.find(start);
  if (found == by_start_.end()) return nullptr;
  Region& region = regions_[found->second];
  return region.size() == size ? &region.info : nullptr;
}

vfu_dma_info_t* DmaMap::first() noexcept {
  return by_start_.empty() ? nullptr : &regions_[by_start_.begin()->second].info;
}

void DmaMap::remove(std::uint64_t start) noexcept {
  const std::unique_lock lock{mutex_};
  const auto found = by_start_.find(start);
  if (found == by_start_.end()) return;
  Region& region = regions_[found->second];
  if (region.backing != nullptr) {
    backings_.release(*region.backing);
  } else if (region.info.vaddr != nullptr) {
    region.guard.release();
    ::munmap(region.info.mapping.iov_base, region.info.mapping.iov_len);
  }
  if (closing_ != nullptr && region.fd != nullptr) closing_->push_back(std::move(*region.fd));
  const std::uint32_t generation = region.generation + 1;
  region = {};
  region.generation = generation;
  free_.push_back(found->second);
  by_start_.erase(found);
}

void DmaMap::forget_files() noexcept {
  const std::unique_lock lock{mutex_};
  backings_.clear();
}

void DmaMap::guard() {
  const std::unique_lock lock{mutex_};
  backings_ = memory::BackingFiles{memory::BackingFiles::BusErrors::caught};
}

int DmaMap::translate(std::uint64_t start, std::uint64_t length, std::span<dma_sg> into, int prot) const noexcept {
  const std::shared_lock lock{mutex_};
  std::size_t count = 0;
  auto at = at_or_before(start);
  while (length > 0) {
    if (at == by_start_.end() || at->first > start) break;
    const Region& region = regions_[at->second];
    const std::uint64_t offset = start - region.start();
    if (offset >= region.size()) break;
    const std::uint64_t part = std::min(length, region.size() - offset);
    if ((prot & PROT_WRITE) != 0 && (region.info.prot & PROT_WRITE) == 0) return errno = EACCES, -1;
    if (count < into.size()) {
      const std::uint64_t name = std::uint64_t{region.generation} << 32 | (at->second + std::uint64_t{1});
      into[count] = {region.info.iova.iov_base, name, part, offset, (prot & PROT_WRITE) != 0};
    }
    ++count;
    ++at;
    start += part;
    length -= part;
  }
  if (length > 0) return errno = ENOENT, -1;
  errno = 0;
  return count > into.size() ? -static_cast<int>(count) - 1 : static_cast<int>(count);
}

const DmaMap::Region* DmaMap::region_of(const dma_sg& piece) const noexcept {
  const std::uint64_t number = number_of(piece.region);
  if (piece.region == 0 || number >= regions_.size()) return nullptr;
  const Region& region = regions_[number];
  if (region.generation != generation_of(piece.region)) return nullptr;
  const bool is_inside = piece.offset <= region.size() && piece.length <= region.size() - piece.offset;
  return is_inside ? &region : nullptr;
}

bool DmaMap::is_mappable(const dma_sg& piece) const noexcept {
  const std::shared_lock lock{mutex_};
  const Region* const region = region_of(piece);
  return region != nullptr && region->mode == DmaMode::mapped;
}

int DmaMap::check(const dma_sg& piece) const noexcept {
  const std::shared_lock lock{mutex_};
  return region_of(piece) != nullptr ? 0 : EINVAL;
}

int DmaMap::locate(const dma_sg& piece, iovec& into) const noexcept {
  const std::shared_lock lock{mutex_};
  const Region* const region = region_of(piece);
  if (region == nullptr) return EINVAL;
  if (region->mode != DmaMode::mapped) return EFAULT;
  into = {static_cast<std::byte*>(region->info.vaddr) + piece.offset, piece.length};
  return 0;
}

}  // namespace vmux::capi

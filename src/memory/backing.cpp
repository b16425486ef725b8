// SPDX-License-Identifier: BSD-3-Clause
#include "memory/backing.hpp"

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace vmux::memory {
namespace {

constexpr std::uint64_t kPage = 4096;
/// Files up to this size are mapped whole, larger (sparse) ones in pieces of kPiece.
constexpr std::uint64_t kWholeFile = 1ull << 40;
constexpr std::uint64_t kPiece = 1ull << 30;
/// The process has 65530 mappings to give (vm.max_map_count); one client must not take them from the others.
constexpr std::size_t kMaxFiles = 1024;
/// Mapped files without ranges: enough for a client that maps and unmaps windows, few enough that memory which a VM
/// gave back is not held for long.
constexpr std::size_t kMaxIdle = 2;

struct Extent {
  std::uint64_t begin = 0, end = 0;
};

constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t to) noexcept { return value & ~(to - 1); }
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t to) noexcept {
  return align_down(value + to - 1, to);
}

/// What to map for a range of a regular file: as much as later ranges may want. Beyond the end of an ordinary file
/// there is room up to the next power of two, so that a growing file is mapped again only as often as it doubles.
Extent generous(const Extent& range, std::uint64_t file_size, std::uint64_t granule) noexcept {
  const std::uint64_t room =
      granule == kPage ? std::bit_ceil(std::max(file_size, kPage)) : align_up(file_size, granule);
  if (room <= kWholeFile) return {0, room};
  return {align_down(range.begin, kPiece), std::min(align_up(range.end, kPiece), align_up(file_size, granule))};
}

Result<Mapping> map_extent(int fd, const Extent& extent, bool is_writable) noexcept {
  return Mapping::create(fd, extent.begin, extent.end - extent.begin, is_writable);
}

bool is_refused_for_writing(const Error& error) noexcept { return error.sys == EACCES || error.sys == EPERM; }

}  // namespace

// hugetlbfs maps in its own page size, and a mapping beyond the end of the file would make the file longer.
std::uint64_t granule_of(int fd) noexcept {
  struct statfs filesystem {};
  if (::fstatfs(fd, &filesystem) != 0 || filesystem.f_type != HUGETLBFS_MAGIC) return kPage;
  const auto size = static_cast<std::uint64_t>(filesystem.f_bsize);
  return std::has_single_bit(size) && size >= kPage ? size : kPage;
}

Result<std::shared_ptr<Backing>> BackingFiles::acquire(UniqueFd fd, std::uint64_t offset, std::uint64_t size,
                                                       bool needs_write) {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return fail_errno("cannot identify a memory file");
  return acquire(std::move(fd), status, offset, size, needs_write);
}

Result<std::shared_ptr<Backing>> BackingFiles::acquire(UniqueFd&& fd, const struct stat& status, std::uint64_t offset,
                                                       std::uint64_t size, bool needs_write) {
  const bool is_regular = S_ISREG(status.st_mode);
  if (S_ISDIR(status.st_mode)) return fail(Errc::invalid_argument, "a directory is not memory");
  if (is_regular && !fits(offset, size, static_cast<std::uint64_t>(status.st_size))) {
    return fail(Errc::out_of_range, "the memory file is shorter than the range");
  }
  for (auto entry = entries_.rbegin(); is_regular && entry != entries_.rend(); ++entry) {
    const bool is_same = entry->is_shareable && entry->inode == status.st_ino && entry->device == status.st_dev;
    if (!is_same || !entry->backing->covers(offset, size) || (needs_write && !entry->backing->is_writable())) continue;
    ++entry->ranges;
    auto backing = entry->backing;
    std::rotate(std::prev(entry.base()), entry.base(), entries_.end());
    return backing;
  }
  if (entries_.size() >= kMaxFiles) return fail(Errc::no_space, "the client maps too many different files");
  auto backing = make(std::move(fd), status, offset, size, needs_write);
  if (backing) entries_.push_back({status.st_dev, status.st_ino, is_regular, 1, *backing});
  return backing;
}

Result<std::shared_ptr<Backing>> BackingFiles::make(UniqueFd&& fd, const struct stat& status, std::uint64_t offset,
                                                    std::uint64_t size, bool needs_write) {
  const bool is_regular = S_ISREG(status.st_mode);
  const std::uint64_t granule = is_regular ? granule_of(fd.get()) : kPage;
  // offset + size fits in 63 bits for a regular file; for others the kernel checks.
  const Extent exact{align_down(offset, granule), align_up(offset + size, granule)};
  Extent extent = is_regular ? generous(exact, static_cast<std::uint64_t>(status.st_size), granule) : exact;
  if (exact.end <= exact.begin) return fail(Errc::invalid_argument, "the file range wraps");

  bool is_writable = true;
  auto mapping = map_extent(fd.get(), extent, is_writable);
  if (!mapping && is_refused_for_writing(mapping.error())) {
    if (needs_write) return fail(Errc::permission, "the memory file is not writable", mapping.error().sys);
    is_writable = false;
    mapping = map_extent(fd.get(), extent, is_writable);
  }
  if (!mapping) {  // too much address space, or a file system that maps no hole: just what was asked for
    extent = exact;
    mapping = map_extent(fd.get(), extent, is_writable);
  }
  if (!mapping) return tl::unexpected(mapping.error());
  return std::make_shared<Backing>(std::move(fd), std::move(*mapping), extent.begin, is_writable, granule, poison_);
}

std::vector<BackingFiles::Entry>::iterator BackingFiles::find(const Backing& backing) noexcept {
  return std::find_if(entries_.begin(), entries_.end(),
                      [&backing](const Entry& candidate) { return candidate.backing.get() == &backing; });
}

bool BackingFiles::acquire_more(const Backing& backing, std::uint64_t offset, std::uint64_t size,
                                bool needs_write) noexcept {
  const auto entry = find(backing);
  if (entry == entries_.end() || !entry->is_shareable || !backing.covers(offset, size)) return false;
  if (needs_write && !backing.is_writable()) return false;
  ++entry->ranges;
  return true;
}

void BackingFiles::release(const Backing& backing) noexcept {
  const auto entry = find(backing);
  if (entry == entries_.end() || --entry->ranges > 0) return;
  if (!entry->is_shareable) {
    depart(*entry);
    entries_.erase(entry);
    return;
  }
  drop_oldest_idle();
}

void BackingFiles::drop_oldest_idle() noexcept {
  const auto is_idle = [](const Entry& entry) { return entry.ranges == 0; };
  if (static_cast<std::size_t>(std::count_if(entries_.begin(), entries_.end(), is_idle)) <= kMaxIdle) return;
  const auto oldest = std::find_if(entries_.begin(), entries_.end(), is_idle);
  depart(*oldest);
  entries_.erase(oldest);
}

void BackingFiles::depart(Entry& entry) {
  if (keeps_departed_) departed_.push_back(std::move(entry.backing));
}

void BackingFiles::clear() noexcept {
  for (Entry& entry : entries_)
    depart(entry);
  entries_.clear();
  poison_ = errors_ == BusErrors::caught ? std::make_shared<PoisonFlag>(false) : nullptr;
}

}  // namespace vmux::memory

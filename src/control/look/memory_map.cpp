// SPDX-License-Identifier: BSD-3-Clause
#include "control/look/memory_map.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>

#include "memory/table.hpp"
#include "vmux/base/unique_fd.hpp"

#ifndef HUGETLBFS_MAGIC
#define HUGETLBFS_MAGIC 0x958458f6
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22  // Linux 5.14
#endif

namespace vmux::control {
namespace {

constexpr std::uint64_t kPage = 4096;

/// Files that are memory are the only ones with seals (fcntl(2)). Others are not asked anything: behind them may be a
/// file system of the client's, which answers when it likes.
MemoryFile facts_of(int fd) {
  MemoryFile file;
  if (::fcntl(fd, F_GET_SEALS) < 0) return file;
  struct stat status {};
  if (::fstat(fd, &status) == 0) {
    file.device = status.st_dev;
    file.inode = status.st_ino;
  }
  struct statfs system {};
  if (::fstatfs(fd, &system) != 0) return file;
  const auto magic = static_cast<std::uint32_t>(system.f_type);
  if (magic == HUGETLBFS_MAGIC) {
    file.kind = "hugetlbfs";
    file.page_size = static_cast<std::uint64_t>(system.f_bsize);
  } else if (magic == TMPFS_MAGIC) {
    file.kind = "tmpfs";
  } else {
    return file;
  }
  file.is_memory = true;
  return file;
}

std::byte* page_of(const std::byte* byte) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(byte);
  return reinterpret_cast<std::byte*>(address & ~std::uintptr_t{kPage - 1});  // NOLINT(performance-no-int-to-ptr)
}

/// The memory nodes of pages that this process has used; negative where it has not.
std::vector<int> nodes_of(std::vector<void*> pages) {
  std::vector<int> nodes(pages.size(), -1);
  // Without nodes to move to it only tells (move_pages(2)).
  if (::syscall(SYS_move_pages, 0, pages.size(), pages.data(), nullptr, nodes.data(), 0) != 0) {
    std::fill(nodes.begin(), nodes.end(), -1);
  }
  return nodes;
}

/// What /proc/self/pagemap has of a page (Documentation/admin-guide/mm/pagemap.rst): bit 63 that it is there, bits 0 to
/// 54 its frame, as zeroes for those who may not know.
// The kernel takes reads of whole entries only, and a stream's buffer is a byte short of that.
std::uint64_t pagemap_of(const std::byte* page) {
  const UniqueFd file{::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)};
  std::uint64_t entry = 0;
  const auto at = static_cast<off_t>(reinterpret_cast<std::uintptr_t>(page) / kPage * sizeof entry);
  return file && ::pread(file.get(), &entry, sizeof entry, at) == sizeof entry ? entry : 0;
}

Place place_of(const std::byte* byte) {
  constexpr std::uint64_t kThere = 1ull << 63, kFrame = (1ull << 55) - 1;
  std::byte* const page = page_of(byte);
  Place place;
  unsigned char in_core = 0;
  if (::mincore(page, kPage, &in_core) != 0 || (in_core & 1) == 0) return place;
  place.is_there = true;
  // It is in memory, but this process may not have used it yet. A file that is too short by now is an error here, and
  // no signal.
  static_cast<void>(::madvise(page, kPage, MADV_POPULATE_READ));
  const std::uint64_t entry = pagemap_of(page);
  if ((entry & kThere) != 0 && (entry & kFrame) != 0) {
    place.physical = (entry & kFrame) * kPage + static_cast<std::uint64_t>(byte - page);
  }
  if (const int node = nodes_of({page}).front(); node >= 0) place.node = static_cast<unsigned>(node);
  return place;
}

}  // namespace

const MemoryRange* MemoryMap::find(std::uint64_t address) const noexcept {
  auto after = std::upper_bound(ranges.begin(), ranges.end(), address,
                                [](std::uint64_t at, const MemoryRange& range) { return at < range.start; });
  if (after == ranges.begin()) return nullptr;
  --after;
  return address - after->start < after->size ? &*after : nullptr;
}

MemoryMap memory_map_of(std::shared_ptr<const memory::Table> table) {
  MemoryMap map;
  if (table == nullptr) return map;
  std::map<const memory::Backing*, std::size_t> known;
  table->for_each([&](const memory::Table::Entry& entry) {
    MemoryRange range;
    range.start = entry.window.start;
    range.size = entry.window.size;
    range.access = entry.window.access;
    range.host = entry.window.host;
    if (entry.owner != nullptr && entry.owner->backing != nullptr && entry.window.host != nullptr) {
      const memory::Backing& backing = *entry.owner->backing;
      const auto [at, is_new] = known.try_emplace(&backing, map.files.size());
      if (is_new) map.files.push_back(facts_of(backing.fd()));
      range.file = at->second;
      range.file_offset = backing.offset_of(entry.window.host);
    }
    map.ranges.push_back(range);
  });
  map.table = std::move(table);
  return map;
}

std::optional<Place> place_of(const MemoryMap& map, const MemoryRange& range, std::uint64_t offset) {
  if (!range.file || !map.files[*range.file].is_memory) return std::nullopt;
  return place_of(range.host + offset);
}

std::optional<unsigned> node_of(const MemoryMap& map) {
  constexpr std::size_t kSamples = 64;
  std::uint64_t bytes = 0;
  for (const MemoryRange& range : map.ranges)
    bytes += range.host != nullptr ? range.size : 0;
  const std::uint64_t step = std::max(kPage, bytes / kSamples);
  std::vector<void*> pages;
  for (const MemoryRange& range : map.ranges) {
    for (std::uint64_t at = 0; range.host != nullptr && at < range.size && pages.size() < 4 * kSamples; at += step)
      pages.push_back(page_of(range.host + at));
  }
  if (pages.empty()) return std::nullopt;
  std::map<int, std::size_t> votes;
  for (const int node : nodes_of(std::move(pages))) {
    if (node >= 0) ++votes[node];
  }
  if (votes.empty()) return std::nullopt;
  const auto most =
      std::max_element(votes.begin(), votes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return static_cast<unsigned>(most->first);
}

}  // namespace vmux::control

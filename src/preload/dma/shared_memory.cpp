// SPDX-License-Identifier: BSD-3-Clause
#include "preload/dma/shared_memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>

#include "preload/process/settings.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::preload {
namespace {

constexpr std::size_t kWorthIt = 1 << 20;

struct Range {
  std::uint64_t size = 0;
  std::shared_ptr<UniqueFd> fd;
};
std::mutex shareable_mutex;
std::map<std::uint64_t, Range>& ranges() {
  static auto& instance = *new std::map<std::uint64_t, Range>;
  return instance;
}

}  // namespace

bool is_worth_sharing(std::size_t length, int protection, int flags) noexcept {
  constexpr int wanted = MAP_PRIVATE | MAP_ANONYMOUS;
  return settings().share_anonymous && length >= kWorthIt && (protection & PROT_WRITE) != 0 &&
         (flags & (wanted | MAP_SHARED)) == wanted && (flags & (MAP_STACK | MAP_GROWSDOWN)) == 0;
}

long map_shareable(void* hint, std::size_t length, int protection, int flags) {
  // The size of huge pages is encoded alike for mmap and memfd_create.
  const unsigned huge = (flags & MAP_HUGETLB) != 0 ? MFD_HUGETLB | (static_cast<unsigned>(flags) & (0x3fu << 26)) : 0;
  auto fd = std::make_shared<UniqueFd>(memfd_create("vmux-vfio-anonymous", MFD_CLOEXEC | huge));
  if (!*fd || ftruncate(fd->get(), static_cast<off_t>(length)) != 0) return -ENOMEM;
  const int as_shared = (flags & ~(MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)) | MAP_SHARED;
  void* address = ::mmap(hint, length, protection, as_shared, fd->get(), 0);
  if (address == MAP_FAILED) return -errno;
  const auto start = reinterpret_cast<std::uint64_t>(address);
  const std::lock_guard lock{shareable_mutex};
  ranges()[start] = {length, std::move(fd)};
  return static_cast<long>(start);
}

void forget_shareable(std::uint64_t start, std::size_t length) {
  if (!settings().share_anonymous) return;
  const std::uint64_t end = start + (length + 4095) / 4096 * 4096;
  const std::lock_guard lock{shareable_mutex};
  auto& all = ranges();
  auto entry = all.lower_bound(start);
  if (entry != all.begin()) --entry;
  while (entry != all.end() && entry->first < end) {
    const std::uint64_t from = entry->first, to = from + entry->second.size;
    if (to <= start) {
      ++entry;
      continue;
    }
    const auto fd = entry->second.fd;
    entry = all.erase(entry);
    if (from < start) all[from] = {start - from, fd};
    if (to > end) all[end] = {to - end, fd};
  }
}

void lock_shareable() noexcept { shareable_mutex.lock(); }
void unlock_shareable() noexcept { shareable_mutex.unlock(); }

}  // namespace vmux::preload

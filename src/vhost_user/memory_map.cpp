// SPDX-License-Identifier: BSD-3-Clause
#include "vhost_user/memory_map.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "vhost_user/saved_session.hpp"

namespace vmux::vhost_user {

Result<MemoryMap::File> MemoryMap::identify(const UniqueFd& fd) noexcept {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return fail_errno("cannot identify a memory file");
  return File{status.st_dev, status.st_ino};
}

// The rest, whole pages and no overlap, is the address space's to check.
Result<void> MemoryMap::check(const Region& region) noexcept {
  if (!end_of(Iova{region.user}, ByteCount{region.size})) {
    return fail(Errc::invalid_argument, "a memory region wraps in the front end");
  }
  return {};
}

Result<void> MemoryMap::add(const Region& region, UniqueFd fd) {
  if (regions_.size() >= kMaxRegions) return fail(Errc::no_space, "there are too many memory regions");
  if (auto sane = check(region); !sane) return sane;
  const auto file = identify(fd);
  if (!file) return tl::unexpected(file.error());
  auto mapped = space_.map(
      {Iova{region.guest}, ByteCount{region.size}, memory::Access::read_write, std::move(fd), region.offset});
  if (!mapped) return mapped;
  regions_.push_back(region);
  files_.push_back(*file);
  counters_.maps.add();
  return {};
}

void MemoryMap::drop(const std::vector<bool>& kept, std::function<void()> quiet) {
  std::vector<Region> regions, gone;
  std::vector<File> files;
  for (std::size_t i = 0; i < regions_.size(); ++i) {
    (kept[i] ? regions : gone).push_back(regions_[i]);
    if (kept[i]) files.push_back(files_[i]);
  }
  regions_ = std::move(regions);
  files_ = std::move(files);
  if (gone.empty()) return quiet();
  counters_.unmaps.add(gone.size());
  // Readers let go of tables in the order in which these were made: the last one is enough to wait for.
  for (std::size_t i = 0; i < gone.size(); ++i) {
    const bool is_last = i + 1 == gone.size();
    const Iova start{gone[i].guest};
    (void)space_.unmap(start, ByteCount{gone[i].size}, is_last ? std::move(quiet) : std::function<void()>{});
  }
}

Result<void> MemoryMap::remove(const Region& region, std::function<void()> quiet) {
  std::vector<bool> kept(regions_.size(), true);
  for (std::size_t i = 0; i < regions_.size(); ++i) {
    const Region& candidate = regions_[i];
    const bool is_it =
        candidate.guest == region.guest && candidate.user == region.user && candidate.size == region.size;
    if (!is_it) continue;
    kept[i] = false;
    drop(kept, std::move(quiet));
    return {};
  }
  return fail(Errc::not_found, "there is no such memory region");
}

Result<void> MemoryMap::replace(std::span<const Region> regions, std::span<UniqueFd> fds, std::function<void()> quiet) {
  std::vector<bool> kept(regions_.size(), false), is_there(regions.size(), false);
  for (std::size_t i = 0; i < regions.size(); ++i) {
    const auto file = identify(fds[i]);
    if (!file) return tl::unexpected(file.error());
    for (std::size_t old = 0; old < regions_.size() && !is_there[i]; ++old) {
      if (kept[old] || !(regions_[old] == regions[i]) || !(files_[old] == *file)) continue;
      kept[old] = is_there[i] = true;
    }
  }
  drop(kept, std::move(quiet));
  for (std::size_t i = 0; i < regions.size(); ++i) {
    if (is_there[i]) continue;
    if (auto added = add(regions[i], std::move(fds[i])); !added) return added;
  }
  return {};
}

std::optional<Iova> MemoryMap::guest_address(std::uint64_t user, std::uint64_t size) const noexcept {
  for (const Region& region : regions_) {
    if (user >= region.user && fits(user - region.user, size, region.size)) {
      return Iova{region.guest + (user - region.user)};
    }
  }
  return std::nullopt;
}

std::vector<SavedRegion> MemoryMap::save() const {
  std::vector<SavedRegion> saved;
  for (std::size_t i = 0; i < regions_.size(); ++i)
    saved.push_back({regions_[i], files_[i].device, files_[i].inode});
  return saved;
}

bool MemoryMap::load(std::span<const SavedRegion> from) {
  const std::vector<memory::Window> windows = space_.windows();
  if (windows.size() != from.size()) return false;
  for (const SavedRegion& each : from) {
    const Region& region = each.region;
    const bool is_there = std::any_of(windows.begin(), windows.end(), [&region](const memory::Window& window) {
      return window.start == region.guest && window.size == region.size && window.host != nullptr;
    });
    if (!is_there || !check(region)) return false;
    regions_.push_back(region);
    files_.push_back({static_cast<dev_t>(each.device), static_cast<ino_t>(each.inode)});
  }
  return true;
}

}  // namespace vmux::vhost_user

// SPDX-License-Identifier: BSD-3-Clause
// The memory that a front end has given: where it lies for the guest, and where for the front end.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "vmux/base/counter.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/strong.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/memory/address_space.hpp"
#include "wire/vhost_user.hpp"

namespace vmux::vhost_user {

struct SavedRegion;

/// A region as the front end describes it.
struct Region {
  std::uint64_t guest = 0;   ///< guest-physical address: what descriptors hold
  std::uint64_t size = 0;    ///< bytes
  std::uint64_t user = 0;    ///< address in the front end: what SET_VRING_ADDR holds
  std::uint64_t offset = 0;  ///< into its file

  [[nodiscard]] static Region of(const wire::vhost_user::Region& raw) noexcept {
    return {raw.guest_address, raw.size, raw.user_address, raw.mmap_offset};
  }
  friend bool operator==(const Region&, const Region&) = default;
};

/// Regions that came and went; readable by any thread.
struct MapCounters {
  Counter maps, unmaps;
};

/// Keeps an address space as the front end wants it. Home thread.
class MemoryMap {
 public:
  /// "GET_MAX_MEM_SLOTS": as many as QEMU ever uses; it must not become fewer over reconnects.
  static constexpr std::size_t kMaxRegions = 509;

  MemoryMap(memory::AddressSpace& space, MapCounters& counters) noexcept : space_(space), counters_(counters) {}

  /// These regions, each in the file of the same index, and no others. What is as it was keeps its mapping. After an
  /// error some may be missing. `quiet` is called, now or later, when what has gone is used by nobody any more.
  [[nodiscard]] Result<void> replace(std::span<const Region> regions, std::span<UniqueFd> fds,
                                     std::function<void()> quiet);
  [[nodiscard]] Result<void> add(const Region& region, UniqueFd fd);
  /// The one at these addresses and of this size; its offset is not compared.
  [[nodiscard]] Result<void> remove(const Region& region, std::function<void()> quiet);

  [[nodiscard]] std::span<const Region> regions() const noexcept { return regions_; }
  /// Where the guest has `size` bytes at an address of the front end's, if they lie in one region.
  [[nodiscard]] std::optional<Iova> guest_address(std::uint64_t user, std::uint64_t size) const noexcept;

  [[nodiscard]] std::vector<SavedRegion> save() const;
  /// Of an address space that has been loaded; false: these are not its ranges.
  [[nodiscard]] bool load(std::span<const SavedRegion> from);

 private:
  struct File {
    dev_t device = 0;
    ino_t inode = 0;
    friend bool operator==(const File&, const File&) = default;
  };
  [[nodiscard]] static Result<File> identify(const UniqueFd& fd) noexcept;
  [[nodiscard]] static Result<void> check(const Region& region) noexcept;
  void drop(const std::vector<bool>& kept, std::function<void()> quiet);

  memory::AddressSpace& space_;
  MapCounters& counters_;
  std::vector<Region> regions_;
  std::vector<File> files_;  // of the region with the same index
};

}  // namespace vmux::vhost_user

// SPDX-License-Identifier: BSD-3-Clause
// An I/O address space as a program fills it (a type1 container or an IOAS), and the devices that use it. All under
// state_mutex().
#pragma once

#include <cerrno>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "preload/process/maps.hpp"

namespace vmux::preload {

/// One contiguous part of a mapping, as a server gets it.
struct DmaPiece {
  std::uint64_t iova = 0;
  Piece memory;
  bool readable = false, writable = false;
};

/// A device's side. Each returns 0 or a negated errno.
class DmaUser {
 public:
  virtual ~DmaUser() = default;
  virtual int dma_map(const DmaPiece& piece) = 0;
  virtual int dma_unmap(const DmaPiece& piece) = 0;
  /// How many pieces the server takes.
  [[nodiscard]] virtual std::size_t dma_limit() const noexcept = 0;

  /// Has the server write down which pages the device writes; refused by one that cannot.
  virtual int dirty_start() { return -ENOTTY; }
  virtual void dirty_stop() {}
  /// ORs what was written since the last report into `bits`, one per page from `iova` on.
  virtual int dirty_report(std::uint64_t /*iova*/, std::span<std::uint64_t> /*bits*/, std::uint64_t /*pages*/) {
    return -ENOTTY;
  }
};

class DmaSpace {
 public:
  struct Request {
    std::uint64_t iova = 0, size = 0, vaddr = 0;
    bool readable = false, writable = false;
  };
  /// 0 or a negated errno: EEXIST where something is mapped already, EFAULT where the memory is not there, ENOSPC
  /// beyond the servers' limits, or what a server says. All or nothing.
  int map(const Request& request);
  int map_file(const Request& request, int fd, std::uint64_t offset);

  struct Unmapped {
    std::uint64_t bytes = 0;
    bool cuts = false;  ///< the range cuts through a mapping: nothing was done
  };
  /// Takes away the mappings inside [iova, last].
  Unmapped unmap(std::uint64_t iova, std::uint64_t last);

  /// Does [iova, last] begin or end in the middle of a mapping?
  [[nodiscard]] bool cuts(std::uint64_t iova, std::uint64_t last) const noexcept;

  // Dirty pages. A device whose server keeps no log, or that is gone, may have written wherever memory is mapped.
  void start_dirty();
  void stop_dirty();
  [[nodiscard]] bool is_tracking() const noexcept { return is_tracking_; }
  /// Sets the bits of pages in [iova, iova + pages * page) that devices may have written since the last time, and
  /// clears those of other mapped pages. Bits of pages that are not mapped stay as they are; `bits` holds all of them.
  void take_dirty(std::uint64_t iova, std::uint64_t pages, std::span<std::uint64_t> bits);

  /// Gives all mappings to a device that joins.
  int add(DmaUser& user);
  void remove(DmaUser& user) noexcept;
  [[nodiscard]] bool has_users() const noexcept { return !users_.empty(); }

  /// How many more mappings fit.
  [[nodiscard]] std::size_t available() const noexcept;
  /// Lowest free place for `size` bytes inside [first, last], aligned to pages.
  [[nodiscard]] std::optional<std::uint64_t> find_free(std::uint64_t size, std::uint64_t first,
                                                       std::uint64_t last) const noexcept;

 private:
  struct Range {
    std::uint64_t size = 0;
    std::vector<DmaPiece> pieces;
  };
  [[nodiscard]] bool overlaps(std::uint64_t iova, std::uint64_t last) const noexcept;
  int insert(const Request& request, const std::vector<Piece>& memory);
  struct Report {
    std::uint64_t pages = 0;
    std::vector<std::uint64_t> bits;
  };
  [[nodiscard]] Report ask(std::uint64_t iova, std::uint64_t pages);
  static void merge(const Report& report, std::uint64_t first, std::span<std::uint64_t> into);
  static int give(DmaUser& user, const std::vector<DmaPiece>& pieces);

  std::map<std::uint64_t, Range> ranges_;  // by first IOVA, disjoint
  std::size_t piece_count_ = 0;
  std::vector<DmaUser*> users_;  // each removes itself before it ends
  bool is_tracking_ = false;
  std::vector<DmaUser*> loggers_;  // those of users_ that log; the others count as writing everywhere
  MemoryFinder memory_;
};

}  // namespace vmux::preload

// SPDX-License-Identifier: BSD-3-Clause
// The client's memory as the C interface shows it: ranges, pieces of them, and which pages were written.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <shared_mutex>
#include <span>
#include <utility>
#include <vector>

#include "memory/backing.hpp"
#include "vfio-user/libvfio-user.h"
#include "vmux/base/unique_fd.hpp"

/// What a caller holds of a range. Programs have it as 40 bytes without names. `region` names the range by number, and
/// which of those that had the number it is: a piece of a range that is gone is refused, and touches nothing.
struct dma_sg {
  void* dma_addr;        ///< start of the range, not of the piece
  std::uint64_t region;  ///< 0: none
  std::uint64_t length;
  std::uint64_t offset;  ///< of the piece, into the range
  bool writeable;
};
static_assert(sizeof(dma_sg) == 40 && offsetof(dma_sg, region) == 8 && offsetof(dma_sg, writeable) == 32);

namespace vmux::capi {

/// How the device gets at the bytes of a range.
enum class DmaMode : std::uint8_t { message, mapped, file };

struct DmaRequest {
  std::uint64_t start = 0, size = 0, offset = 0;
  int prot = 0;
  DmaMode mode = DmaMode::message;
  UniqueFd fd;
};

/// add() and the removals are for the thread that serves the context; everything else for any thread.
class DmaMap {
 public:
  explicit DmaMap(std::size_t max_regions) : max_regions_(max_regions) {}
  ~DmaMap();
  DmaMap(const DmaMap&) = delete;
  DmaMap& operator=(const DmaMap&) = delete;

  /// 0 or an errno. `info` lives as long as the range. One that is there already, the same in everything, is a success.
  [[nodiscard]] int add(DmaRequest request, vfu_dma_info_t*& info);
  /// The range that is exactly this one, or nullptr. remove() frees it.
  [[nodiscard]] vfu_dma_info_t* find(std::uint64_t start, std::uint64_t size) noexcept;
  void remove(std::uint64_t start) noexcept;
  /// The first range of all, or nullptr.
  [[nodiscard]] vfu_dma_info_t* first() noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return by_start_.size(); }

  /// No range is left, and nothing of the client's files either.
  void forget_files() noexcept;

  /// A client that makes its file shorter loses its device, and the program goes on: see vmux_guard_memory(). While
  /// there is no range.
  void guard();
  /// It has done that. For the thread that serves.
  [[nodiscard]] bool is_poisoned() const noexcept { return backings_.is_poisoned(); }

  /// For a program that others go on for: each range keeps the descriptor that it came with, and what is let go lands
  /// in `closing`, which outlives this.
  void keep_files(std::vector<UniqueFd>& closing) noexcept { closing_ = &closing; }
  struct Range {
    std::uint64_t start, size, offset;
    std::uint32_t prot;
    DmaMode mode;
    int fd;  ///< -1: none
  };
  /// In order of addresses. For the thread that serves.
  template <class F>
  void for_each(F&& visit) const {
    for (const auto& [start, number] : by_start_) {
      const Region& region = regions_[number];
      visit(Range{start, region.size(), region.offset, region.info.prot, region.mode,
                  region.fd == nullptr ? -1 : region.fd->get()});
    }
  }

  /// See vfu_addr_to_sgl().
  [[nodiscard]] int translate(std::uint64_t start, std::uint64_t length, std::span<dma_sg> into,
                              int prot) const noexcept;
  [[nodiscard]] bool is_mappable(const dma_sg& piece) const noexcept;
  /// Where a piece lies: 0, EINVAL (the range is gone) or EFAULT (not mapped).
  [[nodiscard]] int locate(const dma_sg& piece, iovec& into) const noexcept;
  void mark_dirty(const dma_sg& piece) noexcept;

  /// Copies to or from a piece by its mapping or its file: 0, an errno, or -1: it takes a message.
  [[nodiscard]] int read(const dma_sg& piece, std::byte* into) const noexcept;
  [[nodiscard]] int write(const dma_sg& piece, const std::byte* from) noexcept;
  /// EINVAL for a piece of a range that is gone.
  [[nodiscard]] int check(const dma_sg& piece) const noexcept;

  /// One bit per `page_size` bytes from now on. EINVAL: no power of two, or logging with another size.
  [[nodiscard]] int start_log(std::uint64_t page_size);
  void stop_log() noexcept;
  [[nodiscard]] std::uint64_t log_page_size() const noexcept { return page_size_; }  ///< 0: off
  /// As if all of it had been written.
  void mark_all() noexcept;
  /// Moves the bits of a range from its start on, in units of `page_size`; `into` has all of its words to fill, also
  /// beyond `length`. ENOENT: not known; ENOTSUP: not the start of one; EINVAL: not logged.
  [[nodiscard]] int take_log(std::uint64_t start, std::uint64_t length, std::uint64_t page_size,
                             std::span<std::uint64_t> into) noexcept;

 private:
  using FileKey = std::pair<dev_t, ino_t>;
  struct Region {
    vfu_dma_info_t info{};
    DmaMode mode = DmaMode::message;
    std::uint32_t generation = 0;  // odd while in use
    FileKey file{};
    std::uint64_t offset = 0;
    std::shared_ptr<UniqueFd> fd;              // of mode `file`, and where files are kept
    std::shared_ptr<memory::Backing> backing;  // whose mapping this one has a part of; none: it has its own
    memory::BusErrorGuard guard;               // of its own
    std::vector<std::uint64_t> dirty;          // written by any thread, word by word
    [[nodiscard]] std::uint64_t start() const noexcept { return reinterpret_cast<std::uint64_t>(info.iova.iov_base); }
    [[nodiscard]] std::uint64_t size() const noexcept { return info.iova.iov_len; }
  };
  using Iterator = std::map<std::uint64_t, std::uint32_t>::const_iterator;

  [[nodiscard]] int open_file(Region& region, DmaRequest& request, const struct stat& status);
  [[nodiscard]] bool map_shared(Region& region, UniqueFd&& fd, const struct stat& status);
  [[nodiscard]] int map_alone(Region& region, int fd);
  [[nodiscard]] Iterator at_or_before(std::uint64_t address) const noexcept;
  [[nodiscard]] bool overlaps(std::uint64_t start, std::uint64_t size) const noexcept;
  [[nodiscard]] const Region* region_of(const dma_sg& piece) const noexcept;
  void mark(const Region& region, std::uint64_t offset, std::uint64_t length) noexcept;
  void reset_log(Region& region) const;

  mutable std::shared_mutex mutex_;
  std::size_t max_regions_;
  std::map<std::uint64_t, std::uint32_t> by_start_;  // to numbers of regions_
  std::deque<Region> regions_;                       // addresses stay
  std::vector<std::uint32_t> free_;
  std::map<std::pair<FileKey, int>, std::weak_ptr<UniqueFd>> files_;  // one descriptor for all ranges of a file
  memory::BackingFiles backings_{memory::BackingFiles::BusErrors::left_alone};
  std::vector<UniqueFd>* closing_ = nullptr;
  std::uint64_t page_size_ = 0;  // of the log; 0: off
};

/// Bytes of a bitmap in whole 64-bit words; 0: the sizes make no sense.
[[nodiscard]] std::size_t bitmap_bytes(std::uint64_t length, std::uint64_t page_size) noexcept;

}  // namespace vmux::capi

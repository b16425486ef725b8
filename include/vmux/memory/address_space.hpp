// SPDX-License-Identifier: BSD-3-Clause
// The guest's DMA map as its client describes it: the owner's side of guest memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vmux/base/result.hpp"
#include "vmux/base/strong.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/memory/guest_memory.hpp"

namespace vmux::state {
class FdBag;
class Reader;
class Writer;
}  // namespace vmux::state

namespace vmux::memory {

/// One range that a client gives to the device (VFIO_USER_DMA_MAP).
struct MapRequest {
  Iova start{};
  ByteCount size{};  ///< multiple of 4 KiB
  Access access = Access::none;
  UniqueFd fd;               ///< none: the range can be reached by message only
  std::uint64_t offset = 0;  ///< into fd; multiple of 4 KiB
};

/// Told of each new table by an AddressSpace, in order to hand it to readers that live on other threads.
/// adopt() is called on the home thread; once all readers behind the observer use `generation` or later, the observer
/// calls AddressSpace::adopted() on the home thread (at once or later).
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void adopt(std::shared_ptr<const Table> table, std::uint64_t generation) noexcept = 0;
};

/// Reachable memory: what a device can do harm to.
struct Reach {
  std::uint64_t ranges = 0, bytes = 0;
  std::uint64_t bytes_peak = 0;  ///< the most that it was at a time
};

/// The DMA map of one device. Owned and called by the device's home thread; readers elsewhere hold immutable tables.
/// Backing files are mapped once each (found by device and inode) and shared by all their ranges.
class AddressSpace {
 public:
  AddressSpace();
  ~AddressSpace();
  AddressSpace(const AddressSpace&) = delete;
  AddressSpace& operator=(const AddressSpace&) = delete;

  /// Adds a range. already_exists when it overlaps one, invalid_argument for a wrapping, empty or unaligned one,
  /// out_of_range when the file is shorter than offset + size.
  [[nodiscard]] Result<void> map(MapRequest request) noexcept;
  /// Removes every range that lies wholly within [start, start + size), and returns how many bytes they had: 0 when
  /// there is none. invalid_argument when a range would be cut in two, or for one that wraps, is empty or is not made
  /// of pages (as VFIO_IOMMU_UNMAP_DMA of linux/vfio.h, type 1 version 2). Calls `quiet` on the home thread once no
  /// reader can touch the removed memory any more: before returning when all readers are local, later when an observer
  /// lags. Callbacks that still wait when the space is destroyed are dropped.
  [[nodiscard]] Result<ByteCount> unmap(Iova start, ByteCount size, std::function<void()> quiet) noexcept;
  /// Whether unmap() of this range would succeed, and its error if not.
  [[nodiscard]] Result<void> can_unmap(Iova start, ByteCount size) const noexcept;
  /// Removes everything, as unmap().
  ByteCount unmap_all(std::function<void()> quiet) noexcept;
  /// Ranges in the map, in address order.
  [[nodiscard]] std::size_t size() const noexcept;
  /// How much of the guest the device can reach.
  [[nodiscard]] Reach reach() const noexcept;
  /// True when every byte of the range lies in the map and allows `access`, directly or by message.
  [[nodiscard]] bool knows(Iova start, ByteCount size, Access access) const noexcept;
  /// All ranges, without their dirty bitmaps.
  [[nodiscard]] std::vector<Window> windows() const;
  /// The map as it is now. Whoever holds it keeps what it shows mapped, and may not touch it: the client may have taken
  /// it back meanwhile.
  [[nodiscard]] std::shared_ptr<const Table> table() const noexcept;

  /// Attaches a reader of the home thread: it adopts each new table as part of map() and unmap().
  void attach(GuestMemory& reader);
  void detach(GuestMemory& reader) noexcept;
  /// Attaches readers of other threads through an observer, which is given the current table at once.
  void attach(Observer& observer);
  void detach(Observer& observer) noexcept;
  void adopted(Observer& observer, std::uint64_t generation) noexcept;

  /// Dirty-page logging (device writes only), one bit per 4 KiB page.
  [[nodiscard]] Result<void> start_dirty_log() noexcept;
  void stop_dirty_log() noexcept;

  /// For whoever keeps a record of the map for the time after this process: files that have no range any more stay open
  /// from now on, until forget_departed(), which says that the record is without them. Their numbers are not given to
  /// others meanwhile.
  void keep_departed() noexcept;
  void forget_departed() noexcept;
  [[nodiscard]] bool is_logging() const noexcept;
  /// Moves the bits of [start, start + size) into `bitmap` (one bit per `page_size` bytes, LSB first; OR-ed in) and
  /// clears them. `page_size`: power of two >= 4096. Whoever copies the pages after this has what the device wrote: the
  /// readers behind observers are told of the table once more, which ends what they had borrowed. Of an observer that
  /// does not answer at once, the bits are reported again until it has.
  [[nodiscard]] Result<void> take_dirty(Iova start, ByteCount size, std::uint64_t page_size,
                                        std::span<std::uint64_t> bitmap) noexcept;

  /// The map as a section, and its files as `ram/0`, `ram/1` and so on. Nothing changes here.
  [[nodiscard]] Result<void> save(state::Writer& into, state::FdBag& fds) const;
  /// Takes what save() gave; in place of what was here. If the dirty log ran it runs again, with all pages dirty: what
  /// it knew is gone. The error is for people, and nothing is mapped then.
  [[nodiscard]] tl::expected<void, std::string> load(state::Reader& from, const state::FdBag& fds);

  /// True once an access hit a page that its backing file no longer has (the client truncated it). The access read
  /// zeroes; the session must end.
  [[nodiscard]] bool is_poisoned() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vmux::memory

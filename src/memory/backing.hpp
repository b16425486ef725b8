// SPDX-License-Identifier: BSD-3-Clause
// The files behind a guest's memory: each mapped once, shared by all its ranges.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "memory/sigbus.hpp"
#include "vmux/base/mapping.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/strong.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::memory {

/// One mapping of one file. Unmapped when the last table that shows a part of it is gone, on whichever thread. The file
/// stays open as long: a mapping can be handed to nobody, a descriptor can.
class Backing {
 public:
  /// Without `poison`, a bus error in there is not ours.
  Backing(UniqueFd fd, Mapping mapping, std::uint64_t file_offset, bool is_writable, std::uint64_t page_size,
          std::shared_ptr<PoisonFlag> poison)
      : fd_(std::move(fd)), file_offset_(file_offset), is_writable_(is_writable), mapping_(std::move(mapping)) {
    if (poison != nullptr) guard_ = BusErrorGuard{mapping_.bytes(), page_size, std::move(poison)};
  }

  [[nodiscard]] bool is_writable() const noexcept { return is_writable_; }
  [[nodiscard]] bool covers(std::uint64_t offset, std::uint64_t size) const noexcept {
    return offset >= file_offset_ && offset - file_offset_ <= mapping_.size() &&
           size <= mapping_.size() - (offset - file_offset_);
  }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] std::byte* at(std::uint64_t offset) const noexcept { return mapping_.data() + (offset - file_offset_); }
  /// Where in the file a byte of the mapping lies.
  [[nodiscard]] std::uint64_t offset_of(const std::byte* host) const noexcept {
    return file_offset_ + static_cast<std::uint64_t>(host - mapping_.data());
  }

 private:
  UniqueFd fd_;
  std::uint64_t file_offset_;
  bool is_writable_;
  Mapping mapping_;
  BusErrorGuard guard_;  // released before the mapping goes
};

/// In what a mapping of the file can be cut, in bytes: pages of hugetlbfs, else 4096.
[[nodiscard]] std::uint64_t granule_of(int fd) noexcept;

/// Finds or makes the backing of a range. One per AddressSpace: clients share nothing, not even a mapping.
class BackingFiles {
 public:
  /// A bus error in what is mapped puts zero pages there, and is_poisoned() tells; or nothing of the kind.
  enum class BusErrors : std::uint8_t { caught, left_alone };
  explicit BackingFiles(BusErrors errors = BusErrors::caught) : errors_(errors) { clear(); }

  /// A backing that covers [offset, offset + size) of the file: one fstat() when the file is mapped already.
  /// Each success must be matched by one release().
  [[nodiscard]] Result<std::shared_ptr<Backing>> acquire(UniqueFd fd, std::uint64_t offset, std::uint64_t size,
                                                         bool needs_write);
  /// The same for a caller that has asked for the file's `status`. The descriptor is taken with success only.
  [[nodiscard]] Result<std::shared_ptr<Backing>> acquire(UniqueFd&& fd, const struct stat& status, std::uint64_t offset,
                                                         std::uint64_t size, bool needs_write);
  /// The same of a backing that has a range already, without a system call. False: it does not do for this one.
  [[nodiscard]] bool acquire_more(const Backing& backing, std::uint64_t offset, std::uint64_t size,
                                  bool needs_write) noexcept;
  /// The range is out of the map. A file without ranges stays mapped for a while: clients come back to it.
  void release(const Backing& backing) noexcept;
  /// Forgets all files, and the poison with them. Those still shown by a table stay mapped until that is gone.
  void clear() noexcept;
  void keep_departed() noexcept { keeps_departed_ = true; }
  void forget_departed() noexcept { departed_.clear(); }
  [[nodiscard]] bool is_poisoned() const noexcept {
    return poison_ != nullptr && poison_->load(std::memory_order_acquire);
  }
  /// What a mapping that is not made here is guarded with; none where bus errors are left alone.
  [[nodiscard]] const std::shared_ptr<PoisonFlag>& poison() const noexcept { return poison_; }
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

 private:
  struct Entry {
    dev_t device;
    ino_t inode;
    bool is_shareable;  // a regular file; of others (a device node) each range is mapped by itself
    std::uint64_t ranges;
    std::shared_ptr<Backing> backing;
  };
  [[nodiscard]] Result<std::shared_ptr<Backing>> make(UniqueFd&& fd, const struct stat& status, std::uint64_t offset,
                                                      std::uint64_t size, bool needs_write);
  [[nodiscard]] std::vector<Entry>::iterator find(const Backing& backing) noexcept;
  void drop_oldest_idle() noexcept;

  void depart(Entry& entry);

  std::vector<std::shared_ptr<Backing>> departed_;  // see AddressSpace::keep_departed()
  bool keeps_departed_ = false;
  std::vector<Entry> entries_;  // a handful; the order is that of last use, oldest first
  BusErrors errors_;
  std::shared_ptr<PoisonFlag> poison_;
};

}  // namespace vmux::memory

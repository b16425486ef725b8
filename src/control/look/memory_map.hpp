// SPDX-License-Identifier: BSD-3-Clause
// What a VM has given to its card: ranges, the files behind them, and where a byte of them lies in this machine.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "vmux/memory/address_space.hpp"

namespace vmux::control {

/// A file that a client has given memory of.
struct MemoryFile {
  std::uint64_t device = 0, inode = 0;  ///< stat(2); together they say which one, if it is memory
  const char* kind = "file";            ///< "hugetlbfs", "tmpfs" (which a memfd is of) or "file"
  std::uint64_t page_size = 4096;       ///< bytes
  bool is_memory = false;  ///< of one of the first two kinds: nothing about it asks a file system of others
};

struct MemoryRange {
  std::uint64_t start = 0, size = 0;  ///< as the device addresses it; bytes
  memory::Access access = memory::Access::none;
  std::optional<std::size_t> file;  ///< of MemoryMap::files; none: it came without a descriptor, and goes by message
  std::uint64_t file_offset = 0;    ///< bytes
  const std::byte* host = nullptr;  ///< where `start` lies in this process; not to be touched
};

/// A picture: it keeps what it shows mapped, whoever takes it back meanwhile. Any thread.
struct MemoryMap {
  std::vector<MemoryRange> ranges;  ///< in the order of their addresses
  std::vector<MemoryFile> files;
  std::shared_ptr<const memory::Table> table;

  [[nodiscard]] const MemoryRange* find(std::uint64_t address) const noexcept;
};
/// null: no memory. Asks the kernel about each file, so not on a poller that moves frames.
[[nodiscard]] MemoryMap memory_map_of(std::shared_ptr<const memory::Table> table);

/// Where a page is.
struct Place {
  bool is_there = false;                  ///< in memory at the moment
  std::optional<std::uint64_t> physical;  ///< of the byte that was asked for; the kernel tells only CAP_SYS_ADMIN
  std::optional<unsigned> node;           ///< of memory; only of a page that this process has used
};
/// Of the byte at an offset into a range that has a place in this process. Allocates nothing in the guest, and waits
/// for no storage but swapped pages; nullopt: the range's file is no memory, and whoever asks where a page of it is may
/// wait for the client's own file system.
[[nodiscard]] std::optional<Place> place_of(const MemoryMap& map, const MemoryRange& range, std::uint64_t offset);

/// The memory node that most of what this process has used of a map lies on; nullopt: it cannot be told.
[[nodiscard]] std::optional<unsigned> node_of(const MemoryMap& map);

}  // namespace vmux::control

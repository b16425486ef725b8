// SPDX-License-Identifier: BSD-3-Clause
// Which file lies behind an address of this process: from /proc/self/maps to a descriptor and an offset.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vmux/base/unique_fd.hpp"

namespace vmux::preload {

/// One line of /proc/PID/maps (proc(5)).
struct Vma {
  std::uint64_t start = 0, end = 0, offset = 0;
  bool readable = false, writable = false, shared = false;
  dev_t device = 0;
  ino_t inode = 0;
  std::string path;
};
[[nodiscard]] std::optional<Vma> parse_maps_line(std::string_view line);

/// A stretch of the process's memory: in a file that others can map, or (no file) reachable by message only.
struct Piece {
  std::uint64_t vaddr = 0, size = 0;
  std::shared_ptr<const UniqueFd> file;
  std::uint64_t offset = 0;
};

/// Finds files behind addresses, and keeps one descriptor per file while any piece of it is mapped for DMA, so that
/// programs may close theirs. Not thread-safe: its owner serialises.
class MemoryFinder {
 public:
  struct Found {
    int error = 0;  ///< 0, or EFAULT: part of the range is not mapped, or not with the access that is asked for
    std::vector<Piece> pieces;
  };
  [[nodiscard]] Found find(std::uint64_t vaddr, std::uint64_t size, bool writable);
  /// A descriptor of the same file as `fd`, shared with pieces of it.
  [[nodiscard]] std::shared_ptr<const UniqueFd> share(int fd, bool writable);

 private:
  using Key = std::pair<std::pair<dev_t, ino_t>, bool>;
  [[nodiscard]] std::shared_ptr<const UniqueFd> file_of(const Vma& vma, bool writable);
  std::shared_ptr<const UniqueFd> keep(Key key, UniqueFd fd);
  std::map<Key, std::weak_ptr<const UniqueFd>> files_;
};

}  // namespace vmux::preload

// SPDX-License-Identifier: BSD-3-Clause
// Which memory the devices of an IOMMU group reach: one map for all of them, though each has a client of its own that
// describes the VM's memory once more.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>

#include "passthrough/kernel.hpp"

namespace vmux::passthrough {

/// Where a range of guest memory comes from, so that two clients that give the same range can be told from two VMs.
struct MemorySource {
  dev_t device{};
  ino_t inode{};
  std::uint64_t offset = 0;
  friend bool operator==(const MemorySource&, const MemorySource&) = default;
};

struct DmaCounters {
  std::uint64_t maps = 0, unmaps = 0;  ///< calls to the kernel
  std::uint64_t shared = 0;            ///< ranges that were mapped already, for another function of the group
  std::uint64_t pinned = 0;            ///< pages that are pinned now
  std::uint64_t pinned_ever = 0;       ///< pages that have been pinned
  std::uint64_t map_ns = 0, unmap_ns = 0;
  std::uint64_t refused = 0;
};

/// Which function of the group: a bit.
using OwnerBit = std::uint32_t;

/// One thread.
class DmaMap {
 public:
  struct Request {
    Iova start{};
    ByteCount size{};
    memory::Access access = memory::Access::none;
    MemorySource source;
    const std::byte* host = nullptr;
  };
  /// Pins once, however many functions ask. already_exists when the range overlaps other memory.
  [[nodiscard]] Result<void> map(KernelDomain& domain, OwnerBit owner, const Request& request) noexcept;
  /// Lets go of the owner's ranges within [start, start + size); what nobody holds any more is unmapped, neighbours in
  /// one call.
  void unmap(KernelDomain& domain, OwnerBit owner, Iova start, ByteCount size) noexcept;
  void unmap_all(KernelDomain& domain, OwnerBit owner) noexcept;
  /// The domain has gone, and all of this with it.
  void clear() noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return ranges_.size(); }
  [[nodiscard]] const DmaCounters& counters() const noexcept { return counters_; }

 private:
  struct Range {
    std::uint64_t last = 0;  // of its bytes
    memory::Access access = memory::Access::none;
    MemorySource source;
    OwnerBit owners = 0;
  };
  using Ranges = std::map<std::uint64_t, Range>;
  void release(KernelDomain& domain, OwnerBit owner, Ranges::iterator from, Ranges::iterator to) noexcept;
  void give_back(KernelDomain& domain, Ranges::iterator from, Ranges::iterator to) noexcept;

  Ranges ranges_;  // by first byte
  DmaCounters counters_;
};

}  // namespace vmux::passthrough

// SPDX-License-Identifier: BSD-3-Clause
// Which memory the devices of an IOMMU group reach: one map for all of them, though each has a client of its own that
// describes the VM's memory once more.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "kvfio/kernel.hpp"

namespace vmux::kvfio {

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
  std::uint64_t waiting = 0;           ///< pages that were promised and are not pinned yet
  std::uint64_t stuck = 0;             ///< pages that the kernel has not taken out of the IOMMU though it was asked to
  std::uint64_t pinned_ever = 0;       ///< pages that have been pinned
  std::uint64_t map_ns = 0, unmap_ns = 0;
  std::uint64_t refused = 0;
};

/// Which function of the group: a bit.
using OwnerBit = std::uint32_t;

/// Pinning memory that nobody has touched makes its pages first, and takes seconds for a large VM. It goes piece by
/// piece, and what does not fit into the time that a client waits for its answer may follow after the answer.
struct PinPace {
  std::uint64_t answer_within_ns = 1'500'000'000;  ///< of all maps that come together. QEMU waits 5 s for all of them
  std::uint64_t together_ns = 5'000'000'000;
  std::uint64_t smallest_piece = 16ull << 20, largest_piece = 1ull << 30;  ///< powers of two
  std::uint64_t quick_ns = 50'000'000, slow_ns = 200'000'000;  ///< of a piece: the next is twice as large, or half
};

/// One thread.
class DmaMap {
 public:
  explicit DmaMap(PinPace pace = {}) noexcept : pace_(pace), piece_(pace.smallest_piece) {}
  struct Request {
    Iova start{};
    ByteCount size{};
    memory::Access access = memory::Access::none;
    MemorySource source;
    const std::byte* host = nullptr;  ///< valid until the range is unmapped
    bool may_follow = false;          ///< pinned as far as time allows; work() does the rest
  };
  /// Pins once, however many functions ask. already_exists when the range overlaps other memory.
  [[nodiscard]] Result<void> map(KernelDomain& domain, OwnerBit owner, const Request& request) noexcept;
  /// Lets go of the owner's ranges within [start, start + size); what nobody holds any more is unmapped, neighbours in
  /// one call. After an error of the kernel's the devices may still reach what it refused: that is stuck, nothing else
  /// is mapped in its place, and it is asked for again with whatever is unmapped next.
  [[nodiscard]] Result<void> unmap(KernelDomain& domain, OwnerBit owner, Iova start, ByteCount size) noexcept;
  [[nodiscard]] Result<void> unmap_all(KernelDomain& domain, OwnerBit owner) noexcept;
  [[nodiscard]] bool has_stuck() const noexcept { return counters_.stuck != 0; }
  [[nodiscard]] bool has_backlog() const noexcept { return counters_.waiting != 0; }
  /// Pins one more piece of what was promised. After an error nothing is promised any more.
  [[nodiscard]] Result<void> work(KernelDomain& domain) noexcept;
  /// All that was promised.
  [[nodiscard]] Result<void> finish(KernelDomain& domain) noexcept;
  /// The domain has gone, and all of this with it.
  void clear() noexcept;

  // --- from a process to the next, in a domain that goes on ---
  /// What an owner has in the map.
  struct Holding {
    Iova start{};
    ByteCount size{};
    memory::Access access = memory::Access::none;
    MemorySource source;
    ByteCount pinned{};  ///< from the start on, at least: more may be by the time that somebody else looks
  };
  [[nodiscard]] std::vector<Holding> holdings(OwnerBit owner) const;
  /// One of those of a process that is gone. The kernel is not asked: see settle(). invalid_argument for a range that
  /// is none, already_exists as for map().
  [[nodiscard]] Result<void> adopt(OwnerBit owner, const Holding& holding, const std::byte* host) noexcept;
  /// Forgets what an owner has adopted. The kernel is not asked.
  void disown(OwnerBit owner) noexcept;
  /// After the last adopt(): takes out of the domain whatever that process had mapped and not kept, and promises what
  /// it had not pinned yet. Devices that run reach memory that is pinned whole, as one is let run only then: `running`
  /// are their owners.
  [[nodiscard]] Result<void> settle(KernelDomain& domain, OwnerBit running) noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return ranges_.size(); }
  [[nodiscard]] const DmaCounters& counters() const noexcept { return counters_; }

 private:
  struct Range {
    std::uint64_t last = 0;  // of its bytes
    memory::Access access = memory::Access::none;
    MemorySource source;
    OwnerBit owners = 0;
    const std::byte* host = nullptr;
    std::uint64_t pinned = 0;  // bytes, from the first on
    bool is_promised = false;  // what is missing counts as waiting
    bool is_stuck = false;     // nobody's; `pinned` is all of it
  };
  using Ranges = std::map<std::uint64_t, Range>;
  [[nodiscard]] Result<void> release(KernelDomain& domain, OwnerBit owner, Ranges::iterator from,
                                     Ranges::iterator to) noexcept;
  [[nodiscard]] Result<void> give_back(KernelDomain& domain, Ranges::iterator from, Ranges::iterator to) noexcept;
  void keep_stuck(Ranges::iterator from, Ranges::iterator to) noexcept;
  [[nodiscard]] static std::uint64_t missing(const Ranges::value_type& range) noexcept;
  [[nodiscard]] Result<void> pin_piece(KernelDomain& domain, Ranges::value_type& range) noexcept;
  void forget_backlog() noexcept;

  PinPace pace_;
  std::uint64_t piece_;                // grows while the kernel is quick, so that large pages stay large in the IOMMU
  std::uint64_t answering_ns_ = 0;     // since when maps have come together
  std::deque<std::uint64_t> backlog_;  // first bytes of ranges that are not pinned whole; may name some that are gone
  Ranges ranges_;                      // by first byte
  DmaCounters counters_;
};

}  // namespace vmux::kvfio

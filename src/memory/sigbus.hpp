// SPDX-License-Identifier: BSD-3-Clause
// Survives the loss of pages under a mapping: a client that truncates its memory file loses its device, not the daemon.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace vmux::memory {

/// Set by the signal handler, read by anyone.
using PoisonFlag = std::atomic<bool>;

/// While it lives, a bus error inside `range` replaces the whole mapping by zero pages and sets the flag; bus errors
/// elsewhere go to the handler that was there before. Registration is lock-free and may happen on any thread.
class BusErrorGuard {
 public:
  BusErrorGuard() noexcept = default;
  /// `page_size`: granule in which the mapping can be cut (that of hugetlbfs, or 4096).
  BusErrorGuard(std::span<std::byte> range, std::uint64_t page_size, std::shared_ptr<PoisonFlag> flag);
  BusErrorGuard(BusErrorGuard&& other) noexcept;
  BusErrorGuard& operator=(BusErrorGuard&& other) noexcept;
  ~BusErrorGuard() { release(); }
  void release() noexcept;

 private:
  void* slot_ = nullptr;
  std::shared_ptr<PoisonFlag> flag_;
};

}  // namespace vmux::memory

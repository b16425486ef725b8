// SPDX-License-Identifier: BSD-3-Clause
// Counts what operator new gives out. Link allocations.cpp into the test.
#pragma once

#include <cstddef>

namespace vmux::rigs {

/// Allocations of the whole process since its start, whichever thread made them.
[[nodiscard]] std::size_t allocations_so_far() noexcept;

class CountAllocations {
 public:
  CountAllocations() noexcept : before_(allocations_so_far()) {}
  [[nodiscard]] std::size_t seen() const noexcept { return allocations_so_far() - before_; }

 private:
  std::size_t before_;
};

}  // namespace vmux::rigs

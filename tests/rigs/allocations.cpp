// SPDX-License-Identifier: BSD-3-Clause
#include "rigs/allocations.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<std::size_t> g_allocations{0};
}

namespace vmux::rigs {
std::size_t allocations_so_far() noexcept { return g_allocations.load(std::memory_order_relaxed); }
}  // namespace vmux::rigs

void* operator new(std::size_t size) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  void* at = std::malloc(size == 0 ? 1 : size);
  if (at == nullptr) throw std::bad_alloc{};
  return at;
}
void operator delete(void* at) noexcept { std::free(at); }
void operator delete(void* at, std::size_t) noexcept { std::free(at); }

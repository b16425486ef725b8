// SPDX-License-Identifier: BSD-3-Clause
// Ordered accesses to memory that a guest and a device share: register pages, ring indices, descriptor status.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "vmux/base/le.hpp"

namespace vmux::memory {

/// Loads the little-endian 32-bit value at `offset`, which must be aligned and inside; later reads are not moved before
/// it.
[[nodiscard]] inline std::uint32_t load_acquire32(std::span<const std::byte> shared, std::size_t offset) noexcept {
  const auto* at = reinterpret_cast<const std::uint32_t*>(shared.data() + offset);
  const std::uint32_t raw = __atomic_load_n(at, __ATOMIC_ACQUIRE);
  return std::endian::native == std::endian::little ? raw : byteswap(raw);
}
/// Stores it after all earlier writes.
inline void store_release32(std::span<std::byte> shared, std::size_t offset, std::uint32_t value) noexcept {
  auto* at = reinterpret_cast<std::uint32_t*>(shared.data() + offset);
  __atomic_store_n(at, std::endian::native == std::endian::little ? value : byteswap(value), __ATOMIC_RELEASE);
}
/// The same for the 16-bit words of rings.
[[nodiscard]] inline std::uint16_t load_acquire16(std::span<const std::byte> shared, std::size_t offset) noexcept {
  const auto* at = reinterpret_cast<const std::uint16_t*>(shared.data() + offset);
  const std::uint16_t raw = __atomic_load_n(at, __ATOMIC_ACQUIRE);
  return std::endian::native == std::endian::little ? raw : byteswap(raw);
}
inline void store_release16(std::span<std::byte> shared, std::size_t offset, std::uint16_t value) noexcept {
  auto* at = reinterpret_cast<std::uint16_t*>(shared.data() + offset);
  __atomic_store_n(at, std::endian::native == std::endian::little ? value : byteswap(value), __ATOMIC_RELEASE);
}
/// Replaces the value if it still is `expected`; false when the other side has written another.
[[nodiscard]] inline bool compare_exchange32(std::span<std::byte> shared, std::size_t offset, std::uint32_t expected,
                                             std::uint32_t value) noexcept {
  auto* at = reinterpret_cast<std::uint32_t*>(shared.data() + offset);
  if (std::endian::native != std::endian::little) {
    expected = byteswap(expected);
    value = byteswap(value);
  }
  return __atomic_compare_exchange_n(at, &expected, value, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
/// For values that threads of this process share; not for a guest's, whose byte order they do not keep.
[[nodiscard]] inline std::uint64_t load_acquire64(const std::uint64_t& shared) noexcept {
  return __atomic_load_n(&shared, __ATOMIC_ACQUIRE);
}
inline void store_release64(std::uint64_t& shared, std::uint64_t value) noexcept {
  __atomic_store_n(&shared, value, __ATOMIC_RELEASE);
}
/// Orders earlier reads and writes of guest memory before later writes (a descriptor's status after its payload).
inline void publish_fence() noexcept { std::atomic_thread_fence(std::memory_order_release); }

/// Orders earlier writes before later reads: after telling the other side what to tell, and before a last look.
inline void full_fence() noexcept { std::atomic_thread_fence(std::memory_order_seq_cst); }

}  // namespace vmux::memory

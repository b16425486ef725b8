// SPDX-License-Identifier: BSD-3-Clause
// Stores into memory that outlives its process, in an order that a successor can rely on.
#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>

namespace vmux::state {

/// What stands before this in the program is stored before what stands behind it, as seen by whoever takes over when
/// this process is dead. A process that is killed loses no store that its processor has retired, and a processor
/// retires in program order: so this costs nothing. Between threads it orders nothing.
inline void commit_fence() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }

/// All of the value or none of it, before and behind all else.
template <class T>
inline void commit(T& word, T value) noexcept {
  static_assert(std::is_unsigned_v<T> && sizeof(T) <= sizeof(std::uint64_t));
  commit_fence();
  __atomic_store_n(&word, value, __ATOMIC_RELAXED);
  commit_fence();
}

}  // namespace vmux::state

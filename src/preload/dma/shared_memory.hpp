// SPDX-License-Identifier: BSD-3-Clause
// VMUX_VFIO_SHARE_ANONYMOUS=1: big private mappings of the program are made from memfds instead, so that a server can
// map them too. Their descriptors are kept while any part of the mapping is.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vmux::preload {

/// Is this mmap() one to make shareable?
[[nodiscard]] bool is_worth_sharing(std::size_t length, int protection, int flags) noexcept;
/// mmap() of such memory: the address, or a negated errno.
[[nodiscard]] long map_shareable(void* hint, std::size_t length, int protection, int flags);
/// The program unmapped, or mapped over, this range.
void forget_shareable(std::uint64_t start, std::size_t length);

void lock_shareable() noexcept;
void unlock_shareable() noexcept;

}  // namespace vmux::preload
